package releases_test

import (
	"encoding/json"
	"io/fs"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/releases"
	"github.com/serviceforge/serviceforge/releases/spiff"
)

// greedy are templates that do with values what they can to make references of
// them; all of them declare pw, and have a reference to it themselves.
var greedy = func() map[string]fs.FS {
	const declared = "own: ((!pw))\nvariables: [{name: pw, type: password}]\n"
	out := map[string]fs.FS{
		"a plain manifest": with(small("{}", "templates: [t.yml], infrastructure_stubs: {default: default.yml}",
			"manifest: m.yml, vars: {w: (( sf.params.word ))}"), map[string]string{
			"m.yml": "own: ((pw))\na: ((w))\nb: (((w))\nd: (((w))))\ne: {(((w)): 1}\nvariables: [{name: pw, type: password}]\n"}),
		"an ops file": with(small(declared+"a: (( sf.params.word ))", "templates: [t.yml]", "templates: [t.yml], ops_files: [o.yml]"), map[string]string{
			"o.yml": "- type: replace\n  path: /b?\n  value: ((pw))\n"}),
	}
	for name, template := range map[string]string{
		"as it is":     `a: (( sf.params.word ))`,
		"an opening":   `a: (( "(" sf.params.word ))`,
		"two openings": `a: (( "((" sf.params.word "))" ))`,
		"in a text":    `a: (( "x(" sf.params.word ")" ))`,
		"joined":       `a: (( join("", "(", sf.params.word, ")") ))`,
		"twice":        `a: (( sf.params.word sf.params.short ))`,
		"in a list":    `a: [ (( "(" sf.params.word )), {b: (( sf.params.short "(pw))" ))} ]`,
		"replaced":     `a: (( replace(sf.params.word, "x", "(") ))`,
		"upper":        `a: (( "(" upper(sf.params.word) ))`,
		"a part":       `a: (( "(" substr(sf.params.word, 0, 1) "pw))" ))`,
		"a key":        "a:\n  <<: (( sum[[sf.params.word]|{}|s,w|-> s { \"(\" w = 1 }] ))",
		"as YAML":      `a: (( parse("(" sf.params.word) ))`,
		"of an id":     `a: (( "(" sf.instance.space_guid ))`,
	} {
		out[name] = small(declared + template)
	}
	return out
}()

// outside writes a word of what references are made of.
func outside(random *rand.Rand) string {
	parts := []string{"(", "(", ")", ")", "((", "))", "pw", "/x/y", "!", " ", "x", "(pw))", "((pw", "\\", "\"", "\n", "ü"}
	var word strings.Builder
	for range 1 + random.IntN(5) {
		word.WriteString(parts[random.IntN(len(parts))])
	}
	return word.String()
}

// TestNoValueBecomesAReference: whatever templates do with what comes from
// outside, a manifest holds no "((" but where a document has it, and those stand
// where they stand without the value.
func TestNoValueBecomesAReference(t *testing.T) {
	s := renderer(t)
	random := rand.New(rand.NewPCG(2014, 5))
	words := []string{"(pw))", "((pw))", "((!pw))", "a((x))b", "(( sf.secrets ))", "pw", "(", "(/x/y))"}
	for range 12 {
		words = append(words, outside(random))
	}
	passed, refused := 0, 0
	for name, files := range greedy {
		r := load(t, files)
		plain, err := manifestOfWord(t, r, s, "w")
		if err != nil {
			plain, err = manifestOfWord(t, r, s, "{}") // as YAML
		}
		if err != nil && name != "as YAML" && name != "a key" {
			t.Errorf("%s: %v", name, serviceforge.DetailOf(err))
			continue
		}
		own := references(plain)
		for _, word := range words {
			got, err := manifestOfWord(t, r, s, word)
			if err != nil {
				refused++
				continue
			}
			passed++
			if references(got) != own {
				t.Errorf("%s: the word %q became a reference:\n%s", name, word, got)
			}
		}
	}
	if passed < 20 || refused < 20 {
		t.Errorf("%d manifests, %d refusals", passed, refused)
	}
}

func manifestOfWord(t *testing.T, r *releases.Release, s *spiff.Renderer, word string) ([]byte, error) {
	t.Helper()
	parameters, err := json.Marshal(map[string]string{"word": word, "short": string([]rune(word)[:min(len([]rune(word)), 3)])})
	if err != nil {
		t.Fatal(err)
	}
	in := smallInput(t, string(parameters))
	in.Instance.SpaceGUID = word
	return r.Manifest(limited(t), s, in)
}

// references counts what a director would replace.
func references(manifest []byte) int { return strings.Count(string(manifest), "((") }

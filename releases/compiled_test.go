package releases_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/releases"
	"github.com/serviceforge/serviceforge/releases/spiff"
)

// words that YAML 1.1, Spiff or an emitter may take for something else.
var words = []string{
	"yes", "no", "on", "off", "y", "n", "true", "False", "null", "~", "", "12:30:00", "0640", "0x1f", "1.10", "1e5", "-0", "1_000", "2026-01-01",
	"2026-01-01T00:00:00Z", "=", "<<", "- a", "a: b", "# c", "&a", "*a", "!x", "%d", "@", "`", "'", `"`, `\`, `\n`, "|", ">", " lead", "trail ",
	"é\u2028ü", "\U0001f600", "\ufeffx", "(", ")", "(a)", "$x", "{}", "[]", "{a: b}", "sf.params.word", "merge", "\u00a0", "NAME",
}

// TestCompiledPlansAreEqual renders twice, by Spiff every time and by a
// compiled plan, with values that are hard to keep.
func TestCompiledPlansAreEqual(t *testing.T) {
	for name, test := range map[string]struct {
		template string
		runs     int64 // of Spiff for 20 renders; 0 = every one
	}{
		"carried":              {"a: (( sf.params.word ))\nb: [(( sf.params.count )), (( sf.params.flag ))]\nc: x", 3},
		"within texts":         {`a: (( "x-" sf.params.word "-" sf.params.count "-y" ))`, 3},
		"through other places": {"m: {w: (( sf.params.word )), <<: (( &temporary ))}\na: (( m.w ))\nb: (( \"is \" m.w ))", 3},
		"as a whole":           {"a: (( sf.params ))\nb: (( sf.secrets.cert ))", 3},
		"joined":               {`a: (( join("," , [sf.params.word, "b", sf.params.count]) ))`, 3},
		"mapped":               {`a: (( map[[sf.params.word, "b"]|w|->"<" w ">"] ))`, 3},
		"chosen by what stays": {`a: (( sf.first ? sf.params.word :"x" ))`, 3},
		"by default":           {`a: (( sf.params.absent || sf.params.word ))`, 3},
		"names":                {"name: (( sf.instance.deployment ))\na: (( sf.instance.dns \".bosh\" ))\nl: [{name: x, v: (( sf.params.word ))}]\nb: (( l.x.v ))", 3},
		"multiplied":           {"a: (( sf.params.count * 2 ))", 0},
		"compared":             {`a: (( sf.params.word == "yes" ? 1 :2 ))`, 0},
		"compared elsewhere":   {"m: {w: (( sf.params.word ))}\nn: (( m ))\na: (( n.w == \"yes\" ? 1 :2 ))", 0},
		"measured":             {"a: (( length(sf.params.word) ))", 0},
		"used as a key":        {`a: (( { sf.params.word = 1 } ))`, 0},
		"used as an index":     {"m: {small: 1, w: 2}\na: (( m.[sf.params.mode == \"fast\" ? \"small\" :\"w\"] ))", 0},
		"a list entry's name":  {"a: [{name: (( sf.params.word )), v: 1}]", 0},
		"by a lambda":          {"f: (( &temporary(|x|->x) ))\na: (( .f(sf.params.word) ))", 0},
		"as a range":           {"a: (( [1..(sf.params.count > 3 ? 3 :2)] ))", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := load(t, small(test.template))
			once, always := renderer(t), uncompiled(t)
			random := rand.New(rand.NewPCG(1, 2))
			for range 20 {
				sameManifest(t, r, once, always, randomInput(t, random))
			}
			if got := once.Runs(); test.runs == 0 && got < 20 || test.runs != 0 && got > 12 {
				t.Errorf("Spiff ran %d times; impure: %v", got, once.Impure())
			}
		})
	}
}

// randomInput has every kind of parameter, also missing and empty ones.
func randomInput(t *testing.T, random *rand.Rand) releases.Input {
	t.Helper()
	word := words[random.IntN(len(words))]
	if random.IntN(2) == 0 {
		word += words[random.IntN(len(words))]
	}
	given := map[string]any{"count": 1 + random.IntN(1000000), "mode": []string{"fast", "slow"}[random.IntN(2)]}
	if word != "" && !strings.Contains(word, "((") {
		given["word"] = word
	}
	if random.IntN(8) == 0 {
		given["flag"] = true
	}
	text, err := json.Marshal(given)
	if err != nil {
		t.Fatal(err)
	}
	in := smallInput(t, string(text))
	in.Instance.ID = fmt.Sprint(random.Int64(), "é b")
	in.Instance.Deployment = fmt.Sprintf("small-%x", random.Int64())
	in.Instance.SpaceGUID = words[random.IntN(10)]
	in.Instance.Secrets = serviceforge.NewSecret(`{"pw":"` + fmt.Sprint(random.Int64()) + `","cert":{"ca":"a\nb\n","key":"-----\nx/+=\n"}}`)
	return in
}

func sameManifest(t *testing.T, r *releases.Release, once, always *spiff.Renderer, in releases.Input) {
	t.Helper()
	got, err := r.Manifest(limited(t), once, in)
	want, wantErr := r.Manifest(limited(t), always, in)
	if serviceforge.CodeOf(err) != serviceforge.CodeOf(wantErr) || (err == nil) != (wantErr == nil) {
		t.Fatalf("%s: got %v, want %v", in.Instance.Parameters.Reveal(), err, wantErr)
	}
	if !bytes.Equal(want, got) {
		t.Fatalf("%s: (-spiff +compiled):\n%s", in.Instance.Parameters.Reveal(), cmp.Diff(string(want), string(got)))
	}
	if err == nil && !strings.Contains(string(got), in.Instance.Deployment) {
		t.Error("another's name")
	}
}

func TestEtcdIsRenderedOnce(t *testing.T) {
	r, once, always := load(t, releases.Etcd()), renderer(t), uncompiled(t)
	for _, plan := range []string{oneServer, threeServer, fiveServer} {
		for _, prefix := range []string{"/", "/yes", "/12", "/a.b"} {
			in := etcdInput(t, plan)
			in.Instance.Parameters = serviceforge.NewSecret(`{"prefix":"` + prefix + `"}`)
			sameManifest(t, r, once, always, in)
			got, err := r.Access(limited(t), once, in)
			want, wantErr := r.Access(limited(t), always, in)
			if err != nil || wantErr != nil || want.Reveal() != got.Reveal() {
				t.Errorf("access: got %s, %v, want %s, %v", got.Reveal(), err, want.Reveal(), wantErr)
			}
		}
	}
	if once.Runs() != 6 {
		t.Errorf("Spiff ran %d times for three plans and their credentials; impure: %v", once.Runs(), once.Impure())
	}
}

// FuzzNoReferenceFromOutside: whatever a template does with a parameter, no "(("
// that it did not hold itself is in what is posted.
func FuzzNoReferenceFromOutside(f *testing.F) {
	templates := []string{
		`a: (( "(" sf.params.word ))`, `a: (( sf.params.word "(x))" ))`, `a: (( "(" sf.params.word ")" ))`, `a: (( "x(" sf.params.word ))`,
		`a: (( sf.params.word sf.params.word ))`, `a: (( join("(", [sf.params.word, sf.params.word]) ))`, `a: (( { "(" sf.params.word = 1 } ))`,
		`a: (( replace(sf.params.word, "x", "(") ))`, "m: (( \"(\" sf.params.word ))\na: (( m \")\" ))", `a: (( "((" sf.params.word "))" ))`,
		"a: (( \"((\" sf.params.word \"))\" ))\nvariables: [{name: pw, type: password}]",
		"a: ((!pw))\nb: (( \"(\" sf.params.word ))\nvariables: [{name: pw, type: password}]",
	}
	for i := range templates {
		for _, word := range []string{"(x))", "x))", "(/v/pw))", "x(", "(", "!/v/pw", "pw", "!pw", "x(y", "()", "a"} {
			f.Add(i, word)
		}
	}
	r := make([]*releases.Release, len(templates))
	for i, template := range templates {
		r[i] = load(f, small(template))
	}
	s := renderer(f)
	f.Fuzz(func(t *testing.T, i int, word string) {
		i = ((i % len(r)) + len(r)) % len(r)
		text, err := json.Marshal(map[string]any{"word": word})
		if err != nil {
			t.Skip()
		}
		for range 2 { // by Spiff, and by what it left
			m, err := r[i].Manifest(context.Background(), s, smallInput(t, string(text)))
			if err != nil {
				continue
			}
			var tree any
			if err := yaml.Unmarshal(m, &tree); err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(m), "(("); n > strings.Count(templates[i], "((!") {
				t.Fatalf("%s with %q: %s", templates[i], word, m)
			}
		}
	})
}

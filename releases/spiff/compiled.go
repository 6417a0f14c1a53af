package spiff

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/releases/trees"
)

// Work is one text to be made of Spiff documents and an instance's values.
type Work struct {
	// Documents of the deployment of that name.
	Documents func(deployment string) []Document
	Values    map[string]any // what documents read as sf
	// Finish makes the text of what Spiff rendered; it may change the tree.
	Finish func(tree, sf map[string]any) ([]byte, error)
	// Quote writes a text as Finish would; whatever is in it, letter by letter.
	Quote func(text string) ([]byte, error)
	// More is what else Finish depends on.
	More string
	// Impure says why Finish may do more with values than carry them, or "".
	Impure string
}

// compiled is a text with its places for an instance's values: what is left of
// a plan when Spiff has run.
type compiled struct {
	impure     string // why there is none, and Spiff has to run every time
	parts      [][]byte
	leaves     []int // the one between part i and i+1
	references int   // how often "((" is in the text, approved
}

// plans keeps compiled plans by the digest of all that they were made of.
type plans struct {
	mu   sync.Mutex
	made map[[sha256.Size]byte]*compiled
	uses []([sha256.Size]byte) // oldest first
}

// maxPlans bounds the memory: some 10 KB each.
const maxPlans = 512

func (p *plans) get(key [sha256.Size]byte) (*compiled, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c, ok := p.made[key]
	return c, ok
}

func (p *plans) put(key [sha256.Size]byte, c *compiled) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.made == nil {
		p.made = make(map[[sha256.Size]byte]*compiled)
	}
	if _, ok := p.made[key]; !ok {
		p.uses = append(p.uses, key)
	}
	p.made[key] = c
	if len(p.uses) > maxPlans {
		delete(p.made, p.uses[0])
		p.uses = p.uses[1:]
	}
}

// Produce does the work: with a compiled plan where there is one, with Spiff
// else. The first time it has Spiff render the plan with tokens, too, and keeps
// that as the compiled plan if it gives the same text. Errors: Internal with the
// cause from Spiff and without secrets, Unavailable (no child could be run, or
// ctx ended), those of Finish.
func (s *Renderer) Produce(ctx context.Context, w Work) ([]byte, error) {
	t := tokenize(w.Values)
	tokens := order{Documents: w.Documents(t.deployment()), Values: map[string]any{"sf": t.tree}}
	key, err := keyOf(tokens, w.More)
	if err != nil {
		return nil, err
	}
	plan, known := s.plans.get(key)
	if known && plan.impure == "" && !s.always {
		if text, ok := plan.fill(t.leaves, w.Quote); ok {
			return text, nil
		}
	}
	o := order{Documents: w.Documents(leafText(w.Values, "instance", "deployment")), Values: map[string]any{"sf": w.Values}}
	if !known && t.compilable() && w.Impure == "" {
		o.Probe = &probe{Documents: tokens.Documents, Values: tokens.Values, Leaves: t.paths(), Token: t.deployment()}
	}
	a, err := s.render(ctx, o)
	if err != nil {
		return nil, redact(err, []any{w.Values["secrets"], w.Values["users"]})
	}
	text, err := w.textOf(a.Result, w.Values, o.Documents[0].Name)
	if err != nil || o.Probe == nil {
		return text, err
	}
	if plan := w.compile(a, t, text); plan != nil {
		s.plans.put(key, plan)
	}
	return text, nil
}

func (w Work) textOf(result any, sf map[string]any, name string) ([]byte, error) {
	tree, ok := result.(map[string]any)
	if !ok {
		return nil, serviceforge.Errorf(serviceforge.Internal, "%s: the result is not a map", name)
	}
	return w.Finish(tree, sf)
}

// Compile makes the compiled plan, if there is one that gives want; nil = these
// values cannot tell.
func (w Work) compile(a *answer, t *tokenized, want []byte) *compiled {
	switch {
	case a.Impure != "":
		return &compiled{impure: a.Impure}
	case t.inKeys(a.Probe):
		return &compiled{impure: "a key is made of a value"}
	}
	text, err := w.textOf(a.Probe, t.tree, "")
	if err != nil {
		return &compiled{impure: serviceforge.MessageOf(err)}
	}
	plan := t.split(text)
	got, ok := plan.fill(t.leaves, w.Quote)
	switch {
	case !ok:
		return nil
	case !bytes.Equal(got, want):
		return &compiled{impure: "Spiff gives another document"}
	}
	return plan
}

// fill puts the values in. It is false where the result holds a "((" that the
// plan does not: Spiff's way then says what is wrong.
func (c *compiled) fill(leaves []leafValue, quote func(string) ([]byte, error)) ([]byte, bool) {
	quoted := make([][]byte, len(leaves))
	size := 0
	for i, leaf := range leaves {
		quoted[i] = []byte(leaf.text)
		if !leaf.integer {
			var err error
			if quoted[i], err = quote(leaf.text); err != nil {
				return nil, false
			}
		}
	}
	for i, part := range c.parts {
		if size += len(part); i < len(c.leaves) {
			size += len(quoted[c.leaves[i]])
		}
	}
	out := make([]byte, 0, size)
	for i, part := range c.parts {
		if out = append(out, part...); i < len(c.leaves) {
			out = append(out, quoted[c.leaves[i]]...)
		}
	}
	return out, bytes.Count(out, []byte("((")) == c.references
}

func keyOf(o order, more string) ([sha256.Size]byte, error) {
	text, err := json.Marshal(o)
	if err != nil {
		return [sha256.Size]byte{}, serviceforge.Wrap(err, serviceforge.Internal, "the values of a render cannot be written")
	}
	return sha256.Sum256(append(text, more...)), nil
}

// leafValue is one value of an instance: a text or an integer.
type leafValue struct {
	path    []string
	text    string
	integer bool
}

// tokenized is sf with every value of the instance replaced by a token. Booleans,
// null, empty texts, floats and names of list entries stay: they make another
// plan.
type tokenized struct {
	tree   map[string]any
	leaves []leafValue
}

// marks begin tokens; both are chosen anew by every process, so that no
// Document holds them by chance or intent.
var textMark, integerMark = newMarks()

func newMarks() (text, integer string) {
	raw := make([]byte, 10)
	_, _ = rand.Read(raw)                                     // never fails (crypto/rand)
	n, _ := rand.Int(rand.Reader, big.NewInt(89_999_999_999)) // neither
	return "sfv" + hex.EncodeToString(raw), strconv.FormatInt(10_000_000_000+n.Int64(), 10)
}

// digits of a leaf's number behind its mark; an int64 has room for no more.
const digits = 4

func tokenize(sf map[string]any) *tokenized {
	t := &tokenized{tree: maps.Clone(sf)}
	for _, root := range []string{"detected", "facts", "params", "secrets", "users"} {
		if v, ok := sf[root]; ok {
			t.tree[root] = t.walk([]string{root}, v, false)
		}
	}
	instance, _ := sf["instance"].(map[string]any)
	replaced := maps.Clone(instance)
	for _, key := range []string{"id", "deployment", "dns", "organization_guid", "space_guid"} {
		replaced[key] = t.walk([]string{"instance", key}, instance[key], false)
	}
	t.tree["instance"] = replaced
	return t
}

func (t *tokenized) walk(path []string, v any, entry bool) any {
	switch v := v.(type) {
	case string:
		if v != "" && !(entry && path[len(path)-1] == "name") {
			return textMark + t.add(path, v, false)
		}
	case json.Number:
		if _, err := v.Int64(); err == nil {
			return json.Number(integerMark + t.add(path, v.String(), true))
		}
	case map[string]any:
		out := make(map[string]any, len(v))
		for _, key := range slices.Sorted(maps.Keys(v)) {
			out[key] = t.walk(append(slices.Clone(path), key), v[key], entry)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = t.walk(append(slices.Clone(path), "["+strconv.Itoa(i)+"]"), item, true)
		}
		return out
	}
	return v
}

func (t *tokenized) add(path []string, text string, integer bool) string {
	if n, err := strconv.ParseInt(text, 10, 64); integer && err == nil {
		text = strconv.FormatInt(n, 10) // -0
	}
	t.leaves = append(t.leaves, leafValue{path: path, text: text, integer: integer})
	return fmt.Sprintf("%0*d", digits, len(t.leaves)-1)
}

func (t *tokenized) paths() [][]string {
	out := make([][]string, len(t.leaves))
	for i, leaf := range t.leaves {
		out[i] = leaf.path
	}
	return out
}

// deployment returns the token of the deployment's name.
func (t *tokenized) deployment() string { return leafText(t.tree, "instance", "deployment") }

// certain is a name that YAML reads as a text wherever it stands.
var certain = regexp.MustCompile(`^[a-z]+-[-a-z0-9]*[a-z0-9]$`)

func (t *tokenized) compilable() bool {
	for _, leaf := range t.leaves {
		if slices.Equal(leaf.path, []string{"instance", "deployment"}) && !certain.MatchString(leaf.text) {
			return false
		}
	}
	return len(t.leaves) < 10_000
}

// inKeys says whether a token is (in) a key: keys are sorted by what they are.
func (t *tokenized) inKeys(v any) bool {
	return trees.Walk("", v, func(path, text string) error {
		if strings.HasSuffix(path, "/?") && (strings.Contains(text, textMark) || strings.Contains(text, integerMark)) {
			return serviceforge.Errorf(serviceforge.Invalid, "%s", path)
		}
		return nil
	}) != nil
}

// split cuts the text at its tokens.
func (t *tokenized) split(text []byte) *compiled {
	c := &compiled{references: bytes.Count(text, []byte("(("))}
	for {
		at, size := -1, 0
		for _, mark := range []string{textMark, integerMark} {
			if i := bytes.Index(text, []byte(mark)); i >= 0 && (at < 0 || i < at) && len(text) >= i+len(mark)+digits {
				at, size = i, len(mark)+digits
			}
		}
		if at < 0 {
			c.parts = append(c.parts, text)
			return c
		}
		n, err := strconv.Atoi(string(text[at+size-digits : at+size]))
		if err != nil || n >= len(t.leaves) {
			n = 0 // the text will not be what it should be, and the plan be dropped
		}
		c.parts, c.leaves = append(c.parts, text[:at]), append(c.leaves, n)
		text = text[at+size:]
	}
}

func leafText(tree map[string]any, path ...string) string {
	text, _ := trees.Leaf(tree, path)
	return text
}

// redact takes secret values out of what Spiff complains about.
func redact(err error, secrets any) error {
	e, ok := errors.AsType[*serviceforge.Error](err)
	if !ok || e.Code != serviceforge.Internal || e.Err == nil {
		return err
	}
	text := e.Err.Error()
	for _, secret := range trees.Texts(secrets) {
		if len(secret) >= 8 {
			text = strings.ReplaceAll(text, secret, "[redacted]")
		}
	}
	return serviceforge.Wrap(errors.New(text), e.Code, "%s", e.Message)
}

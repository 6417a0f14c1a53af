// Package validate finds what is wrong with a service release, and no director
// would tell.
package validate

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	"gopkg.in/yaml.v3"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/catalog"
	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
	"github.com/serviceforge/serviceforge/releases"
	"github.com/serviceforge/serviceforge/releases/archive"
	"github.com/serviceforge/serviceforge/releases/spiff"
	"github.com/serviceforge/serviceforge/releases/yamldoc"
)

// Finding is one thing that is wrong with a service release.
type Finding struct {
	Level   string `json:"level"` // error or warning
	Where   string `json:"where"` // file and line, or plan and pool
	Message string `json:"message"`
}

// validation collects findings, each once.
type validation struct {
	r        *releases.Release
	files    fs.FS
	findings []Finding
}

func (v *validation) add(level, where, format string, args ...any) {
	f := Finding{Level: level, Where: where, Message: fmt.Sprintf(format, args...)}
	if !slices.Contains(v.findings, f) {
		v.findings = append(v.findings, f)
	}
}

// Release looks for what Load does not refuse, and BOSH would not tell: it
// renders every plan on every pool (on one that has all that is needed, where
// none is given), twice, and checks the manifests, credentials and texts. No
// director is asked. Errors: Unavailable (ctx ended, no renderer).
func Release(ctx context.Context, renderer *spiff.Renderer, r *releases.Release, files fs.FS, on []pools.Pool) ([]Finding, error) {
	v := &validation{r: r, files: files}
	for _, w := range r.Warnings() {
		v.add("warning", "service.yml", "%s", w)
	}
	for _, key := range r.Pending() {
		v.add("warning", "service.yml", "%s is not acted on by this version: it would refuse to install the release", key)
	}
	v.traps("service.yml")
	for _, s := range r.Outlines() {
		v.texts(&s)
		if r.Legacy() {
			continue
		}
		specs := v.jobSpecs(&s)
		for _, p := range s.Offering.Plans {
			for _, pool := range orSample(v.carrying(on, p), &s, p.Needs.VMTypes, p.Needs.DiskTypes) {
				if err := v.plan(ctx, renderer, &s, p, pool, specs); err != nil {
					return nil, err
				}
			}
		}
	}
	return v.findings, nil
}

// carrying returns those of the pools that can carry the plan.
func (v *validation) carrying(on []pools.Pool, plan catalog.Plan) (fit []pools.Pool) {
	for _, pool := range on {
		if reason := pool.Refuses(plan); reason != "" {
			v.add("warning", "plan "+plan.Name+" on pool "+pool.Name, "the plan is not offered there: the pool %s", reason)
			continue
		}
		fit = append(fit, pool)
	}
	return fit
}

// orSample returns the pools, or one that has what the templates may ask for.
func orSample(on []pools.Pool, s *releases.Outline, vmTypes, diskTypes []string) []pools.Pool {
	if len(on) > 0 {
		return on
	}
	p := pools.Pool{
		Name: "sample", Infrastructure: "default", AZs: []string{"z1", "z2"}, Network: "default", VMExtensions: []string{},
		VMTypes: map[string]string{}, DiskTypes: map[string]string{}, Stemcells: map[string]string{},
	}
	for _, size := range slices.Concat(vmTypes, []string{"small", "medium", "large"}) {
		p.VMTypes[size] = size
	}
	for _, size := range slices.Concat(diskTypes, []string{"small", "medium", "large"}) {
		p.DiskTypes[size] = size
	}
	for _, os := range s.Stemcells {
		p.Stemcells[os] = "1.0"
	}
	return []pools.Pool{p}
}

// plan checks one plan on one pool.
func (v *validation) plan(ctx context.Context, renderer *spiff.Renderer, s *releases.Outline, p catalog.Plan, pool pools.Pool, specs map[string]*jobSpec) error {
	in, err := v.r.Sample(p.ID, pool, nil)
	if err != nil {
		return err
	}
	where := "plan " + p.Name + " on pool " + pool.Name
	fresh := renderer.Uncompiled()
	defer func() { _ = fresh.Close() }()
	first, err := v.r.Manifest(ctx, fresh, in)
	if err == nil {
		var second []byte
		if second, err = v.r.Manifest(ctx, fresh, in); err == nil && !bytes.Equal(first, second) {
			v.add("error", where, "two renders differ: an instance would be changed by every update")
		}
	}
	if serviceforge.CodeOf(err) == serviceforge.Unavailable {
		return err
	}
	if err != nil {
		v.add("error", where, "%s", strings.TrimSpace(serviceforge.DetailOf(err)))
		return nil
	}
	root, err := yamldoc.Parse("the manifest", first)
	if err != nil {
		return err
	}
	m := &manifest{v: v, where: where, root: root, specs: specs, s: s}
	m.check()
	m.stubs("service.yml", s.Stubs[p.ID])
	if stub, err := yamldoc.Parse("pool "+pool.Name, pool.Stub); err == nil {
		m.stubs("stub of pool "+pool.Name, stub)
	}
	return v.credentials(ctx, fresh, in, m, where)
}

// credentials renders them for one address of every group, and for three.
func (v *validation) credentials(ctx context.Context, renderer *spiff.Renderer, in releases.Input, m *manifest, where string) error {
	for _, n := range []int{1, 3} {
		for group := range m.groups {
			in.Instance.Facts[group] = []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}[:n]
		}
		_, err := v.r.Access(ctx, renderer, in)
		if serviceforge.CodeOf(err) == serviceforge.Unavailable {
			return err
		}
		if err != nil {
			v.add("error", where, "credentials with %d addresses: %s", n, strings.TrimSpace(serviceforge.DetailOf(err)))
			return nil
		}
	}
	return nil
}

var (
	usedParameter = regexp.MustCompile(`\bsf\.params(?:\.([A-Za-z0-9_-]+))?`)
	usedSecret    = regexp.MustCompile(`\bsf\.secrets(?:\.([A-Za-z0-9_-]+))?`)
)

// Texts checks the documents of a service as they are written.
func (v *validation) texts(s *releases.Outline) {
	for _, d := range s.Texts {
		v.trapsIn(d.Name, d.Data)
	}
	secrets := map[string]bool{}
	for name, spec := range s.Secrets {
		if spec.Store == "director" {
			continue
		}
		if secrets[name] = true; spec.CA != "" {
			delete(secrets, spec.CA)
		}
	}
	if s.Prepared && !slices.ContainsFunc(s.Expressions, func(d spiff.Document) bool { return strings.Contains(d.Data, "sf.users") }) {
		v.add("error", "service "+s.Offering.Name, "users are prepared, but no template gives sf.users to a job")
	}
	v.used(s, "parameter", usedParameter, s.Parameters)
	v.used(s, "secret", usedSecret, secrets)
}

// used: each declared one is used, each used one is declared.
func (v *validation) used(s *releases.Outline, what string, form *regexp.Regexp, declared map[string]bool) {
	seen := map[string]bool{}
	for _, d := range s.Expressions {
		for i, line := range strings.Split(d.Data, "\n") {
			for _, m := range form.FindAllStringSubmatch(line, -1) {
				if m[1] == "" {
					return // all of them, as a whole
				}
				if seen[m[1]] = true; !declared[m[1]] && s.Secrets[m[1]].Type == "" {
					v.add("error", fmt.Sprintf("%s line %d", d.Name, i+1), "%s %s is not declared", what, m[1])
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(declared)) {
		if !seen[name] && name != "pool" {
			v.add("error", "service "+s.Offering.Name, "%s %s is declared, but nothing uses it", what, name)
		}
	}
}

var trap = regexp.MustCompile(`^(?:[yYnN]|[Yy]es|YES|[Nn]o|NO|[Oo]n|ON|[Oo]ff|OFF|0[0-7]+|[-+]?\d+(?::[0-5]?\d)+(?:\.\d*)?|\d{4}-\d\d?-\d\d?.*|\d+\.\d*0)$`)

func (v *validation) traps(name string) {
	if text, err := archive.ReadFile(v.files, name); err == nil {
		v.trapsIn(name, text)
	}
}

// trapsIn finds plain scalars that YAML 1.1 or Spiff reads otherwise than they
// look: dates, octal and base-60 numbers, y and no, versions.
func (v *validation) trapsIn(name, text string) {
	root, err := yamldoc.Parse(name, []byte(text))
	if err != nil {
		return
	}
	_ = yamldoc.EachText(root, func(n *yaml.Node) error {
		if n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0 && trap.MatchString(n.Value) {
			v.add("error", fmt.Sprintf("%s line %d column %d", name, n.Line, n.Column), "%s is read otherwise by YAML 1.1: put it in quotes", n.Value)
		}
		return nil
	})
}

//go:embed manifest.schema.json
var manifestSchemaText []byte

var manifestSchema = sync.OnceValues(func() (*yamldoc.Schema, error) {
	return yamldoc.CompileSchema("manifest.schema.json", manifestSchemaText)
})

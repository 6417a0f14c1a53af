package releases

import (
	"io/fs"
	"path"
	"regexp"
	"strings"

	"github.com/cppforlife/go-patch/patch"
	"gopkg.in/yaml.v3"

	"github.com/serviceforge/serviceforge/releases/archive"
	"github.com/serviceforge/serviceforge/releases/spiff"
	"github.com/serviceforge/serviceforge/releases/yamldoc"
)

// loadTemplates reads what manifests are made of.
func (s *service) loadTemplates(files fs.FS, f *fileBOSH) (err error) {
	t := &f.Templates
	base := t.BasePath
	if base == "" {
		base = "templates"
	}
	if (len(t.Templates) == 0) == (t.Manifest == "") {
		return invalid("release_templates needs either templates or manifest")
	}
	read := func(name string) (spiff.Document, error) { return readTemplate(files, path.Join(base, name), name) }
	for _, name := range t.Templates {
		d, err := read(name)
		if err != nil {
			return err
		}
		s.templates = append(s.templates, d)
	}
	s.infrastructures = make(map[string]spiff.Document)
	for infrastructure, name := range t.InfrastructureStubs {
		if s.infrastructures[infrastructure], err = read(name); err != nil {
			return err
		}
	}
	if t.DeploymentStub != "" {
		if s.deploymentStub, err = read(t.DeploymentStub); err != nil {
			return err
		}
	}
	if s.ops, err = readOps(files, t.OpsFiles); err != nil || t.Manifest == "" {
		return err
	}
	return s.loadManifest(files, t)
}

// loadManifest reads a manifest with ((vars)) and what fills them.
func (s *service) loadManifest(files fs.FS, t *fileTemplates) (err error) {
	if len(t.InfrastructureStubs) > 0 || t.DeploymentStub != "" {
		return invalid("release_templates: manifest goes with vars and ops_files, not with stubs")
	}
	if s.manifest, err = archive.ReadFile(files, t.Manifest); err != nil {
		return err
	}
	root, err := yamldoc.Parse(t.Manifest, []byte(s.manifest))
	if err != nil {
		return err
	}
	if err := refuseStrangers(t.Manifest, root); err != nil {
		return err
	}
	s.vars, err = t.Vars.document("vars")
	if s.vars.Data == "" {
		s.vars = spiff.Document{Name: "vars", Data: "{}"}
	}
	return err
}

func readTemplate(files fs.FS, file, name string) (spiff.Document, error) {
	text, err := archive.ReadFile(files, file)
	if err != nil {
		return spiff.Document{}, err
	}
	root, err := yamldoc.Parse(name, []byte(text))
	if err != nil {
		if strings.TrimSpace(text) == "" {
			return spiff.Document{Name: name}, nil
		}
		return spiff.Document{}, err
	}
	return spiff.Document{Name: name, Data: text}, checkExpressions(name, root)
}

// readOps reads ops files and checks their form.
func readOps(files fs.FS, names []string) (out []spiff.Document, err error) {
	for _, name := range names {
		text, err := archive.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		if _, err := opsOf(spiff.Document{Name: name, Data: text}); err != nil {
			return nil, err
		}
		root, err := yamldoc.Parse(name, []byte(text))
		if err != nil {
			return nil, err
		}
		if err := refuseStrangers(name, root); err != nil {
			return nil, err
		}
		out = append(out, spiff.Document{Name: name, Data: text})
	}
	return out, nil
}

func opsOf(d spiff.Document) (patch.Ops, error) {
	var definitions []patch.OpDefinition
	if err := yaml.Unmarshal([]byte(d.Data), &definitions); err != nil {
		return nil, invalid("%s: %s", d.Name, yamldoc.Reason(err))
	}
	ops, err := patch.NewOpsFromDefinitions(definitions)
	if err != nil {
		return nil, invalid("%s: %s", d.Name, err)
	}
	return ops, nil
}

// impure finds Spiff functions that are not functions of their arguments: with
// them, two renders of one instance would differ, or reach out of it.
var impure = regexp.MustCompile(`(?:^|[^A-Za-z0-9_.])(rand|now|env|read|write|tempfile|exec|pipe|sync|eval|keygen|bcrypt|md5crypt|encrypt|decrypt|` +
	`x509\w*|wg\w+|lookup_\w+|list_files|list_dirs|mkdir|archive|\w+_uncached)\*?\s*[(\[]`)

var (
	spiffText   = regexp.MustCompile(`"(?:\\.|[^"\\])*"`)
	toDirectors = regexp.MustCompile(`\(\( ?!?([-/.\w\pL]+) ?\)\)`) // as directors read references
)

// checkExpressions refuses Spiff expressions that are not repeatable, and
// references to what is not this deployment's. Errors: Invalid with the line.
func checkExpressions(name string, root *yaml.Node) error {
	return yamldoc.EachText(root, func(n *yaml.Node) error {
		if err := refuseStranger(name, n); err != nil {
			return err
		}
		inner, isSpiff := strings.CutPrefix(n.Value, "((")
		if inner, closed := strings.CutSuffix(inner, "))"); isSpiff && closed && !strings.HasPrefix(inner, "!") {
			if m := impure.FindStringSubmatch(spiffText.ReplaceAllString(inner, `""`)); m != nil {
				return invalid("%s line %d: %s is not allowed, a render must be repeatable and stay within its instance; use secrets", name, n.Line, m[1])
			}
		}
		return nil
	})
}

func refuseStrangers(name string, root *yaml.Node) error {
	return yamldoc.EachText(root, func(n *yaml.Node) error { return refuseStranger(name, n) })
}

// refuseStranger refuses a reference by path: another deployment's secret.
func refuseStranger(name string, n *yaml.Node) error {
	for _, m := range toDirectors.FindAllStringSubmatch(n.Value, -1) {
		if strings.HasPrefix(m[1], "/") {
			return invalid("%s line %d: %s is a secret that is not this instance's", name, n.Line, m[0])
		}
	}
	return nil
}

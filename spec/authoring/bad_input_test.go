package authoring_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/serviceforge/serviceforge/spec"
	"github.com/serviceforge/serviceforge/spec/address"
)

// house is etcd, director and broker as processes of their own, with a proxy
// before the director that keeps what is deployed.
type house struct {
	t      *testing.T
	self   spec.Account
	state  string
	broker spec.Broker

	mu       sync.Mutex
	deployed []string // bodies of POST /deployments
}

func startHouse(t *testing.T, network string) *house {
	t.Helper()
	h := &house{t: t, self: spec.Self(t), state: filepath.Join(spec.Folder(t), "s")}
	etcd, address := address.Free(t), address.Free(t)
	spec.StartProcess(t, h.self, "etcd:", "etcd", "--state", h.state, "--etcd-listen", etcd)
	spec.StartProcess(t, h.self, "director:", "bosh", "--state", h.state, "--bosh-listen", "127.0.0.1:0", "--network", network, "--bosh-config-server")
	spec.ProxyDirector(t, h.state, h.see)
	web := spec.StartProcess(t, h.self, "broker:", "web", "--state", h.state, "--etcd-listen", etcd, "--listen", address,
		"--broker-password", "secret", "--bootstrap", "--log-level", "error")
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(web.Output())
		}
	})
	h.broker = spec.NewBroker(t, "http://"+address)
	return h
}

func (h *house) see(r *http.Request, after bool) bool {
	if r.Method == http.MethodPost && r.URL.Path == "/deployments" && !after {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return false
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.deployed = append(h.deployed, string(body))
	}
	return true
}

// manifests are all that were sent so far.
func (h *house) manifests() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.deployed)
}

// run runs a command against the broker.
func (h *house) run(args ...string) (said string, code int) {
	h.t.Helper()
	out, errs, code := h.self.Run(h.t, append(args, "--state", h.state)...)
	return out + errs, code
}

// must is run of what has to succeed.
func (h *house) must(args ...string) string {
	h.t.Helper()
	said, code := h.run(args...)
	if code != 0 {
		h.t.Fatalf("%s: exit code %d\n%s", strings.Join(args, " "), code, said)
	}
	return said
}

// unchanged fails if what is offered or installed differs from before, or the
// broker does not serve.
func (h *house) unchanged(what string, before string) {
	h.t.Helper()
	if now := h.inventory(); now != before {
		h.t.Errorf("%s changed something:\n%s\nbefore:\n%s", what, now, before)
	}
	if status := h.broker.Call("GET", "/v2/catalog", nil, nil); status != http.StatusOK {
		h.t.Errorf("after %s the catalog answers %d", what, status)
	}
}

func (h *house) inventory() string {
	return h.must("catalog") + h.must("services")
}

// generated is the release that `generate service` writes, changed.
func generated(t *testing.T, name string, changes map[string][]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	succeeds(t, spec.Self(t), "generate", "service", name, "--dir", dir)
	for file, pairs := range changes {
		path := filepath.Join(dir, file)
		before := read(t, path)
		after := strings.NewReplacer(pairs...).Replace(before)
		if before == after {
			t.Fatalf("nothing of %q is in %s", pairs, file)
		}
		write(t, path, after)
	}
	return dir
}

// repacked unpacks a tarball, has its files changed, and packs it again, without
// the checksums unless they are changed, too.
func repacked(t *testing.T, archive []byte, change func(files map[string]string)) []byte {
	t.Helper()
	unzipped, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	in := tar.NewReader(unzipped)
	for {
		header, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimPrefix(header.Name, "./")] = string(text)
	}
	delete(files, "SHA256SUMS")
	change(files)
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	tw := tar.NewWriter(zip)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		header := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(files[name]))}
		if target, ok := strings.CutPrefix(files[name], "LINK TO "); ok {
			header.Typeflag, header.Linkname, header.Size = tar.TypeSymlink, target, 0
		}
		if err := tw.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if header.Typeflag == tar.TypeReg {
			if _, err := io.WriteString(tw, files[name]); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestBadArchivesAndTemplates: each is refused with what is wrong, and where;
// nothing changes, and the broker keeps serving.
func TestBadArchivesAndTemplates(t *testing.T) {
	h := startHouse(t, "127.222.4.0/24")
	file := filepath.Join(t.TempDir(), "bad.tgz")
	succeeds(t, h.self, "package", generated(t, "good", nil), "-o", file)
	good := []byte(read(t, file))
	with := func(change func(files map[string]string)) []byte { return repacked(t, good, change) }
	in := func(name string, pairs ...string) []byte {
		return with(func(files map[string]string) {
			changed := strings.NewReplacer(pairs...).Replace(files[name])
			if changed == files[name] {
				t.Fatalf("nothing of %q is in %s", pairs, name)
			}
			files[name] = changed
		})
	}
	template := func(line string) []byte {
		return in("templates/deployment.yml", "features:", line+"\nfeatures:")
	}
	before := h.inventory()
	for name, bad := range map[string]struct {
		archive []byte
		want    string // a pattern
	}{
		"nothing":               {nil, "not gzip"},
		"no archive":            {[]byte("name: x\n"), "not gzip"},
		"truncated":             {good[:len(good)/2], "cut off or damaged"},
		"truncated at the end":  {good[:len(good)-4], "cut off or damaged"},
		"two in one":            {append(bytes.Clone(good), good...), "behind the end"},
		"a bomb":                {with(func(f map[string]string) { f["templates/zeros"] = strings.Repeat("\x00", 1<<20) }), "templates/zeros is too large"},
		"a bomb of files":       {with(manyFiles), "more than 2000 files"},
		"a path out":            {with(func(f map[string]string) { f["../../etc/x"] = "x" }), "not a path inside"},
		"an absolute path":      {with(func(f map[string]string) { f["/etc/x"] = "x" }), "not a path inside"},
		"a link out":            {with(func(f map[string]string) { f["templates/x"] = "LINK TO /etc/passwd" }), "neither file nor folder"},
		"wrong checksum":        {with(func(f map[string]string) { f["SHA256SUMS"] = strings.Repeat("0", 64) + "  service.yml\n" }), "is not what SHA256SUMS says"},
		"no service.yml":        {with(func(f map[string]string) { delete(f, "service.yml") }), "service.yml"},
		"format of tomorrow":    {in("service.yml", "format: 1", "format: 2"), `service.yml line 1`},
		"no version":            {in("service.yml", `version: "1.0.0"`+"\n", `version: "one"`+"\n"), `service.yml line 3 column 10: version: 'one' does not match`},
		"unknown key":           {in("service.yml", "  facts:", "  fatcs:"), `service.yml line \d+ .*"fatcs" is not known`},
		"a service id of etcd":  {in("service.yml", "services:\n- id: ", "services:\n- id: "+spec.Service+" #"), spec.Service},
		"a plan id of etcd":     {in("service.yml", "  plans:\n  - id: ", "  plans:\n  - id: "+spec.OneServer+" #"), spec.OneServer},
		"two plans of one id":   {in("service.yml", "    name: medium", "    name: small"), "small"},
		"reads the environment": {template(`x: (( env("HOME") ))`), `deployment.yml line \d+: env is not allowed`},
		"reads a file":          {template(`x: (( read("/etc/passwd") ))`), `deployment.yml line \d+: read is not allowed`},
		"runs a command":        {template(`x: (( exec("id") ))`), `deployment.yml line \d+: exec is not allowed`},
		"another one's secret":  {template(`x: ((!/serviceforge/etcd-1/root_password))`), `deployment.yml line \d+: .* is a secret that is not this instance's`},
		"an undeclared secret":  {template(`x-a: ((!root_password))`), `plan small on pool local.*a reference at /x-a that is not in its variables`},
		"does not terminate":    {template("f: (( &temporary(|x|->x == 0 ? 0 :_(x - 1) + _(x - 1)) ))\nx-a: (( .f(40) ))"), `plan small.*in deployment\.yml \(look at line \d+\), infrastructure-default\.yml, .*: spiff ended without a result`},
		"recurses":              {template("f: (( &temporary(|x|->_(x + 1)) ))\nx-a: (( .f(1) ))"), `plan small.*in deployment\.yml \(look at line \d+\), infrastructure-default\.yml, .*: spiff ended without a result`},
		"allocates":             {template("x-a: (( [1..2000000000] ))"), `plan small.*in deployment\.yml \(look at line \d+\), infrastructure-default\.yml, .*: spiff ended without a result`},
	} {
		write(t, file, string(bad.archive))
		said, code := h.run("install", file)
		if code == 0 || !regexp.MustCompile(`(?s)`+bad.want).MatchString(said) {
			t.Errorf("%s: exit code %d, want %q\n%s", name, code, bad.want, said)
		}
		h.unchanged(name, before)
	}
	if sent := h.manifests(); len(sent) > 0 {
		t.Errorf("something was deployed: %v", sent)
	}
	write(t, file, string(good))
	h.must("install", file)
}

func manyFiles(files map[string]string) {
	for n := range 2001 {
		files[fmt.Sprintf("templates/%d.yml", n)] = ""
	}
}

// TestNoReferenceReachesADirector: strings from outside that hold what Spiff or a
// director would evaluate are refused with 400, and what a template makes of
// others, which are fine by themselves, is never sent to a director.
func TestNoReferenceReachesADirector(t *testing.T) {
	h := startHouse(t, "127.222.5.0/24")
	dir := generated(t, "greedy", map[string][]string{
		"service.yml": {`pattern: "^[A-Za-z0-9 ]{1,64}$"`, `pattern: "."`},
		"templates/deployment.yml": {
			"greeting: (( sf.params.greeting ))", `greeting: (( "(" sf.params.greeting ))`,
			"password: (( sf.secrets.password ))", "password: ((!pw))",
			"update:", "x-space: (( \"(\" sf.instance.space_guid ))\nvariables: [{name: pw, type: password}]\nupdate:",
			"  size: (( merge ))", "  size: (( merge ))\n  bomb: (( sf.params.greeting == \"boom\" ? [1..2000000000] :0 ))",
		},
	})
	h.must("install", dir)
	var catalog struct {
		Services []struct {
			ID, Name string
			Plans    []struct{ ID, Name string }
		}
	}
	h.broker.Call("GET", "/v2/catalog", nil, &catalog)
	greedy := catalog.Services[slices.IndexFunc(catalog.Services, func(s struct {
		ID, Name string
		Plans    []struct{ ID, Name string }
	}) bool {
		return s.Name == "greedy-dedicated"
	})]
	order := func(space string, context map[string]any, greeting string) map[string]any {
		return map[string]any{"service_id": greedy.ID, "plan_id": greedy.Plans[0].ID, "organization_guid": "o", "space_guid": space,
			"context": context, "parameters": map[string]any{"greeting": greeting}}
	}
	create := func(id string, body map[string]any) (status int, operation string) {
		var accepted struct{ Operation string }
		return h.broker.Call("PUT", "/v2/service_instances/"+id+"?accepts_incomplete=true", body, &accepted), accepted.Operation
	}
	hostile := []string{"((/x/y))", "((!x))", "a((x))b", "(( expr ))"}
	before := h.inventory()
	for n, text := range hostile {
		for place, body := range map[string]map[string]any{
			"a parameter":           order("s", nil, text),
			"a name of a parameter": {"service_id": greedy.ID, "plan_id": greedy.Plans[0].ID, "organization_guid": "o", "space_guid": "s", "parameters": map[string]any{text: "x"}},
			"a space":               order(text, nil, "hello"),
			"an organization":       {"service_id": greedy.ID, "plan_id": greedy.Plans[0].ID, "organization_guid": text, "space_guid": "s"},
			"the space's name":      order("s", map[string]any{"platform": "cloudfoundry", "space_name": text}, "hello"),
			"the org's name":        order("s", map[string]any{"platform": "cloudfoundry", "organization_name": text}, "hello"),
		} {
			if status, _ := create(fmt.Sprint("refused-", n), body); status != http.StatusBadRequest {
				t.Errorf("%s %q: status %d, want 400", place, text, status)
			}
			h.unchanged(place+" "+text, before)
		}
	}
	if sent := h.manifests(); len(sent) > 0 {
		t.Fatalf("something was deployed: %v", sent)
	}

	for id, body := range map[string]map[string]any{
		"put-together":     order("s", nil, "(/serviceforge/etcd-1/root_password))"),
		"own":              order("s", nil, "(pw))"),
		"of-the-space":     order("(pw))", nil, "hello"),
		"a-bomb-by-a-word": order("s", nil, "boom"),
	} {
		status, operation := create(id, body)
		if status != http.StatusAccepted {
			t.Errorf("%s: status %d", id, status)
			continue
		}
		spec.Eventually(t, id+" fails", func() error {
			var last struct{ State, Description string }
			h.broker.Call("GET", "/v2/service_instances/"+id+"/last_operation?operation="+operation, nil, &last)
			if last.State != "failed" {
				return fmt.Errorf("%+v", last)
			}
			return nil
		})
		h.must("delete-service", "-f", id)
	}
	if sent := h.manifests(); len(sent) > 0 {
		t.Errorf("something was deployed: %v", sent)
	}
	if status, operation := create("fine", order("s", nil, "hello")); status != http.StatusAccepted {
		t.Fatalf("a harmless one: %d", status)
	} else {
		h.broker.Await("fine", operation)
	}
	for n, text := range hostile {
		for place, body := range map[string]map[string]any{
			"an update": {"service_id": greedy.ID, "parameters": map[string]any{"greeting": text}},
			"a context": {"service_id": greedy.ID, "context": map[string]any{"platform": "cloudfoundry", "space_name": text}},
		} {
			if status := h.broker.Call("PATCH", "/v2/service_instances/fine?accepts_incomplete=true", body, nil); status != http.StatusBadRequest {
				t.Errorf("%s with %q: status %d, want 400", place, text, status)
			}
		}
		if status := h.broker.Call("PUT", fmt.Sprint("/v2/service_instances/fine/service_bindings/b", n), map[string]any{
			"service_id": greedy.ID, "plan_id": greedy.Plans[0].ID, "parameters": map[string]any{"x": text}}, nil); status != http.StatusBadRequest {
			t.Errorf("a bind with %q: status %d, want 400", text, status)
		}
	}
	sent := h.manifests()
	for _, manifest := range sent {
		if n := strings.Count(manifest, "(("); n != 1 || !strings.Contains(manifest, `"password": "((pw))"`) {
			t.Errorf("%d references in\n%s", n, manifest)
		}
	}
	if len(sent) != 1 {
		t.Errorf("%d deploys", len(sent))
	}
	h.must("delete-service", "-f", "fine")
}

package orchestrator_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator"
	"github.com/serviceforge/serviceforge/orchestrator/install"
	"github.com/serviceforge/serviceforge/orchestrator/shelf"
	"github.com/serviceforge/serviceforge/releases"
	"github.com/serviceforge/serviceforge/releases/boshrelease"
	"github.com/serviceforge/serviceforge/store"
)

// extra is a service release beside plain, with a BOSH release of the same
// version in it.
func extra(t *testing.T, version string) fstest.MapFS {
	t.Helper()
	text := strings.NewReplacer(
		"name: plain\n", "name: extra\n", `version: "1.0.0"`, `version: "`+version+`"`, "- id: service", "- id: extra-service",
		"id: plan,", "id: extra-plan,", "id: large,", "id: extra-large,", "id: huge,", "id: extra-huge,",
		`{name: plain, version: "1"}`, `{name: plain, version: "`+version+`", file: bosh/plain.tgz}`,
	).Replace(string(plain["service.yml"].Data))
	source := fstest.MapFS{
		"jobs/node/monit":         {Data: []byte("# version " + version)},
		"jobs/node/spec":          {Data: []byte("name: node\ntemplates: {}\npackages: [node]\nproperties: {password: {}, level: {}, word: {}}\n")},
		"packages/node/spec":      {Data: []byte("name: node\nfiles: []\n")},
		"packages/node/packaging": {Data: []byte("true\n")},
	}
	var tarball bytes.Buffer
	must(t, boshrelease.Build(t.Context(), &tarball, boshrelease.Source{Name: "plain", Version: version, Files: source}, false))
	files := fstest.MapFS{"service.yml": {Data: []byte(text)}, "bosh/plain.tgz": {Data: tarball.Bytes()}}
	for _, name := range []string{"templates/default.yml", "templates/stub.yml", "templates/deployment.yml"} {
		files[name] = plain[name]
	}
	return files
}

// replicaOf is a replica's installer and what it offers.
type replicaOf struct {
	*install.Installer
	*shelf.Shelf
}

func (h *house) installer(s *store.Store) replicaOf {
	h.t.Helper()
	own, err := releases.Load(plain)
	must(h.t, err)
	quiet := slog.New(slog.DiscardHandler)
	followed, err := shelf.Open(h.t.Context(), shelf.Options{Store: s, Log: quiet, BuiltIn: []shelf.Edition{{Release: own, BuiltIn: true}}})
	must(h.t, err)
	return replicaOf{install.New(install.Options{
		Store: s, Shelf: followed, Pools: h.options.Pools, Directors: h.options.Directors, Spiff: h.options.Spiff, Log: quiet, Now: time.Now, Scratch: h.t.TempDir(),
	}), followed}
}

func (r replicaOf) put(ctx context.Context, files fstest.MapFS) error {
	_, err := r.Install(ctx, "a test", files, func(install.Step) {})
	return err
}

// offers says which release the service extra is of; "" = it is not on offer.
func (r replicaOf) offers(t *testing.T) string {
	t.Helper()
	must(t, r.Refresh(t.Context()))
	for _, o := range r.Catalog().Offerings() {
		if o.ID == "extra-service" {
			return o.Release
		}
	}
	return ""
}

// stored lists what of the release extra is in the store, without the paths of files.
func (h *house) stored() (keys []string) {
	h.t.Helper()
	answer, err := h.client.Get(h.t.Context(), "/serviceforge/v1/releases/extra/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	must(h.t, err)
	for _, kv := range answer.Kvs {
		parts := strings.Split(strings.TrimPrefix(string(kv.Key), "/serviceforge/v1/releases/extra/"), "/")
		keys = append(keys, strings.Join(parts[:min(2, len(parts))], "/"))
	}
	return slices.Compact(keys)
}

// shelved is a house whose director has a stemcell.
func shelved(t *testing.T) *house {
	h := newHouse(t)
	pool := h.options.Pools.All()[0]
	h.director.inventory.stemcells = map[string][]string{"ubuntu-jammy": {pool.Stemcells["ubuntu-jammy"]}}
	return h
}

// deed is something done to the shelf that the crash walk cuts.
type deed struct {
	name         string
	before       string // what is on offer, "" = nothing
	do           func(ctx context.Context, r replicaOf) error
	after        string
	sent         []string // to the director, in all
	kept, points int      // versions in the end; moments at least
}

func deeds(t *testing.T) []deed {
	first, second := extra(t, "1.0.0"), extra(t, "1.1.0")
	return []deed{
		{
			name: "install", do: func(ctx context.Context, r replicaOf) error { return r.put(ctx, first) },
			after: "extra/1.0.0", sent: []string{"plain/1.0.0"}, kept: 1, points: 12,
		},
		{
			name: "install of a newer version", before: "extra/1.0.0", do: func(ctx context.Context, r replicaOf) error { return r.put(ctx, second) },
			after: "extra/1.1.0", sent: []string{"plain/1.0.0", "plain/1.1.0"}, kept: 2, points: 12,
		},
		{
			name: "uninstall", before: "extra/1.0.0", sent: []string{"plain/1.0.0"}, points: 4,
			do: func(ctx context.Context, r replicaOf) error {
				err := r.Uninstall(ctx, "a test", "extra")
				if serviceforge.CodeOf(err) == serviceforge.NotFound { // the first one did all
					err = nil
				}
				return err
			},
		},
	}
}

// The crash walk over installing and uninstalling: cut before and after each
// transaction and each call to the director, what is on offer is what it was or
// what it is to be, whole. Doing it again ends it, uploads nothing twice, and
// leaves nothing else.
func TestEveryStepOfAnInstallMayBeTheLast(t *testing.T) {
	t.Parallel()
	for _, d := range deeds(t) {
		points := walkShelf(t, d, never)
		if points < d.points {
			t.Errorf("%s: only %d points: the walk does not see the calls", d.name, points)
		}
		for cut := 1; cut <= points; cut++ {
			t.Run(fmt.Sprintf("%s cut at %d of %d", d.name, cut, points), func(t *testing.T) {
				t.Parallel()
				walkShelf(t, d, cut)
			})
		}
	}
}

func walkShelf(t *testing.T, d deed, cut int) (points int) {
	h := shelved(t)
	well := h.installer(h.store)
	if d.before != "" {
		must(t, well.put(t.Context(), extra(t, "1.0.0")))
	}
	mortal := h.installer(h.mortal().Store)
	killed, moments := h.director.dieAt(cut)
	life, die := context.WithCancel(t.Context())
	defer die()
	go func() {
		select {
		case <-killed:
			die()
		case <-life.Done():
		}
	}()
	if err := d.do(life, mortal); cut == never {
		must(t, err)
	}
	points = moments()
	h.director.live()
	if now := well.offers(t); now != d.before && now != d.after && now != "" || now == "" && d.before != "" && d.after != "" {
		t.Errorf("on offer is %q, between %q and %q", now, d.before, d.after)
	}
	must(t, d.do(t.Context(), well))
	if now := well.offers(t); now != d.after {
		t.Errorf("on offer is %q, want %q", now, d.after)
	}
	if !slices.Equal(h.director.uploads.sent, d.sent) {
		t.Errorf("the director got %q, want %q", h.director.uploads.sent, d.sent)
	}
	folders := slices.DeleteFunc(h.stored(), func(key string) bool { return !strings.Contains(key, "/") })
	if len(folders) != d.kept {
		t.Errorf("in the store: %q, want the files of %d versions", folders, d.kept)
	}
	return points
}

// What is not in order, or clashes, changes nothing: not in the store, not on
// the director.
func TestRefusedInstallsChangeNothing(t *testing.T) {
	t.Parallel()
	edit := func(files fstest.MapFS, name, before, after string) fstest.MapFS {
		text := strings.Replace(string(files[name].Data), before, after, 1)
		if text == string(files[name].Data) {
			t.Fatalf("%s has no %q", name, before)
		}
		files[name] = &fstest.MapFile{Data: []byte(text)}
		return files
	}
	for _, c := range []struct {
		name, says string
		code       serviceforge.Code
		files      func(f fstest.MapFS) fstest.MapFS
		prepare    func(h *house)
	}{
		{"a template that does not render", "not in order", serviceforge.Invalid, func(f fstest.MapFS) fstest.MapFS {
			return edit(f, "templates/deployment.yml", "(( sf.pool.network ))", "(( sf.pool.nothing ))")
		}, nil},
		{"an unknown key", `the key "tag" is not known`, serviceforge.Invalid, func(f fstest.MapFS) fstest.MapFS {
			return edit(f, "service.yml", "  bindable: true", "  tag: x\n  bindable: true")
		}, nil},
		{"a service id of another release", "service id service is one of the service release plain/1.0.0", serviceforge.Conflict, func(f fstest.MapFS) fstest.MapFS {
			return edit(f, "service.yml", "id: extra-service", "id: service")
		}, nil},
		{"a plan id of another release", "plan id plan is one of", serviceforge.Conflict, func(f fstest.MapFS) fstest.MapFS { return edit(f, "service.yml", "id: extra-plan,", "id: plan,") }, nil},
		{"the program's own, with other content", "comes with ServiceForge", serviceforge.Conflict, func(f fstest.MapFS) fstest.MapFS {
			return edit(f, "service.yml", "name: extra\n", "name: plain\n")
		}, nil},
		{"a BOSH release that is not there", "plain/9 is neither on the director nor in the service release", serviceforge.Unprocessable, func(f fstest.MapFS) fstest.MapFS {
			return edit(f, "service.yml", `version: "1.0.0", file: bosh/plain.tgz`, `version: "9"`)
		}, nil},
		{"a tarball that is another release", "holds plain/1.0.0, not plain/7", serviceforge.Invalid, func(f fstest.MapFS) fstest.MapFS {
			return edit(f, "service.yml", `version: "1.0.0", file`, `version: "7", file`)
		}, nil},
		{"a stemcell that is not there", "stemcell ubuntu-jammy/", serviceforge.Unprocessable, nil, func(h *house) { h.director.inventory.stemcells = nil }},
		{"other content on the director", "is on the director with another job node", serviceforge.Unprocessable, nil, func(h *house) {
			h.director.inventory.releases = map[string][]string{"plain": {"1.0.0"}}
			h.director.uploads.parts = map[string]map[string]string{"plain/1.0.0": {"jobs/node": "x", "packages/node": "y"}}
		}},
		{"a director that is away", "the director is away", serviceforge.Unprocessable, nil, func(h *house) {
			h.director.failing(func(string) error { return serviceforge.Errorf(serviceforge.Unavailable, "the director is away") })
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := shelved(t)
			r := h.installer(h.store)
			files := extra(t, "1.0.0")
			if c.files != nil {
				files = c.files(files)
			}
			if c.prepare != nil {
				c.prepare(h)
			}
			err := r.put(t.Context(), files)
			code(t, err, c.code)
			if !strings.Contains(serviceforge.MessageOf(err), c.says) {
				t.Errorf("%s\nwant: %s", serviceforge.MessageOf(err), c.says)
			}
			if stored := h.stored(); len(stored) > 0 || len(h.director.uploads.sent) > 0 {
				t.Errorf("stored %q, sent %q", stored, h.director.uploads.sent)
			}
			if now := r.offers(t); now != "" {
				t.Errorf("on offer: %q", now)
			}
		})
	}
}

// A replica that has not heard of an uninstall cannot make an instance of what
// is gone, and an instance that was made meanwhile stops the uninstall.
func TestUninstallingIsExact(t *testing.T) {
	t.Parallel()
	h := shelved(t)
	r := h.installer(h.store)
	must(t, r.put(t.Context(), extra(t, "1.0.0")))
	o := h.options
	o.Shelf = r.Shelf
	late := h.another(h.client)
	o.Store, o.Shelf = late, h.installer(late).Shelf
	behind := orchestrator.New(o) // nobody tells it
	order := func(id string) error {
		_, err := behind.Provision(t.Context(), orchestrator.ProvisionRequest{
			Caller: cc, InstanceID: id, ServiceID: "extra-service", PlanID: "extra-plan", OrganizationGUID: "org", AcceptsIncomplete: true,
		})
		return err
	}
	must(t, order("a"))
	code(t, r.Uninstall(t.Context(), "a test", "extra"), serviceforge.Conflict)
	if now := r.offers(t); now != "extra/1.0.0" {
		t.Errorf("after an uninstall that was refused, %q is on offer", now)
	}
	must(t, order("b")) // it may be ordered again
	for _, id := range []string{"a", "b"} {
		i, err := h.store.Instance(t.Context(), id)
		must(t, err)
		must(t, h.store.BuryInstance(t.Context(), &i, 0))
	}
	must(t, r.Uninstall(t.Context(), "a test", "extra"))
	code(t, order("c"), serviceforge.Unprocessable)
	must(t, r.put(t.Context(), extra(t, "1.0.0")))
	must(t, order("d"))
}

// A director that does not hold its answers is not asked without a pause.
func TestADirectorThatDoesNotHoldItsAnswers(t *testing.T) {
	t.Parallel()
	h := shelved(t)
	h.director.uploads.slow = time.Second
	must(t, h.installer(h.store).put(t.Context(), extra(t, "1.0.0")))
	if asked := h.director.count("Task"); asked < 2 || asked > 20 {
		t.Errorf("the task of an upload was asked for %d times in a second", asked)
	}
}

// Completion is read from what the director lists, where its task is hidden from us.
func TestUploadsOfATeamsClient(t *testing.T) {
	t.Parallel()
	h := shelved(t)
	h.director.uploads.hidden = true
	r := h.installer(h.store)
	must(t, r.put(t.Context(), extra(t, "1.0.0")))
	if now := r.offers(t); now != "extra/1.0.0" {
		t.Errorf("on offer: %q", now)
	}
}

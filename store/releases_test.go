package store_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/store"
)

const releaseKey = "/serviceforge/v1/releases/redis/current"

// A release is stored whole, however large, and what the record does not name is
// cleaned away; of two that change it, the later one is told.
func TestReleases(t *testing.T) {
	o := open(t)
	ctx := t.Context()
	v := store.ReleaseVersion{Version: "1.0.0", Digest: "d1", Pools: []string{"local"}}
	files := map[string][]byte{"service.yml": []byte("name: redis"), "templates/a/b.yml": []byte("{}")}
	for n := range 200 { // more than one transaction takes
		files[fmt.Sprintf("templates/%d.yml", n)] = bytes.Repeat([]byte("x"), 20<<10)
	}
	r := store.Release{Name: "redis", Installing: &v}
	must(t, o.PutRelease(ctx, &r))
	must(t, o.PutReleaseFiles(ctx, "redis", &v, files))
	late := r
	r.Installing, r.Current, r.Versions = nil, "1.0.0", []store.ReleaseVersion{v}
	must(t, o.SwitchRelease(ctx, &r, 0))
	if err := o.SwitchRelease(ctx, &late, 0); serviceforge.CodeOf(err) != serviceforge.Conflict {
		t.Errorf("a change of what was changed meanwhile: %v", err)
	}
	other := store.Release{Name: "other", Current: "1.0.0", Versions: []store.ReleaseVersion{v}}
	if err := o.SwitchRelease(ctx, &other, 0); serviceforge.CodeOf(err) != serviceforge.Conflict {
		t.Errorf("a switch beside one that was made meanwhile: %v", err)
	}
	read, err := o.ReleaseFiles(ctx, "redis", &v)
	must(t, err)
	if len(read) != len(files) || !bytes.Equal(read["templates/7.yml"], files["templates/7.yml"]) || string(read["templates/a/b.yml"]) != "{}" {
		t.Errorf("%d files came back of %d", len(read), len(files))
	}
	r.Versions = []store.ReleaseVersion{{Version: "1.1.0", Digest: "d2", Pools: []string{}}}
	must(t, o.PutRelease(ctx, &r))
	must(t, o.CleanRelease(ctx, &r))
	if _, err := o.ReleaseFiles(ctx, "redis", &v); serviceforge.CodeOf(err) != serviceforge.NotFound {
		t.Errorf("files of a version that is not kept: %v", err)
	}
}

// A record of a newer version keeps what this one does not know, and one that
// must not be read is not.
func TestReleasesOfANewerVersion(t *testing.T) {
	o := open(t)
	put := func(minReader int) {
		t.Helper()
		_, err := o.etcd.Client().Put(t.Context(), releaseKey, fmt.Sprintf(
			`{"version": 2, "min_reader": %d, "name": "redis", "current": "1.0.0", "versions": [{"version": "1.0.0", "digest": "d", "pools": []}], "colour": "red"}`, minReader))
		must(t, err)
	}
	put(1)
	all, err := o.Releases(t.Context())
	must(t, err)
	if len(all.All) != 1 || all.All[0].Current != "1.0.0" || all.All[0].Version("1.0.0") == nil {
		t.Fatalf("%+v", all)
	}
	must(t, o.PutRelease(t.Context(), &all.All[0]))
	answer, err := o.etcd.Client().Get(t.Context(), releaseKey)
	must(t, err)
	if record := string(answer.Kvs[0].Value); !strings.Contains(record, `"colour":"red"`) {
		t.Errorf("the record is %s", record)
	}
	put(99)
	if _, err := o.Releases(t.Context()); serviceforge.CodeOf(err) != serviceforge.Internal {
		t.Errorf("a record that needs a newer reader: %v", err)
	}
}

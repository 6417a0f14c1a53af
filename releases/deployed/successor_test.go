package deployed_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/releases/deployed"
)

func TestCheckSuccessor(t *testing.T) {
	const group = "{name: db, instances: 3, azs: [z1, z2], networks: [{name: default}], persistent_disk_type: small}"
	sizes := map[string]int{"small": 1024, "large": 4096, "same": 1024}
	change := func(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(group) }
	for _, test := range []struct{ name, before, after, want string }{
		{"the same", group, group, ""},
		{"more instances", group, change("instances: 3", "instances: 5"), ""},
		{"fewer", group, change("instances: 3", "instances: 2"), "3 instances must not become 2"},
		{"it goes", group, "{name: other, instances: 3}", "it must not go"},
		{"renamed", group, change("name: db", "name: new", "instances", "migrated_from: [{name: db}], instances"), ""},
		{"renamed and moved", group, change("name: db", "name: new", "instances", "migrated_from: [{name: db}], instances", "z2", "z3"), "must not move from zones"},
		{"the disk goes", group, change(", persistent_disk_type: small", ""), "must not lose its persistent disk"},
		{"another zone", group, change("z2", "z3"), "must not move from zones [z1 z2] to [z1 z3]"},
		{"one zone less", group, change(", z2", ""), "must not move from zones"},
		{"the zones in another order", group, change("z1, z2", "z2, z1"), ""},
		{"another network", group, change("default", "services"), "must not move from networks [default] to [services]"},
		{"a larger type", group, change("small", "large"), ""},
		{"a type of the same size", group, change("small", "same"), ""},
		{"a smaller type", change("small", "large"), group, "must not shrink from 4096 MB to 1024 MB"},
		{"a type of unknown size", group, change("small", "strange"), "let the client read the cloud config"},
		{"a larger disk", change("_type: small", ": 10"), change("_type: small", ": 11"), ""},
		{"a smaller disk", change("_type: small", ": 10"), change("_type: small", ": 9"), "must not shrink from 10 MB to 9 MB"},
		{"the old word", change("_type", "_pool"), group, ""},
		{"fewer disks", change("persistent_disk_type: small", "persistent_disks: [{}, {}]"), change("persistent_disk_type: small", "persistent_disks: [{}]"), "2 persistent disks must not become 1"},
		{"nothing is kept", change(", persistent_disk_type: small", ""), "{name: other}", ""},
		{"nothing is there", change("instances: 3", "instances: 0"), "{name: other}", ""},
	} {
		document := func(group string) []byte {
			return []byte("instance_groups:\n- " + group + "\n- {name: errand, instances: 1}\n")
		}
		err := deployed.CheckSuccessor(document(test.before), document(test.after), func() (map[string]int, error) { return sizes, nil })
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%s: %v", test.name, err)
		case test.want != "" && (serviceforge.CodeOf(err) != serviceforge.Unprocessable || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "group db")):
			t.Errorf("%s: got %v, want %s", test.name, err, test.want)
		}
	}
}

// The sizes are asked for only where a type changes; who cannot tell them stops it.
func TestTheSizesOfDisksAreAskedForWhenNeeded(t *testing.T) {
	silent := errors.New("silent")
	asked := func(before, after string) error {
		return deployed.CheckSuccessor([]byte("instance_groups: [{name: a, instances: 1, persistent_disk_type: "+before+"}]"),
			[]byte("instance_groups: [{name: a, instances: 2, persistent_disk_type: "+after+"}]"),
			func() (map[string]int, error) { return nil, silent })
	}
	if err := asked("x", "x"); err != nil {
		t.Error(err)
	}
	if err := asked("x", "y"); !errors.Is(err, silent) {
		t.Error(err)
	}
}

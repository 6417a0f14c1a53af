package pools_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/serviceforge/serviceforge"
	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
)

// What a pool was stays what it is for who was rendered with it.
func TestPins(t *testing.T) {
	before := pool(t, "lab", "  vm_extensions: [sg]\n")
	edited, err := pools.Parse([]byte(strings.NewReplacer("[z1]", "[z2, z3]", "default", "services", "small: tiny", "small: huge, large: huge",
		"1GB", "9GB", "1.506", "1.700").Replace(minimal) + "  weight: 7\n"))
	if err != nil {
		t.Fatal(err)
	}
	pins := before.Pins()
	got := edited.Pinned(pins)
	want := before
	want.Weight = 7
	want.VMTypes = map[string]string{"small": "tiny", "large": "huge"} // a size that was not there is the file's
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b serviceforge.Secret) bool { return a.Reveal() == b.Reveal() })); diff != "" {
		t.Error(diff)
	}
	if !got.Pinned(serviceforge.Pins{}).Pins().Equal(got.Pins()) {
		t.Error("no pins pin something")
	}
	if edited.VMTypes["small"] != "huge" {
		t.Error("the pool itself was changed")
	}
	up := pins.Upgraded(edited.Pins())
	if up.Network != "default" || !cmp.Equal(up.AZs, []string{"z1"}) || up.VMTypes["small"] != "huge" || up.DiskTypes["small"] != "9GB" || up.Stemcells["ubuntu-jammy"] != "1.700" {
		t.Errorf("upgraded: %+v", up)
	}
	if !(serviceforge.Pins{}).Upgraded(pins).Equal(pins) || up.Equal(pins) {
		t.Error("Equal or Upgraded")
	}
}

package pools_test

import (
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge"
	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
)

func TestMissingInTheCloudConfig(t *testing.T) {
	first := "azs: [{name: z1}]\nnetworks: [{name: default}]\nvm_types: [{name: tiny, cloud_properties: {a: 1}}]\n"
	second := "disk_types: [{name: 1GB}]\nvm_extensions: [{name: sg}]\n"
	p := pool(t, "lab", "  vm_extensions: [sg]\n")
	full, err := pools.ParseCloudConfig([]byte(first), []byte(second))
	if err != nil || len(p.Missing(full)) > 0 {
		t.Errorf("missing %v, %v", p.Missing(full), err)
	}
	half, err := pools.ParseCloudConfig([]byte(first))
	if got := strings.Join(p.Missing(half), ", "); err != nil || got != "disk type 1GB, vm extension sg" {
		t.Errorf("missing %s, %v", got, err)
	}
	none, err := pools.ParseCloudConfig()
	if got := strings.Join(p.Missing(none), ", "); err != nil || got != "az z1, network default, vm type tiny, disk type 1GB, vm extension sg" {
		t.Errorf("missing %s, %v", got, err)
	}
	if _, err := pools.ParseCloudConfig([]byte("azs: 5")); serviceforge.CodeOf(err) != serviceforge.Invalid {
		t.Errorf("got %v", err)
	}
}

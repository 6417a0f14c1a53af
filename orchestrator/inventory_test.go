package orchestrator_test

import (
	"context"
	"maps"
	"slices"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/director"
)

// inventory is what operators' commands ask the scripted director for.
type inventory struct {
	info                director.Info
	cloud               []string
	releases, stemcells map[string][]string
	vms                 int // VMs of a deployment whose first deploy failed
}

func (d *scripted) Info(context.Context) (i director.Info, err error) {
	err = d.call("Info", func() error { i = d.inventory.info; return nil })
	return i, err
}

func (d *scripted) Deployments(context.Context) (names []string, err error) {
	err = d.call("Deployments", func() error { names = slices.Sorted(maps.Keys(d.deployments)); return nil })
	return names, err
}

func (d *scripted) CloudConfigs(context.Context) (texts [][]byte, err error) {
	err = d.call("CloudConfigs", func() error {
		for _, text := range d.inventory.cloud {
			texts = append(texts, []byte(text))
		}
		return nil
	})
	return texts, err
}

func (d *scripted) Releases(context.Context) (versions map[string][]string, err error) {
	err = d.call("Releases", func() error { versions = d.inventory.releases; return nil })
	return versions, err
}

func (d *scripted) Stemcells(context.Context) (versions map[string][]string, err error) {
	err = d.call("Stemcells", func() error { versions = d.inventory.stemcells; return nil })
	return versions, err
}

func (d *scripted) VMs(_ context.Context, name string) (n int, err error) {
	err = d.call("VMs", func() error {
		switch deployed := d.deployments[name]; {
		case deployed == nil:
			return serviceforge.Errorf(serviceforge.NotFound, "Deployment '%s' doesn't exist", name)
		case len(deployed.manifest) == 0:
			n = d.inventory.vms
		default:
			n = 1
		}
		return nil
	})
	return n, err
}

package bench_test

import (
	"context"
	"maps"
	"slices"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/director"
)

// What operators ask a director; no figure needs more than that it is counted.

func (d *inMemory) VMs(ctx context.Context, _ string) (int, error) {
	return 1, d.call(ctx, "VMs", func() error { return nil })
}

func (d *inMemory) Info(ctx context.Context) (director.Info, error) {
	return director.Info{Name: "bench", UUID: "bench", User: "admin"}, d.call(ctx, "Info", func() error { return nil })
}

func (d *inMemory) Deployments(ctx context.Context) (names []string, err error) {
	err = d.call(ctx, "Deployments", func() error {
		names = slices.Sorted(maps.Keys(d.deployments))
		return nil
	})
	return names, err
}

func (d *inMemory) CloudConfigs(ctx context.Context) ([][]byte, error) {
	return nil, d.call(ctx, "CloudConfigs", func() error { return nil })
}

func (d *inMemory) Releases(ctx context.Context) (map[string][]string, error) {
	return nil, d.call(ctx, "Releases", func() error { return nil })
}

func (d *inMemory) Stemcells(ctx context.Context) (map[string][]string, error) {
	return nil, d.call(ctx, "Stemcells", func() error { return nil })
}

// RunErrand is not asked for: the services of the bench have no errands.
func (d *inMemory) RunErrand(context.Context, string, string, []director.VM, string) (int, error) {
	return 0, serviceforge.Errorf(serviceforge.NotFound, "there are no errands here")
}

// Results is as RunErrand.
func (d *inMemory) Results(context.Context, int) ([]byte, error) { return nil, nil }

func (d *inMemory) Parts(ctx context.Context, _, _ string) (map[string]string, error) {
	return nil, d.call(ctx, "Parts", func() error { return nil })
}

func (d *inMemory) Matches(ctx context.Context, _ []byte) ([]string, error) {
	return nil, d.call(ctx, "Matches", func() error { return nil })
}

func (d *inMemory) UploadRelease(ctx context.Context, _ director.Tarball) (int, error) {
	return 1, d.call(ctx, "UploadRelease", func() error { return nil })
}

func (d *inMemory) FetchRelease(ctx context.Context, _, _ string) (int, error) {
	return 1, d.call(ctx, "FetchRelease", func() error { return nil })
}

func (d *inMemory) UploadStemcell(ctx context.Context, _ director.Tarball) (int, error) {
	return 1, d.call(ctx, "UploadStemcell", func() error { return nil })
}

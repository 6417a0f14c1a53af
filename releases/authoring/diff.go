package authoring

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
	"github.com/serviceforge/serviceforge/releases"
	"github.com/serviceforge/serviceforge/releases/spiff"
	"github.com/serviceforge/serviceforge/releases/yamldoc"
)

// Change is one thing that differs between two service releases; an empty Old
// or New = it is not there.
type Change struct {
	What string `json:"what"` // PLAN: path in the manifest, or in the catalog
	Old  string `json:"old,omitempty"`
	New  string `json:"new,omitempty"`
}

// Diff tells what an upgrade from one service release to another changes: in
// the catalog, and in the manifest of every plan on a pool. Secrets are
// redacted. Errors: Manifest's.
func Diff(ctx context.Context, renderer *spiff.Renderer, before, after *releases.Release, pool pools.Pool) ([]Change, error) {
	old, err := facets(ctx, renderer, before, pool)
	if err != nil {
		return nil, err
	}
	now, err := facets(ctx, renderer, after, pool)
	if err != nil {
		return nil, err
	}
	keys := maps.Clone(old)
	maps.Copy(keys, now)
	out := []Change{}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if old[key] != now[key] {
			out = append(out, Change{What: key, Old: old[key], New: now[key]})
		}
	}
	return out, nil
}

// facets are all that a release says, flat.
func facets(ctx context.Context, renderer *spiff.Renderer, r *releases.Release, pool pools.Pool) (map[string]string, error) {
	out := map[string]string{"release": r.Ref()}
	for _, s := range r.Outlines() {
		for _, b := range s.Releases {
			out[s.Offering.Name+": BOSH release "+b.Name] = b.Version
		}
		for _, p := range s.Offering.Plans {
			name := s.Offering.Name + "/" + p.Name
			out[name+": id"] = p.ID
			out[name+": description"] = p.Description
			out[name+": parameters of create"] = string(p.Schemas.Create)
			in, err := r.Sample(p.ID, pool, nil)
			if err != nil {
				return nil, err
			}
			manifest, err := r.Offline(ctx, renderer, in, false)
			if err != nil {
				return nil, err
			}
			root, err := yamldoc.Parse("the manifest", manifest)
			if err != nil {
				return nil, err
			}
			flatten(name+":", root, out)
		}
	}
	return out, nil
}

func flatten(path string, n *yaml.Node, into map[string]string) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			flatten(path+"/"+n.Content[i].Value, n.Content[i+1], into)
		}
	case yaml.SequenceNode:
		for i, item := range n.Content {
			flatten(fmt.Sprintf("%s/%s", path, cmp.Or(yamldoc.Scalar(item, "name"), strconv.Itoa(i))), item, into)
		}
	default:
		into[path] = strings.TrimSpace(fmt.Sprintf("%.200q", n.Value))
	}
}

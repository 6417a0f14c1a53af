package releases

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/releases/spiff"
	"github.com/serviceforge/serviceforge/releases/trees"
	"github.com/serviceforge/serviceforge/releases/yamldoc"
)

// The classes of 2014's detect_credentials.
const (
	jobIPAddress       = "BindingAttributes::JobIpAddress"
	jobsIPAddresses    = "BindingAttributes::JobsIpAddresses"
	deploymentProperty = "BindingAttributes::DeploymentManifestProperty"
)

func (s *service) checkDetect() error {
	for _, d := range s.detect {
		a := &d.Attributes
		fine := map[string]bool{
			jobIPAddress:    a.JobName != "" && len(a.JobNames) == 0 && a.Key == "",
			jobsIPAddresses: len(a.JobNames) > 0 && a.JobName == "" && a.Key == "" && a.JobIndex == nil,

			deploymentProperty: a.Key != "" && a.JobName == "" && len(a.JobNames) == 0 && a.JobIndex == nil,
		}
		if !fine[d.Class] {
			return invalid("detect_credentials: %s needs job_name, job_names or key, as its class does, and nothing else", d.Name)
		}
	}
	return nil
}

// detected finds the credentials of 2014: addresses that the director told, and
// properties of the manifest. A job_index counts the existing instances; 2014
// took index 0, which may be gone.
func (r *Release) detected(ctx context.Context, renderer *spiff.Renderer, s *service, in Input) (map[string]any, error) {
	out := make(map[string]any, len(s.detect))
	for _, d := range s.detect {
		a := &d.Attributes
		switch d.Class {
		case jobIPAddress:
			index := 0
			if a.JobIndex != nil {
				index = *a.JobIndex
			}
			addresses := in.Instance.Facts[a.JobName]
			if index >= len(addresses) {
				return nil, serviceforge.Errorf(serviceforge.Unprocessable,
					"instance group %s has no instance %d (credential %s)", a.JobName, index, d.Name)
			}
			out[d.Name] = addresses[index]
		case jobsIPAddresses:
			addresses := []any{}
			for _, group := range a.JobNames {
				addresses = append(addresses, trees.List(in.Instance.Facts[group])...)
			}
			out[d.Name] = addresses
		case deploymentProperty:
			manifest, err := r.Manifest(ctx, renderer, in)
			if err != nil {
				return nil, err
			}
			if out[d.Name], err = property(manifest, a.Key); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// property finds the value at a path like instance_groups.NAME.properties.x:
// entries of lists by their name or number.
func property(manifest []byte, key string) (any, error) {
	root, err := yamldoc.Parse("the manifest", manifest)
	if err != nil {
		return nil, err
	}
	n := root
	for step := range strings.SplitSeq(key, ".") {
		if n = yamldoc.Below(n, step); n == nil {
			return nil, serviceforge.Errorf(serviceforge.Unprocessable, "the manifest has no %s", key)
		}
	}
	value, err := yamldoc.Value(n)
	if err != nil {
		return nil, invalid("the manifest %s", err)
	}
	text, err := json.Marshal(map[string]any{"value": value})
	if err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Internal, "the manifest's %s cannot be written", key)
	}
	tree, err := trees.Object(text)
	return tree["value"], err
}

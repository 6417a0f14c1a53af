package releases

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/serviceforge/serviceforge"
	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
	"github.com/serviceforge/serviceforge/releases/secrets"
	"github.com/serviceforge/serviceforge/releases/spiff"
	"github.com/serviceforge/serviceforge/releases/trees"
	"github.com/serviceforge/serviceforge/releases/yamldoc"
)

// secretMark begins what stands for a secret in what is rendered offline.
const secretMark = "sfsecret."

// Sample makes an instance of a plan that exists nowhere, to render offline: its
// secrets are marks, its addresses are of the range for documentation. plan is a
// name, or SERVICE/PLAN. Errors: NotFound, Invalid.
func (r *Release) Sample(plan string, pool pools.Pool, params json.RawMessage) (Input, error) {
	for _, s := range r.services {
		for _, p := range s.offering.Plans {
			if plan != p.Name && plan != s.offering.Name+"/"+p.Name && plan != p.ID {
				continue
			}
			in := Input{Pool: pool, Broker: "offline", DirectorUUID: "00000000-0000-0000-0000-000000000000", Instance: serviceforge.Instance{
				ID: "sample", Deployment: s.offering.DeploymentNamePrefix + "-sample", ServiceID: s.offering.ID, PlanID: p.ID,
				OrganizationGUID: "sample-organization", SpaceGUID: "sample-space",
				Parameters: serviceforge.NewSecret(string(params)), Facts: map[string][]string{},
			}}
			if len(pool.Slots) > 0 {
				in.Instance.Slot = pool.Slots[0].Name
			}
			secrets, err := s.marks()
			in.Instance.Secrets = secrets
			return in, err
		}
	}
	return Input{}, serviceforge.Errorf(serviceforge.NotFound, "service release %s has no plan %q; it has %s", r.Ref(), plan, strings.Join(r.Plans(), ", "))
}

// Plans lists the plans as Sample takes them: SERVICE/PLAN.
func (r *Release) Plans() (out []string) {
	for _, s := range r.services {
		for _, p := range s.offering.Plans {
			out = append(out, s.offering.Name+"/"+p.Name)
		}
	}
	return out
}

// parts of a secret that is more than one text.
var parts = map[string][]string{
	"certificate": {"certificate", "private_key", "ca"}, "rsa": {"private_key", "public_key"},
	"ssh": {"private_key", "public_key", "public_key_fingerprint"}, "user": {"username", "password"},
}

func (s *service) marks() (serviceforge.Secret, error) {
	out := make(map[string]any, len(s.secrets))
	if s.prepared > 0 {
		out[preparedKey] = s.markedUsers()
	}
	for name, spec := range s.secrets {
		if spec.Store == "director" {
			continue
		}
		if len(parts[spec.Type]) == 0 {
			out[name] = secretMark + name + "."
			continue
		}
		of := map[string]any{}
		for _, part := range parts[spec.Type] {
			of[part] = secretMark + name + "." + part + "."
		}
		out[name] = of
	}
	text, err := json.Marshal(out)
	if err != nil {
		return serviceforge.Secret{}, serviceforge.Wrap(err, serviceforge.Internal, "the secrets cannot be written")
	}
	return serviceforge.NewSecret(string(text)), nil
}

// Offline renders the manifest of a Sample with "[redacted]" for secrets; for
// BOSH, with ((references)) and the variables: that make a director fill them.
func (r *Release) Offline(ctx context.Context, renderer *spiff.Renderer, in Input, forBOSH bool) ([]byte, error) {
	render := r.Manifest
	if r.legacy {
		render = r.Document
	}
	text, err := render(ctx, renderer, in)
	if err != nil {
		return nil, err
	}
	s, p, err := r.find(in)
	if err != nil {
		return nil, err
	}
	put := s.replacer(forBOSH)
	if !forBOSH || len(s.offlineSecrets()) == 0 || r.legacy {
		return []byte(put.Replace(string(text))), nil
	}
	root, err := yamldoc.Parse("the manifest", text)
	if err != nil {
		return nil, err
	}
	value, err := yamldoc.Value(root)
	if err != nil {
		return nil, invalid("the manifest %s", err)
	}
	tree := trees.Substitute(value, put).(map[string]any)
	sf, err := s.values(p, in)
	if err != nil {
		return nil, err
	}
	variables, _ := tree["variables"].([]any)
	tree["variables"] = append(variables, secrets.Variables(s.offlineSecrets(), sf)...)
	body, err := trees.Emit(tree)
	if err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Internal, "the manifest cannot be written")
	}
	return body, nil
}

func (s *service) replacer(forBOSH bool) *strings.Replacer {
	var pairs []string
	for name, spec := range s.offlineSecrets() {
		for _, part := range append([]string{""}, parts[spec.Type]...) {
			mark, reference := secretMark+name+".", "(("+name+"))"
			if part != "" {
				mark, reference = mark+part+".", "(("+name+"."+part+"))"
			}
			if !forBOSH {
				reference = "[redacted]"
			}
			if part != "" || len(parts[spec.Type]) == 0 {
				pairs = append(pairs, mark, reference)
			}
		}
	}
	return strings.NewReplacer(pairs...)
}

package releases

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/releases/deployed"
	"github.com/serviceforge/serviceforge/releases/secrets"
	"github.com/serviceforge/serviceforge/releases/spiff"
	"github.com/serviceforge/serviceforge/releases/trees"
)

// Manifest renders the BOSH manifest. Equal inputs give equal bytes. It holds
// the instance's secrets in clear. Errors: Invalid (an input holds "(("),
// Unprocessable (the pool lacks something), Internal with the cause from Spiff,
// Unavailable (no child could be run, or ctx ended).
func (r *Release) Manifest(ctx context.Context, renderer *spiff.Renderer, in Input) ([]byte, error) {
	s, p, err := r.find(in)
	if err != nil {
		return nil, err
	}
	sf, err := s.values(p, in)
	if err != nil {
		return nil, err
	}
	documents, err := s.merge(p, in)
	if err != nil {
		return nil, err
	}
	if s.legacy {
		return nil, r.Runnable()
	}
	ops := slices.Concat(s.ops, p.ops)
	if len(in.Pool.Ops) > 0 {
		ops = append(ops, spiff.Document{Name: "ops of pool " + in.Pool.Name, Data: string(in.Pool.Ops)})
	}
	w := spiff.Work{
		Documents: documents, Values: sf, More: keyText("manifest", in.Broker, s.manifest, ops) + fmt.Sprintf(" %v %v", s.migrations, s.directorSecrets()), Quote: trees.Quote,
		Finish: func(tree, sf map[string]any) ([]byte, error) {
			return s.finish(tree, sf, in.Broker, ops, slices.Concat(documents(in.Instance.Deployment), ops))
		},
	}
	if tests(ops) {
		w.Impure = "an ops file tests values"
	}
	body, err := renderer.Produce(ctx, w)
	if err != nil {
		return nil, err
	}
	if err := renderer.OwnReferences(ctx, w, body); err != nil {
		return nil, err
	}
	stamp := deployed.Stamp{Broker: in.Broker, Instance: in.Instance.ID, Operation: in.Instance.Operation.ID}
	return append([]byte(stamp.String()+"\n"), body...), nil
}

// keyText is what a manifest depends on beside documents and values.
func keyText(kind, broker, manifest string, ops []spiff.Document) string {
	text := fmt.Sprintf("%q %q %q", kind, broker, manifest)
	for _, d := range ops {
		text += fmt.Sprintf(" %q", d.Data)
	}
	return text
}

// finish writes the manifest of the tree that was rendered of documents.
func (s *service) finish(tree, sf map[string]any, broker string, ops, documents []spiff.Document) ([]byte, error) {
	tree, err := s.patched(tree, ops)
	if err != nil {
		return nil, err
	}
	if err := s.own(tree, sf, broker); err != nil {
		return nil, err
	}
	if err := s.references(documents).check(tree); err != nil {
		return nil, err
	}
	body, err := trees.Emit(tree)
	if err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Internal, "the manifest cannot be written")
	}
	return body, nil
}

// Document renders what Spiff makes of a block of 2014, as `spiff merge` did:
// a v1 manifest, which is shown and converted, but sent to no director.
func (r *Release) Document(ctx context.Context, renderer *spiff.Renderer, in Input) ([]byte, error) {
	s, p, err := r.find(in)
	if err != nil {
		return nil, err
	}
	documents, err := s.merge(p, in)
	if err != nil {
		return nil, err
	}
	tree, err := renderer.Render(ctx, documents(in.Instance.Deployment), map[string]any{})
	if err != nil {
		return nil, err
	}
	body, err := trees.Emit(tree)
	if err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Internal, "the document cannot be written")
	}
	return body, nil
}

// merge lists the documents; right wins: templates, infrastructure stub, pool
// stub, the stub of the instance's slot, plan stub, deployment stub. Empty ones
// are left out. Errors: Unprocessable (the slot is gone from the pool file).
func (s *service) merge(p *plan, in Input) (func(deployment string) []spiff.Document, error) {
	infrastructure, ok := s.infrastructures[in.Pool.Infrastructure]
	if !ok {
		infrastructure = s.infrastructures["default"]
	}
	slot, ok := in.Pool.Slot(in.Instance.Slot)
	if !ok && len(in.Pool.Slots) > 0 {
		return nil, serviceforge.Errorf(serviceforge.Unprocessable, "pool %s has no slot %q", in.Pool.Name, in.Instance.Slot)
	}
	stubs := []spiff.Document{
		infrastructure, {Name: "pool " + in.Pool.Name, Data: string(in.Pool.Stub)},
		{Name: "slot " + slot.Name, Data: string(slot.Stub)}, p.stub,
	}
	return func(deployment string) []spiff.Document {
		last := s.deploymentStub
		last.Data = strings.ReplaceAll(last.Data, "NAME", deployment)
		if s.legacy {
			last.Data = strings.ReplaceAll(last.Data, "PLACEHOLDER-DIRECTOR-UUID", in.DirectorUUID)
		}
		if s.manifest != "" {
			return []spiff.Document{s.vars}
		}
		out := slices.Clone(s.templates)
		for _, d := range append(stubs, last) {
			if strings.TrimSpace(d.Data) != "" {
				out = append(out, d)
			}
		}
		return out
	}, nil
}

// own puts in what the broker alone decides: name, releases, stemcells, the tags
// that show whose deployment it is, secrets that the director makes, and groups
// that were called otherwise.
func (s *service) own(tree, sf map[string]any, broker string) error {
	instance, _ := sf["instance"].(map[string]any)
	if name, given := tree["name"]; given && name != instance["deployment"] {
		return serviceforge.Errorf(serviceforge.Internal, "the templates name the deployment otherwise than %s", instance["deployment"])
	}
	tree["name"] = instance["deployment"]
	tree["releases"], tree["stemcells"] = sf["releases"], sf["stemcells"]
	if theirs := s.directorSecrets(); len(theirs) > 0 {
		variables, _ := tree["variables"].([]any)
		tree["variables"] = append(variables, secrets.Variables(theirs, sf)...)
	}
	if sf["first"] != true {
		s.migrate(tree)
	}
	tags := map[string]any{}
	if given, ok := tree["tags"].(map[string]any); ok {
		maps.Copy(tags, given)
	}
	for name, value := range map[string]any{
		"serviceforge_broker":       broker,
		"serviceforge_instance":     instance["id"],
		"serviceforge_service":      instance["service_id"],
		"serviceforge_organization": instance["organization_guid"],
		"serviceforge_space":        instance["space_guid"],
	} {
		if value != "" {
			tags[name] = value
		}
	}
	tree["tags"] = tags
	return nil
}

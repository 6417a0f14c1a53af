package releases

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/serviceforge/serviceforge"
)

// Manifest renders the BOSH manifest. Equal inputs give equal bytes. It holds
// the instance's secrets in clear. Errors: Invalid (an input holds "(("),
// Unprocessable (the pool lacks something), Internal with the cause from Spiff,
// Unavailable (no child could be run, or ctx ended).
func (r *Release) Manifest(ctx context.Context, spiff *Spiff, in Input) ([]byte, error) {
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
		ops = append(ops, document{Name: "ops of pool " + in.Pool.Name, Data: string(in.Pool.Ops)})
	}
	w := work{
		documents: documents, sf: sf, more: keyText("manifest", in.Broker, s.manifest, ops) + fmt.Sprintf(" %v %v", s.migrations, s.directorSecrets()), quote: quoteYAML,
		finish: func(tree, sf map[string]any) ([]byte, error) {
			return s.finish(tree, sf, in.Broker, ops, slices.Concat(documents(in.Instance.Deployment), ops))
		},
	}
	if tests(ops) {
		w.impure = "an ops file tests values"
	}
	body, err := spiff.produce(ctx, w)
	if err != nil {
		return nil, err
	}
	if err := spiff.ownReferences(ctx, w, body); err != nil {
		return nil, err
	}
	stamp := Stamp{Broker: in.Broker, Instance: in.Instance.ID, Operation: in.Instance.Operation.ID}
	return append([]byte(stamp.String()+"\n"), body...), nil
}

// keyText is what a manifest depends on beside documents and values.
func keyText(kind, broker, manifest string, ops []document) string {
	text := fmt.Sprintf("%q %q %q", kind, broker, manifest)
	for _, d := range ops {
		text += fmt.Sprintf(" %q", d.Data)
	}
	return text
}

// finish writes the manifest of the tree that was rendered of documents.
func (s *service) finish(tree, sf map[string]any, broker string, ops, documents []document) ([]byte, error) {
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
	body, err := emit(tree)
	if err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Internal, "the manifest cannot be written")
	}
	return body, nil
}

// Document renders what Spiff makes of a block of 2014, as `spiff merge` did:
// a v1 manifest, which is shown and converted, but sent to no director.
func (r *Release) Document(ctx context.Context, spiff *Spiff, in Input) ([]byte, error) {
	s, p, err := r.find(in)
	if err != nil {
		return nil, err
	}
	documents, err := s.merge(p, in)
	if err != nil {
		return nil, err
	}
	a, err := spiff.render(ctx, order{Documents: documents(in.Instance.Deployment), Values: map[string]any{}})
	if err != nil {
		return nil, err
	}
	body, err := emit(a.Result)
	if err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Internal, "the document cannot be written")
	}
	return body, nil
}

// merge lists the documents; right wins: templates, infrastructure stub, pool
// stub, the stub of the instance's slot, plan stub, deployment stub. Empty ones
// are left out. Errors: Unprocessable (the slot is gone from the pool file).
func (s *service) merge(p *plan, in Input) (func(deployment string) []document, error) {
	infrastructure, ok := s.infrastructures[in.Pool.Infrastructure]
	if !ok {
		infrastructure = s.infrastructures["default"]
	}
	slot, ok := in.Pool.Slot(in.Instance.Slot)
	if !ok && len(in.Pool.Slots) > 0 {
		return nil, serviceforge.Errorf(serviceforge.Unprocessable, "pool %s has no slot %q", in.Pool.Name, in.Instance.Slot)
	}
	stubs := []document{
		infrastructure, {Name: "pool " + in.Pool.Name, Data: string(in.Pool.Stub)},
		{Name: "slot " + slot.Name, Data: string(slot.Stub)}, p.stub,
	}
	return func(deployment string) []document {
		last := s.deploymentStub
		last.Data = strings.ReplaceAll(last.Data, "NAME", deployment)
		if s.legacy {
			last.Data = strings.ReplaceAll(last.Data, "PLACEHOLDER-DIRECTOR-UUID", in.DirectorUUID)
		}
		if s.manifest != "" {
			return []document{s.vars}
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

// redact takes secret values out of what Spiff complains about.
func redact(err error, secrets any) error {
	e, ok := errors.AsType[*serviceforge.Error](err)
	if !ok || e.Code != serviceforge.Internal || e.Err == nil {
		return err
	}
	text := e.Err.Error()
	for _, secret := range texts(secrets) {
		if len(secret) >= 8 {
			text = strings.ReplaceAll(text, secret, "[redacted]")
		}
	}
	return serviceforge.Wrap(errors.New(text), e.Code, "%s", e.Message)
}

func texts(v any) (out []string) {
	switch v := v.(type) {
	case string:
		return []string{v}
	case map[string]any:
		for _, item := range v {
			out = append(out, texts(item)...)
		}
	case []any:
		for _, item := range v {
			out = append(out, texts(item)...)
		}
	}
	return out
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
		tree["variables"] = append(variables, variablesOf(theirs, sf)...)
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

// walk calls visit for every string and key of a tree, in order.
func walk(path string, v any, visit func(path, text string) error) error {
	switch v := v.(type) {
	case string:
		return visit(path, v)
	case []any:
		for i, item := range v {
			if err := walk(path+"/"+itoa(i), item, visit); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if err := visit(path+"/?", key); err != nil {
				return err
			}
			if err := walk(path+"/"+key, v[key], visit); err != nil {
				return err
			}
		}
	}
	return nil
}

// Stamp is the first line of every manifest we send.
type Stamp struct{ Broker, Instance, Operation string }

// String returns the line, without its end. Values are escaped as in a URL's
// query: an instance id may hold spaces or what YAML 1.1 takes for a line end.
func (s Stamp) String() string {
	return "# serviceforge broker=" + url.QueryEscape(s.Broker) +
		" instance=" + url.QueryEscape(s.Instance) + " operation=" + url.QueryEscape(s.Operation)
}

// StampOf reads the stamp of a manifest; false = it is not ours.
func StampOf(manifest []byte) (Stamp, bool) {
	line, _, _ := strings.Cut(string(manifest[:min(len(manifest), 4096)]), "\n")
	rest, ok := strings.CutPrefix(strings.TrimRight(line, "\r"), "# serviceforge ")
	if !ok {
		return Stamp{}, false
	}
	var s Stamp
	for i, field := range []struct {
		name string
		to   *string
	}{{"broker", &s.Broker}, {"instance", &s.Instance}, {"operation", &s.Operation}} {
		parts := strings.Split(rest, " ")
		if len(parts) != 3 {
			return Stamp{}, false
		}
		value, ok := strings.CutPrefix(parts[i], field.name+"=")
		if !ok {
			return Stamp{}, false
		}
		text, err := url.QueryUnescape(value)
		if err != nil {
			return Stamp{}, false
		}
		*field.to = text
	}
	return s, true
}

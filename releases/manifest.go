package releases

import (
	"context"
	"errors"
	"maps"
	"net/url"
	"regexp"
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
	tree, err := renderMap(ctx, spiff, documents, sf)
	if err != nil {
		return nil, err
	}
	if err := s.own(tree, sf, in); err != nil {
		return nil, err
	}
	if err := checkReferences(tree); err != nil {
		return nil, err
	}
	body, err := emit(tree)
	if err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Internal, "the manifest cannot be written")
	}
	stamp := Stamp{Broker: in.Broker, Instance: in.Instance.ID, Operation: in.Instance.Operation.ID}
	return append([]byte(stamp.String()+"\n"), body...), nil
}

// merge lists the documents; right wins: templates, infrastructure stub, pool
// stub, the stub of the instance's slot, plan stub, deployment stub. Empty ones
// are left out. Errors: Unprocessable (the slot is gone from the pool file).
func (s *service) merge(p *plan, in Input) ([]document, error) {
	infrastructure, ok := s.infrastructures[in.Pool.Infrastructure]
	if !ok {
		infrastructure = s.infrastructures["default"]
	}
	deployment := s.deploymentStub
	deployment.Data = strings.ReplaceAll(deployment.Data, "NAME", in.Instance.Deployment)
	slot, ok := in.Pool.Slot(in.Instance.Slot)
	if !ok && len(in.Pool.Slots) > 0 {
		return nil, serviceforge.Errorf(serviceforge.Unprocessable, "pool %s has no slot %q", in.Pool.Name, in.Instance.Slot)
	}
	stubs := []document{
		infrastructure, {Name: "pool " + in.Pool.Name, Data: string(in.Pool.Stub)},
		{Name: "slot " + slot.Name, Data: string(slot.Stub)}, p.stub, deployment,
	}
	out := slices.Clone(s.templates)
	for _, d := range stubs {
		if strings.TrimSpace(d.Data) != "" {
			out = append(out, d)
		}
	}
	return out, nil
}

// renderMap renders documents that make a map.
func renderMap(ctx context.Context, spiff *Spiff, documents []document, sf map[string]any) (map[string]any, error) {
	result, err := spiff.render(ctx, order{Documents: documents, Values: map[string]any{"sf": sf}})
	if err != nil {
		return nil, redact(err, sf["secrets"])
	}
	tree, ok := result.(map[string]any)
	if !ok {
		return nil, serviceforge.Errorf(serviceforge.Internal, "%s: the result is not a map", documents[0].Name)
	}
	return tree, nil
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

// own puts in what the broker alone decides: name, releases, stemcells and the
// tags that show whose deployment it is.
func (s *service) own(tree, sf map[string]any, in Input) error {
	i := &in.Instance
	if name, given := tree["name"]; given && name != i.Deployment {
		return serviceforge.Errorf(serviceforge.Internal, "the templates name the deployment otherwise than %s", i.Deployment)
	}
	tree["name"] = i.Deployment
	tree["releases"], tree["stemcells"] = sf["releases"], sf["stemcells"]
	tags := map[string]any{}
	if given, ok := tree["tags"].(map[string]any); ok {
		maps.Copy(tags, given)
	}
	for name, value := range map[string]string{
		"serviceforge_broker":       in.Broker,
		"serviceforge_instance":     i.ID,
		"serviceforge_service":      i.ServiceID,
		"serviceforge_organization": i.OrganizationGUID,
		"serviceforge_space":        i.SpaceGUID,
	} {
		if value != "" {
			tags[name] = value
		}
	}
	tree["tags"] = tags
	return nil
}

var reference = regexp.MustCompile(`^\(\(!?([A-Za-z0-9_][A-Za-z0-9_-]*)(\.[A-Za-z0-9_.-]+)?\)\)$`)

// checkReferences walks the finished manifest: a director with a config server
// replaces ((name)) anywhere in it, also by another deployment's secret. Only
// names declared in its own `variables:` may appear.
func checkReferences(tree map[string]any) error {
	declared := make(map[string]bool)
	variables, _ := tree["variables"].([]any)
	for _, v := range variables {
		if m, ok := v.(map[string]any); ok {
			if name, ok := m["name"].(string); ok {
				declared[name] = true
			}
		}
	}
	return walk("", tree, func(path, text string) error {
		if !strings.Contains(text, "((") {
			return nil
		}
		if m := reference.FindStringSubmatch(text); m != nil && declared[m[1]] {
			return nil
		}
		return serviceforge.Errorf(serviceforge.Unprocessable,
			`the manifest holds a reference at %s that is not in its variables`, path)
	})
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

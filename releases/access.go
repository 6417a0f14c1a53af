package releases

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/releases/parameters"
	"github.com/serviceforge/serviceforge/releases/spiff"
	"github.com/serviceforge/serviceforge/releases/trees"
	"github.com/serviceforge/serviceforge/users"
)

// access is Instance.Access as it is stored.
type access struct {
	Version     int                     `json:"version"`
	Credentials map[string]any          `json:"credentials"`
	Endpoints   []serviceforge.Endpoint `json:"endpoints,omitempty"`
	Delegated   map[string]any          `json:"delegated,omitempty"`
	Users       *accessUsers            `json:"users,omitempty"`
	Prepared    []preparedUser          `json:"prepared,omitempty"` // that exist
}

// loadAccess joins credentials, endpoints and users to one document.
func (s *service) loadAccess(f *fileService) error {
	root := &yaml.Node{Kind: yaml.MappingNode}
	for _, part := range []struct {
		name string
		node *yaml.Node
	}{{"credentials", f.Credentials.node}, {"endpoints", &f.Endpoints}, {"users", s.usersNode(f)},
		{syslogDrain, &f.SyslogDrainURL}, {routeService, &f.RouteServiceURL}, {volumeMounts, &f.VolumeMounts},
	} {
		if part.node != nil && part.node.Kind != 0 {
			root.Content = append(root.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: part.name}, part.node)
		}
	}
	if err := s.checkDetect(); err != nil {
		return err
	}
	s.hasUsers = s.usersNode(f) != nil
	if f.Users.node != nil && f.Credentials.node == nil {
		return invalid("users without credentials")
	}
	if err := checkExpressions("service.yml: credentials and users", root); err != nil {
		return err
	}
	text, err := yaml.Marshal(root)
	if err != nil {
		return invalid("credentials and users cannot be written as YAML")
	}
	s.access = spiff.Document{Name: "credentials", Data: string(text)}
	return nil
}

// Access renders once, after a deployment is done and Instance.Facts are known,
// how credentials and users of the instance are made; store it as
// Instance.Access. Prepared users stay those of the Access that it has; see
// WithPrepared. Errors as Manifest's.
func (r *Release) Access(ctx context.Context, renderer *spiff.Renderer, in Input) (serviceforge.Secret, error) {
	s, p, err := r.find(in)
	if err != nil {
		return serviceforge.Secret{}, err
	}
	sf, err := s.values(p, in)
	if err != nil {
		return serviceforge.Secret{}, err
	}
	if sf["facts"], err = s.factValues(in); err != nil {
		return serviceforge.Secret{}, err
	}
	if err := parameters.RefuseReferences("fact", sf["facts"]); err != nil {
		return serviceforge.Secret{}, err
	}
	if sf["detected"], err = r.detected(ctx, renderer, s, in); err != nil {
		return serviceforge.Secret{}, err
	}
	if err := parameters.RefuseReferences("credential", sf["detected"]); err != nil {
		return serviceforge.Secret{}, err
	}
	sf["user"] = map[string]any{"name": users.NameHere, "password": users.PasswordHere}
	text, err := renderer.Produce(ctx, spiff.Work{
		Documents: func(string) []spiff.Document { return []spiff.Document{s.access} },
		Values:    sf, More: fmt.Sprintf("access %v", s.defaults), Quote: quoteJSON,
		Finish: func(tree, sf map[string]any) ([]byte, error) { return s.accessOf(tree, sf) },
	})
	if err != nil {
		return serviceforge.Secret{}, err
	}
	return keepPrepared(serviceforge.NewSecret(string(text)), in.Instance.Access)
}

// quoteJSON writes a text as encoding/json does, without its quotes.
func quoteJSON(text string) ([]byte, error) {
	out, err := json.Marshal(text)
	if err != nil {
		return nil, err
	}
	return out[1 : len(out)-1], nil
}

// accessOf checks a rendered tree and packs it for storage.
// What credentials say wins over what was detected, and that over the defaults.
func (s *service) accessOf(tree, sf map[string]any) ([]byte, error) {
	a := access{Version: 1, Credentials: map[string]any{}}
	maps.Copy(a.Credentials, s.defaults)
	for _, more := range []any{sf["detected"], tree["credentials"]} {
		if m, ok := more.(map[string]any); ok {
			maps.Copy(a.Credentials, m)
		}
	}
	var err error
	if a.Endpoints, err = endpointsOf(tree["endpoints"]); err != nil {
		return nil, err
	}
	if a.Delegated, err = delegatedOf(tree); err != nil {
		return nil, err
	}
	if s.hasUsers {
		u, err := usersOf(tree["users"])
		if err != nil {
			return nil, err
		}
		a.Users = u
	}
	if s.hasUsers || s.prepared > 0 {
		all := strings.Join(trees.Texts(a.Credentials), "\n")
		if !strings.Contains(all, users.NameHere) || !strings.Contains(all, users.PasswordHere) {
			return nil, serviceforge.Errorf(serviceforge.Internal,
				"the credentials do not hold sf.user.name and sf.user.password as they are")
		}
	}
	text, err := json.Marshal(a)
	if err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Internal, "the access data cannot be written")
	}
	return text, nil
}

var portsForm = regexp.MustCompile(`^[0-9]{1,5}(-[0-9]{1,5})?$`)

// endpointsOf checks what is told of a binding (OSB "Endpoint Object").
func endpointsOf(tree any) ([]serviceforge.Endpoint, error) {
	if tree == nil {
		return nil, nil
	}
	text, err := json.Marshal(tree)
	if err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Internal, "endpoints cannot be written")
	}
	var all []serviceforge.Endpoint
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if dec.Decode(&all) != nil {
		return nil, serviceforge.Errorf(serviceforge.Internal, "endpoints is a list of host, ports (texts) and protocol")
	}
	for i := range all {
		e := &all[i]
		if e.Protocol == "" {
			e.Protocol = "tcp"
		}
		known := e.Protocol == "tcp" || e.Protocol == "udp" || e.Protocol == "all"
		if !known || e.Host == "" || len(e.Ports) == 0 || slices.ContainsFunc(e.Ports, func(p string) bool { return !portsForm.MatchString(p) }) {
			return nil, serviceforge.Errorf(serviceforge.Internal, "an endpoint needs host, ports as \"443\" or \"9000-9010\", and protocol tcp, udp or all")
		}
	}
	return all, nil
}

// Endpoints returns where the instance answers.
func Endpoints(stored serviceforge.Secret) ([]serviceforge.Endpoint, error) {
	a, err := openAccess(stored)
	if err != nil {
		return nil, err
	}
	return a.Endpoints, nil
}

func openAccess(secret serviceforge.Secret) (*access, error) {
	var a access
	dec := json.NewDecoder(strings.NewReader(secret.Reveal()))
	dec.UseNumber()
	if err := dec.Decode(&a); err != nil || a.Version != 1 {
		return nil, serviceforge.Errorf(serviceforge.Internal, "the instance's access data cannot be read")
	}
	return &a, nil
}

// Credentials makes the credentials (a JSON object) of one user, in memory.
func Credentials(stored serviceforge.Secret, u users.User) (serviceforge.Secret, error) {
	a, err := openAccess(stored)
	if err != nil {
		return serviceforge.Secret{}, err
	}
	put := users.Filled(u)
	text, err := json.Marshal(trees.Substitute(a.Credentials, put))
	if err != nil {
		return serviceforge.Secret{}, serviceforge.Wrap(err, serviceforge.Internal, "the credentials cannot be written")
	}
	return serviceforge.NewSecret(string(text)), nil
}

package users

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// HTTP says how the users of a service are made that is managed by HTTP; all of
// it may hold NameHere and PasswordHere, but Check.
type HTTP struct {
	// Check is answered to the administrator alone: whoever gives no password
	// gets 401 or 403.
	Check Call `json:"check" yaml:"check"`
	// Create makes a user or changes an existing one, call by call.
	Create []Call `json:"create" yaml:"create"`
	// Revoke takes a user away; 404 is as good as gone.
	Revoke []Call `json:"revoke" yaml:"revoke"`
}

// Call is a request of the administrator. It is done when the answer is 2xx.
type Call struct {
	// Method is GET, PUT, POST, PATCH or DELETE; empty = GET to check, PUT to
	// create, DELETE to revoke.
	Method string `json:"method,omitempty" yaml:"method"`
	Path   string `json:"path" yaml:"path"` // behind the endpoint, escaped
	Body   any    `json:"body,omitempty" yaml:"body"`
}

// NameHere and PasswordHere stand for a user's name and password in calls, and
// in whatever else is written before there is a user.
const (
	NameHere     = "serviceforge-user-name-Qm7tW2xK"
	PasswordHere = "serviceforge-user-password-Zr4cV9bN"
)

// Filled returns what puts a user's name and password in their places.
func Filled(u User) *strings.Replacer {
	return strings.NewReplacer(NameHere, u.Name, PasswordHere, u.Password.Reveal())
}

// manager is a service that is managed by HTTP, at the endpoint that proved to
// be the instance's.
type manager struct {
	client   *http.Client
	endpoint string
	admin    Admin
	calls    HTTP
}

func checkHTTP(s Service) error {
	if len(s.HTTP.Create) == 0 || len(s.HTTP.Revoke) == 0 || len(s.Grant) > 0 {
		return errors.New("it needs calls to create and to revoke, and takes no grant")
	}
	for _, c := range append(append([]Call{s.HTTP.Check}, s.HTTP.Create...), s.HTTP.Revoke...) {
		if _, err := url.Parse(c.Path); err != nil || !strings.HasPrefix(c.Path, "/") {
			return fmt.Errorf("%q is not the path of a call as /api/users", c.Path)
		}
		switch c.Method {
		case "", http.MethodGet, http.MethodPut, http.MethodPost, http.MethodPatch, http.MethodDelete:
		default:
			return fmt.Errorf("%q is not the method of a call", c.Method)
		}
	}
	return checkEndpoints(s, "https://host:15671, or http://host:15672 without TLS", "https", "http")
}

// openHTTP finds an endpoint that serves.
func openHTTP(ctx context.Context, s Service) (connection, error) {
	config, err := tlsOf(s)
	if err != nil {
		return nil, err
	}
	client := &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, address string) (net.Conn, error) { return dial(ctx, address, nil) },
			DialTLSContext: func(ctx context.Context, _, address string) (net.Conn, error) {
				return dial(ctx, address, config)
			},
			MaxConnsPerHost: 4, IdleConnTimeout: idleFor, MaxResponseHeaderBytes: maxAnswer,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	m, err := first(ctx, s.Endpoints, func(ctx context.Context, endpoint string) (*manager, error) {
		m := &manager{client: client, endpoint: strings.TrimRight(endpoint, "/"), admin: s.Admin, calls: s.HTTP}
		return m, m.prove(ctx)
	})
	if err != nil {
		client.CloseIdleConnections()
		return nil, err
	}
	return m, nil
}

const maxAnswer = 64 << 10 // bytes of an answer that are read

// prove finds out whether this is the instance: it serves nobody without a
// password, and the administrator with the instance's. The password is sent only
// to who asked for one, and, where there is a CA, has its certificate. Other
// answers say nothing of who it is: RabbitMQ knows none of its paths while it starts.
func (m *manager) prove(ctx context.Context) error {
	nobody, err := m.call(ctx, http.MethodGet, m.calls.Check, User{}, false)
	switch {
	case err != nil:
		return err
	case good(nobody):
		return fmt.Errorf("%w: %s serves who has no password", ErrForeign, m.endpoint)
	case !refused(nobody):
		return fmt.Errorf("%s answers %d to whoever has no password", m.endpoint, nobody)
	}
	admin, err := m.call(ctx, http.MethodGet, m.calls.Check, User{}, true)
	switch {
	case err != nil:
		return err
	case refused(admin):
		return fmt.Errorf("%w: %s refuses the administrator", ErrForeign, m.endpoint)
	case !good(admin):
		return fmt.Errorf("%s answers %d to the administrator", m.endpoint, admin)
	}
	return nil
}

func good(status int) bool { return status/100 == 2 }

func refused(status int) bool {
	return status == http.StatusUnauthorized || status == http.StatusForbidden
}

func (m *manager) create(ctx context.Context, u User) error {
	return m.all(ctx, http.MethodPut, m.calls.Create, u, func(int) bool { return false })
}

func (m *manager) revoke(ctx context.Context, name string) error {
	return m.all(ctx, http.MethodDelete, m.calls.Revoke, User{Name: name}, func(status int) bool { return status == http.StatusNotFound })
}

// all proves the service and makes the calls.
func (m *manager) all(ctx context.Context, method string, calls []Call, u User, alsoGood func(status int) bool) error {
	if err := m.prove(ctx); err != nil {
		return err
	}
	for _, c := range calls {
		status, err := m.call(ctx, method, c, u, true)
		if err != nil {
			return err
		}
		if !good(status) && !alsoGood(status) {
			return fmt.Errorf("%s answers %d to a call of %s", m.endpoint, status, strings.ReplaceAll(c.Path, NameHere, u.Name))
		}
	}
	return nil
}

// call makes a request and returns the status. What is answered is not told: it
// may repeat what was sent.
func (m *manager) call(ctx context.Context, method string, c Call, u User, asAdmin bool) (int, error) {
	if c.Method != "" {
		method = c.Method
	}
	put := Filled(u)
	var body io.Reader = http.NoBody
	if c.Body != nil {
		text, err := json.Marshal(fill(c.Body, put))
		if err != nil {
			return 0, errors.New("the body of a call cannot be written")
		}
		body = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, m.endpoint+put.Replace(c.Path), body)
	if err != nil {
		return 0, errors.New("a call cannot be made of its path")
	}
	r.Header.Set("Accept", "application/json")
	if c.Body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if asAdmin {
		r.SetBasicAuth(m.admin.Username, m.admin.Password.Reveal())
	}
	answer, err := m.client.Do(r)
	if err != nil {
		if inURL, ok := errors.AsType[*url.Error](err); ok {
			err = inURL.Err // without the URL, which may hold what was put into the path
		}
		return 0, fmt.Errorf("%s: %w", m.endpoint, err)
	}
	defer answer.Body.Close()
	_, _ = io.CopyN(io.Discard, answer.Body, maxAnswer) // so that the connection can be kept
	return answer.StatusCode, nil
}

// fill returns a copy of a document with its texts filled.
func fill(v any, put *strings.Replacer) any {
	switch v := v.(type) {
	case string:
		return put.Replace(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = fill(v[i], put)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for key := range v {
			out[key] = fill(v[key], put)
		}
		return out
	}
	return v
}

func (m *manager) check(ctx context.Context) error { return m.prove(ctx) }

func (m *manager) close() { m.client.CloseIdleConnections() }

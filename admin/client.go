package admin

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/serviceforge/serviceforge"
)

// maxAnswer bounds what the client reads of an answer, in bytes.
const maxAnswer = 64 << 20

// Client speaks /admin/v1. Its methods return *serviceforge.Error with the
// broker's code and message; Unavailable where no broker answers. It repeats
// nothing, and may be used by several goroutines.
type Client struct {
	URL   string // of the broker, e.g. "http://127.0.0.1:5000"
	Token serviceforge.Secret
	HTTP  *http.Client // nil = http.DefaultClient
}

// Seen identifies what a Progress tells, for the hold of the next poll.
func (p Progress) Seen() string {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s|%s|%s|%s|%s|%s|%d", p.Kind, p.State, p.Step, p.Description, p.Stage, p.Node, p.Percent)
	return strconv.FormatUint(h.Sum64(), 36)
}

// Catalog lists the offerings.
func (c *Client) Catalog(ctx context.Context) ([]Offering, error) {
	return get[[]Offering](ctx, c, "/catalog")
}

// Instances lists all instances by id.
func (c *Client) Instances(ctx context.Context) ([]Instance, error) {
	return get[[]Instance](ctx, c, "/instances")
}

// Instance returns one instance. Errors: NotFound.
func (c *Client) Instance(ctx context.Context, id string) (Instance, error) {
	return get[Instance](ctx, c, "/instances/"+url.PathEscape(id))
}

// Create orders an instance. Errors: Invalid, Conflict, Busy, Exhausted.
func (c *Client) Create(ctx context.Context, id string, order Order) (Accepted, error) {
	return send[Accepted](ctx, c, http.MethodPut, "/instances/"+url.PathEscape(id), order)
}

// Update orders a change of an instance. Errors: Invalid, NotFound, Busy,
// Unprocessable (this change is not possible).
func (c *Client) Update(ctx context.Context, id string, order UpdateOrder) (Accepted, error) {
	return send[Accepted](ctx, c, http.MethodPatch, "/instances/"+url.PathEscape(id), order)
}

// Delete orders the end of an instance. Errors: Gone.
func (c *Client) Delete(ctx context.Context, id string) (Accepted, error) {
	return send[Accepted](ctx, c, http.MethodDelete, "/instances/"+url.PathEscape(id), nil)
}

// Operation polls; with wait the broker may hold the answer until it differs
// from seen. Errors: NotFound, Gone (it was deleted).
func (c *Client) Operation(ctx context.Context, id, operation string, wait time.Duration, seen string) (Progress, error) {
	query := url.Values{"operation": {operation}, "wait": {wait.String()}, "seen": {seen}}
	return get[Progress](ctx, c, "/instances/"+url.PathEscape(id)+"/operation?"+query.Encode())
}

// History lists the changes of an instance, oldest first, also of a deleted
// one. Errors: NotFound.
func (c *Client) History(ctx context.Context, id string) ([]Change, error) {
	return get[[]Change](ctx, c, "/instances/"+url.PathEscape(id)+"/history")
}

// Explain tells where an instance stands and why. Errors: NotFound.
func (c *Client) Explain(ctx context.Context, id string) (Explanation, error) {
	return get[Explanation](ctx, c, "/instances/"+url.PathEscape(id)+"/explanation")
}

// Repair begins anew what failed, or verifies a running instance. Errors:
// NotFound, Busy.
func (c *Client) Repair(ctx context.Context, id string) (Accepted, error) {
	return send[Accepted](ctx, c, http.MethodPost, "/instances/"+url.PathEscape(id)+"/repair", nil)
}

// Engine tells whether the engine works.
func (c *Client) Engine(ctx context.Context) (Engine, error) {
	return get[Engine](ctx, c, "/engine")
}

// TurnEngine pauses the engine or lets it work again.
func (c *Client) TurnEngine(ctx context.Context, order EngineOrder) (Engine, error) {
	return send[Engine](ctx, c, http.MethodPut, "/engine", order)
}

// Bindings lists the bindings of an instance, without credentials.
func (c *Client) Bindings(ctx context.Context, instanceID string) ([]Binding, error) {
	return get[[]Binding](ctx, c, "/instances/"+url.PathEscape(instanceID)+"/bindings")
}

// Bind makes credentials. Errors: NotFound, NotReady, Conflict, Busy, Unavailable.
func (c *Client) Bind(ctx context.Context, instanceID, bindingID string, order BindingOrder) (Binding, error) {
	return send[Binding](ctx, c, http.MethodPut, bindingPath(instanceID, bindingID), order)
}

// Binding returns a binding with its credentials. Errors: NotFound.
func (c *Client) Binding(ctx context.Context, instanceID, bindingID string) (Binding, error) {
	return get[Binding](ctx, c, bindingPath(instanceID, bindingID))
}

// Unbind revokes credentials. Errors: Gone.
func (c *Client) Unbind(ctx context.Context, instanceID, bindingID string) (Unbound, error) {
	return send[Unbound](ctx, c, http.MethodDelete, bindingPath(instanceID, bindingID), nil)
}

func bindingPath(instanceID, bindingID string) string {
	return "/instances/" + url.PathEscape(instanceID) + "/bindings/" + url.PathEscape(bindingID)
}

func get[T any](ctx context.Context, c *Client, path string) (T, error) {
	return send[T](ctx, c, http.MethodGet, path, nil)
}

func send[T any](ctx context.Context, c *Client, method, path string, body any) (T, error) {
	var answer T
	var content io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return answer, serviceforge.Wrap(err, serviceforge.Invalid, "the request cannot be written as JSON")
		}
		content = bytes.NewReader(encoded)
	}
	r, err := c.request(ctx, method, path, content)
	if err != nil {
		return answer, err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	response, err := c.do(r)
	if err != nil {
		return answer, err
	}
	defer func() { _ = response.Body.Close() }()
	read, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return answer, serviceforge.Wrap(err, serviceforge.Unavailable, "the broker at %s broke off its answer", c.URL)
	}
	if response.StatusCode != http.StatusOK {
		return answer, failureOf(response.StatusCode, read, c.URL)
	}
	if err := json.Unmarshal(read, &answer); err != nil {
		return answer, serviceforge.Wrap(err, serviceforge.Unavailable, "what answers at %s is not a ServiceForge broker", c.URL)
	}
	return answer, nil
}

// request makes one that carries the token.
func (c *Client) request(ctx context.Context, method, path string, content io.Reader) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.URL, "/")+Prefix+path, content)
	if err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Invalid, "%q is not the URL of a broker", c.URL)
	}
	r.Header.Set("Authorization", "Bearer "+c.Token.Reveal())
	return r, nil
}

func (c *Client) do(r *http.Request) (*http.Response, error) {
	response, err := c.client().Do(r)
	if err == nil {
		return response, nil
	}
	if r.Context().Err() != nil {
		return nil, r.Context().Err()
	}
	if _, untrusted := errors.AsType[*tls.CertificateVerificationError](err); untrusted {
		return nil, serviceforge.Wrap(err, serviceforge.Unavailable,
			"the certificate of the broker at %s is not trusted: name the CA's with --ca-cert", c.URL)
	}
	return nil, serviceforge.Wrap(err, serviceforge.Unavailable, "no broker answers at %s", c.URL)
}

func (c *Client) client() *http.Client {
	if c.HTTP == nil {
		return http.DefaultClient
	}
	return c.HTTP
}

// failureOf makes an Error of an error answer.
func failureOf(status int, content []byte, address string) error {
	var told Failure
	if err := json.Unmarshal(content, &told); err != nil || told.Message == "" {
		return serviceforge.Wrap(errors.Join(err, fmt.Errorf("HTTP status %d", status)), serviceforge.Unavailable,
			"what answers at %s is not a ServiceForge broker (HTTP status %d)", address, status)
	}
	return serviceforge.Errorf(told.Code, "%s", told.Message)
}

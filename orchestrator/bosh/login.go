package bosh

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	cli "github.com/cloudfoundry/bosh-cli/v7/director"

	"github.com/serviceforge/serviceforge"
)

// login lets us in at a director. There are two: a user with a password, and a
// client of a UAA.
type login interface {
	// grant returns what requests carry now. Errors: Unavailable.
	grant(ctx context.Context) (*grant, error)
	// drop is told that the director does not take a grant, and says whether
	// another one may be asked for.
	drop(ctx context.Context, g *grant) bool
}

// grant is what a request carries to be let in.
type grant struct {
	header  serviceforge.Secret // the Authorization header
	scopes  []string            // what it allows; nil = the director has no scopes
	made    time.Time
	renewal time.Time   // when the next one is due; zero = it holds for ever
	proven  atomic.Bool // a director took it
}

// basic is a user with a password, as directors without a UAA have.
type basic struct{ always *grant }

func newBasic(username string, password serviceforge.Secret) basic {
	var r http.Request
	r.Header = http.Header{}
	r.SetBasicAuth(username, password.Reveal())
	return basic{&grant{header: serviceforge.NewSecret(r.Header.Get("Authorization"))}}
}

func (b basic) grant(context.Context) (*grant, error) { return b.always, nil }

func (b basic) drop(context.Context, *grant) bool { return false }

// enter sends a request with a grant, and once more with another one where the
// director says that it is not let in: nothing was done then. That a scope
// lacks, which is a 401 too, is no reason to ask for a token.
func (t *transport) enter(request *http.Request) (*http.Response, error) {
	for again := false; ; again = true {
		g, err := t.client.login.grant(t.ctx)
		if err != nil {
			t.refusal = err
			return nil, err
		}
		t.grant = g
		request.Header.Set("Authorization", g.header.Reveal())
		response, err := t.client.http.Do(request)
		if err != nil {
			return nil, err
		}
		open := request.URL.Path == "/info" // it answers everybody
		switch {
		case response.StatusCode != http.StatusUnauthorized:
			if !open {
				g.proven.Store(true)
			}
			return response, nil
		case !notAuthorized(response):
			t.refusal = serviceforge.Errorf(serviceforge.Unavailable, "the director wants a scope that the broker's client does not have")
			return response, nil
		case again || !t.client.login.drop(t.ctx, g) || request.Body != nil && request.GetBody == nil:
			return response, nil
		}
		finish(response)
		if request.GetBody != nil {
			if request.Body, err = request.GetBody(); err != nil {
				return nil, err
			}
		}
	}
}

// notAuthorized says whether a 401 is about who we are: plain text then, and
// JSON with code 600000 where a scope lacks or a parameter is wrong (WIRE.md).
func notAuthorized(response *http.Response) bool {
	const enough = 4 << 10
	body, _ := io.ReadAll(io.LimitReader(response.Body, enough))
	response.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(body), response.Body), response.Body}
	return strings.HasPrefix(strings.ToLower(string(body)), "not authorized")
}

// finish reads an answer to its end, so that the connection can be used again.
func finish(response *http.Response) {
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
}

// whoWeAre asks /info with our grant: whom the director takes us for is in it.
// An old token shows as nobody, not as a 401.
func (c *Client) whoWeAre(ctx context.Context) (cli.InfoResp, *grant, error) {
	for again := false; ; again = true {
		var answer cli.InfoResp
		request, t := c.call(ctx, "")
		err := t.translate(request.Get("/info", &answer), "asking who the director is")
		if err != nil || answer.User != "" || again || !c.login.drop(ctx, t.grant) {
			return answer, t.grant, err
		}
	}
}

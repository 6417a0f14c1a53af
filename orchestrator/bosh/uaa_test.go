package bosh_test

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/bosh"
	"github.com/serviceforge/serviceforge/orchestrator/director"
	"github.com/serviceforge/serviceforge/spec/uaa"
)

// guarded is a director with a UAA, and a clock for both of them.
type guarded struct {
	t     *testing.T
	uaa   *uaa.Server
	url   string
	ca    string
	clock atomic.Int64 // since 2030
	calls atomic.Int64 // that came through the door
}

var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func (g *guarded) now() time.Time        { return epoch.Add(time.Duration(g.clock.Load())) }
func (g *guarded) pass(by time.Duration) { g.clock.Add(int64(by)) }

const tokenLife = 6 * time.Second

// newGuarded makes one; its UAA knows a client for each set of scopes.
func newGuarded(t *testing.T) *guarded {
	t.Helper()
	g := &guarded{t: t}
	g.uaa = uaa.Start(t, tokenLife, g.now, map[string]uaa.Client{
		"team":  {Secret: "team&secret%", Scopes: []string{"bosh.teams.forge.admin", "uaa.none"}},
		"read":  {Secret: "read-secret", Scopes: []string{"bosh.read"}},
		"other": {Secret: "other-secret", Scopes: []string{"cloud_controller.read"}},
	})
	server := httptest.NewTLSServer(g.uaa.Guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.calls.Add(1)
		if r.Method == http.MethodPost {
			body, _ := io.ReadAll(r.Body)
			if string(body) != "name: x\n" {
				t.Errorf("posted %q", body)
			}
			w.Header().Set("Location", "/tasks/7")
			w.WriteHeader(http.StatusFound)
			return
		}
		_, _ = w.Write([]byte("[]"))
	})))
	t.Cleanup(server.Close)
	g.url = server.URL
	g.ca = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	return g
}

func (g *guarded) client(name, secret string) *bosh.Client {
	g.t.Helper()
	c, err := bosh.New(bosh.Options{URL: g.url, CA: g.ca, Now: g.now,
		UAA: bosh.UAA{CA: g.uaa.CA, Client: name, Secret: serviceforge.NewSecret(secret)}})
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(c.Close)
	return c
}

func (g *guarded) grants(want int) {
	g.t.Helper()
	if got, atOnce := g.uaa.Grants(); got != want || atOnce > 1 {
		g.t.Errorf("%d grants, %d at once, want %d", got, atOnce, want)
	}
}

// A thousand calls over ten lives of a token, ten at a time, one of them a POST.
func TestAThousandCallsNeedNoMoreGrantsThanTokensExpire(t *testing.T) {
	g := newGuarded(t)
	c := g.client("team", "team&secret%")
	const rounds, together = 100, 10
	for round := range rounds {
		var all sync.WaitGroup
		for n := range together {
			all.Go(func() {
				var err error
				if n == 0 {
					_, err = c.Deploy(t.Context(), []byte("name: x\n"), fmt.Sprint(round))
				} else {
					_, err = c.Tasks(t.Context(), director.TaskQuery{Limit: 1})
				}
				if err != nil {
					t.Error(serviceforge.DetailOf(err))
				}
			})
		}
		all.Wait()
		g.pass(tokenLife / 10)
	}
	if got := g.calls.Load(); got != rounds*together {
		t.Errorf("%d calls came through", got)
	}
	expired := rounds * (tokenLife / 10) / tokenLife
	if got, atOnce := g.uaa.Grants(); got > int(expired)+1 || got < int(expired) || atOnce != 1 {
		t.Errorf("%d grants, %d at once, for %d lives", got, atOnce, expired)
	}
}

// The director says that a token is too old before we think so.
func TestATokenThatIsRefusedIsRenewedOnce(t *testing.T) {
	g := newGuarded(t)
	c := g.client("team", "team&secret%")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(serviceforge.DetailOf(err))
		}
	}
	_, err := c.Deployments(t.Context())
	must(err)
	g.uaa.Revoke()
	_, err = c.Deploy(t.Context(), []byte("name: x\n"), "x") // the body is sent again
	must(err)
	g.grants(2)
	g.uaa.Revoke()
	info, err := c.Info(t.Context()) // open to all: an old token shows as nobody
	must(err)
	if info.User != "team" || !info.UAA || !cmp.Equal(info.Scopes, []string{"bosh.teams.forge.admin", "uaa.none"}) {
		t.Errorf("info = %+v", info)
	}
	g.grants(3)
}

// A director that takes none of our tokens, or wants a scope that we lack, does
// not cost a grant for each call.
func TestRefusalsAreNotAnsweredByEndlessGrants(t *testing.T) {
	for name, test := range map[string]struct {
		client, secret string
		deaf           bool
		says           string
		grants         int
	}{
		"lacks the scope":       {"read", "read-secret", false, "wants a scope", 1},
		"has no scope at all":   {"other", "other-secret", false, "wants a scope", 1},
		"no token is ever good": {"team", "team&secret%", true, "does not let the broker in", 1},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGuarded(t)
			c := g.client(test.client, test.secret)
			if test.deaf {
				g.uaa.Distrust()
			}
			for range 20 {
				_, err := c.Deploy(t.Context(), []byte("name: x\n"), "x")
				if serviceforge.CodeOf(err) != serviceforge.Unavailable || !strings.Contains(serviceforge.MessageOf(err), test.says) {
					t.Fatalf("got %v", err)
				}
				g.leaksNothing(err)
			}
			g.grants(test.grants)
		})
	}
}

// leaksNothing looks for tokens and secrets in all that an error tells.
func (g *guarded) leaksNothing(err error) {
	g.t.Helper()
	told := fmt.Sprintf("%v %+v %s", err, err, serviceforge.DetailOf(err))
	for _, secret := range append(g.uaa.Tokens(), "team&secret%", "team%26secret", "read-secret", "wrong") {
		if strings.Contains(told, secret) {
			g.t.Errorf("%q is told: %s", secret, told)
		}
	}
}

func TestAUAAThatDoesNotLetUsIn(t *testing.T) {
	g := newGuarded(t)
	_, err := g.client("team", "wrong").Deployments(t.Context())
	if serviceforge.CodeOf(err) != serviceforge.Unavailable || err.Error() != "the director's UAA does not take the client team" ||
		!strings.Contains(serviceforge.DetailOf(err), "Bad credentials") {
		t.Errorf("got %s", serviceforge.DetailOf(err))
	}
	g.leaksNothing(err)
	g.grants(0)
}

// Who waits for somebody else's grant waits no longer than its own time.
func TestAGrantKeepsToTheCallersTime(t *testing.T) {
	silent := make(chan struct{})
	asked := make(chan struct{}, 1)
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked <- struct{}{}
		<-silent
	}))
	defer server.Close()
	defer close(silent)
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	c, err := bosh.New(bosh.Options{URL: server.URL, CA: ca, UAA: bosh.UAA{URL: server.URL, Client: "x", Secret: serviceforge.NewSecret("s")}})
	if err != nil {
		t.Fatal(err)
	}
	first, giveUp := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := c.Deployments(first)
		done <- err
	}()
	<-asked
	second, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Deployments(second); serviceforge.CodeOf(err) != serviceforge.Unavailable {
		t.Errorf("got %v", err)
	}
	giveUp()
	if err := <-done; serviceforge.CodeOf(err) != serviceforge.Unavailable {
		t.Errorf("got %v", err)
	}
}

func TestADirectorWithoutAUAA(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"name":"x","user":null,"user_authentication":{"type":"basic","options":{}}}`)
	}))
	defer server.Close()
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	c, err := bosh.New(bosh.Options{URL: server.URL, CA: ca, UAA: bosh.UAA{Client: "x", Secret: serviceforge.NewSecret("s")}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Deployments(t.Context()); err == nil || !strings.Contains(err.Error(), "has no UAA: its pool needs a username and a password") {
		t.Errorf("got %v", err)
	}
	for _, bad := range []string{"http://uaa", "uaa:8443", "https://"} {
		if _, err := bosh.New(bosh.Options{URL: server.URL, UAA: bosh.UAA{URL: bad, Client: "x"}}); serviceforge.CodeOf(err) != serviceforge.Invalid {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

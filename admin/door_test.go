package admin_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/admin"
	"github.com/serviceforge/serviceforge/spec/osb/scene"
	"github.com/serviceforge/serviceforge/store"
)

// as is the client of somebody with another token.
func (s *stage) as(token serviceforge.Secret) *admin.Client {
	return &admin.Client{URL: s.server.URL, Token: token}
}

func TestALifeOfATokenIsListed(t *testing.T) {
	s, ctx := newStage(t), t.Context()
	for _, bad := range []admin.TokenOrder{{Role: "viewer"}, {Description: "x"}, {Description: "x", Role: "king"},
		{Description: "x", Role: "viewer", Expires: "90d"}, {Description: "x", Role: "viewer", Expires: "-1h"}, {Description: strings.Repeat("x", 256), Role: "viewer"}} {
		_, err := s.client.CreateToken(ctx, bad)
		wantCode(t, err, serviceforge.Invalid)
	}
	made, err := s.client.CreateToken(ctx, admin.TokenOrder{Description: "Ada's laptop", Role: serviceforge.Operator, Expires: "2160h"})
	if err != nil || made.Number != 2 || !strings.HasPrefix(made.Secret, "2-") || made.ExpiresAt.Sub(made.CreatedAt) != 90*24*time.Hour || made.CreatedBy != "token 1" {
		t.Fatalf("%+v %v", made, err)
	}
	ada := s.as(serviceforge.NewSecret(made.Secret))
	if _, err := ada.Create(ctx, "a", admin.Order{ServiceID: scene.Service, PlanID: scene.OneServer}); err != nil {
		t.Error(err)
	}
	if record, err := s.Store.Instance(ctx, "a"); err != nil || record.Operation.Actor != "token 2" {
		t.Errorf("the history says %q: %v", record.Operation.Actor, err)
	}
	all, err := s.client.Tokens(ctx)
	if err != nil || len(all) != 2 || all[1].LastUsed.IsZero() || all[1].Role != serviceforge.Operator {
		t.Errorf("%+v %v", all, err)
	}
	if err := s.client.RevokeToken(ctx, 2); err != nil {
		t.Error(err)
	}
	wantCode(t, s.client.RevokeToken(ctx, 2), serviceforge.NotFound)
	for err == nil { // until every replica has looked again
		_, err = ada.Catalog(ctx)
	}
	wantCode(t, err, serviceforge.Unauthorized)
	if next, err := s.client.CreateToken(ctx, admin.TokenOrder{Description: "x", Role: serviceforge.Viewer}); err != nil || next.Number != 3 {
		t.Errorf("a number was given again: %+v %v", next, err)
	}
}

func TestAnExpiredTokenIsRefused(t *testing.T) {
	s, ctx := newStage(t), t.Context()
	token, err := s.Store.CreateToken(ctx, &store.Token{Description: "old", Role: serviceforge.Admin, ExpiresAt: time.Now().Add(-time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.as(token).Catalog(ctx)
	wantCode(t, err, serviceforge.Unauthorized)
	if err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("%v", err)
	}
}

// TestWrongTokensAreCounted guesses until the broker has enough: at token 1
// once, then at one that is not there, which costs nobody a scrypt, so that the
// guesses come faster than they are forgiven on any machine.
func TestWrongTokensAreCounted(t *testing.T) {
	s, ctx := newStage(t), t.Context()
	if _, err := s.client.Catalog(ctx); err != nil {
		t.Fatal(err)
	}
	guess := serviceforge.NewSecret("1-" + strings.Repeat("0", 48))
	_, err := s.as(guess).Catalog(ctx)
	wantCode(t, err, serviceforge.Unauthorized)
	codes := map[serviceforge.Code]int{serviceforge.Unauthorized: 1}
	for codes[serviceforge.TooMany] == 0 && codes[serviceforge.Unauthorized] < 1000 {
		_, err := s.as(serviceforge.NewSecret("9" + guess.Reveal()[1:])).Catalog(ctx)
		codes[serviceforge.CodeOf(err)]++
	}
	_, err = s.as(guess).Catalog(ctx)
	wantCode(t, err, serviceforge.TooMany)
	if codes[serviceforge.Unauthorized] < 20 || codes[serviceforge.TooMany] != 1 || len(codes) != 2 {
		t.Errorf("%v", codes)
	}
	if _, err := s.client.Catalog(ctx); err != nil {
		t.Errorf("who was known before has to suffer for it: %v", err)
	}
	r := httptest.NewRequestWithContext(ctx, "GET", s.server.URL+"/admin/v1/catalog", nil)
	r.RequestURI = ""
	r.Header.Set("Authorization", "Bearer "+guess.Reveal())
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, response.Body)
	response.Body.Close()
	if after, err := strconv.Atoi(response.Header.Get("Retry-After")); response.StatusCode == 429 && (err != nil || after < 1) {
		t.Errorf("%d, Retry-After %q", response.StatusCode, response.Header.Get("Retry-After"))
	}
}

// FuzzToken has strangers show all kinds of tokens.
func FuzzToken(f *testing.F) {
	sc := scene.New(f)
	api := admin.New(admin.Options{Engine: sc.Engine, Store: sc.Store, Catalog: sc.Catalog})
	valid := sc.Token(f, serviceforge.Viewer).Reveal()
	for _, seed := range []string{"", "Bearer", "Bearer ", "token 1-", "Basic Y2M6c2VjcmV0", "Bearer 1-" + strings.Repeat("0", 48), "Bearer 0" + valid,
		"Bearer 999999999999999999999-" + strings.Repeat("0", 48), "token \x00", "Bearer " + valid + " ", "TOKEN\t" + valid} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, authorization string) {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/admin/v1/catalog", nil)
		r.Header.Set("Authorization", authorization)
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r)
		if w.Code != 401 && w.Code != 429 && !(w.Code == 200 && strings.Contains(authorization, valid)) {
			t.Errorf("%q: %d %s", authorization, w.Code, w.Body)
		}
	})
}

package users_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rabbitmq/amqp091-go"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/spec/address"
	"github.com/serviceforge/serviceforge/spec/servers"
	"github.com/serviceforge/serviceforge/users"
)

// TestRabbitMQ: it takes long to start, so one serves for everything.
func TestRabbitMQ(t *testing.T) {
	t.Parallel()
	ours, theirs := servers.NewAuthority(t), servers.NewAuthority(t)
	server := servers.StartRabbitMQ(t, ours)
	d, ctx, u, other := drivers(t), limited(t), users.NewUser(), users.NewUser()
	if err := d.Check(ctx, server.Service); err != nil {
		t.Fatal(serviceforge.DetailOf(err))
	}
	for _, user := range []users.User{{Name: u.Name, Password: other.Password}, u, u, other} {
		if err := d.Create(ctx, server.Service, user); err != nil {
			t.Fatal(serviceforge.DetailOf(err))
		}
	}
	if _, err := server.Login(t, users.User{Name: u.Name, Password: other.Password}); !accessRefused(err) {
		t.Errorf("old password: %v", err)
	}
	open, err := server.Login(t, u)
	if err != nil {
		t.Fatal(err)
	}
	publish(t, ctx, open)
	stays, err := server.Login(t, other)
	if err != nil {
		t.Fatal(err)
	}
	ends := open.NotifyClose(make(chan *amqp091.Error, 1))
	for range 2 { // gone and gone again
		if err := d.Revoke(ctx, server.Service, u.Name); err != nil {
			t.Fatal(serviceforge.DetailOf(err))
		}
	}
	select {
	case <-ends:
	case <-ctx.Done():
		t.Error("the revoked user's connection stays open")
	}
	if _, err := server.Login(t, u); !accessRefused(err) {
		t.Errorf("the revoked user logs in: %v", err)
	}
	publish(t, ctx, stays)

	otherCA, otherName, otherPassword := server.Service, server.Service, server.Service
	otherCA.CA, otherName.ServerName, otherPassword.Admin.Password = theirs.PEM, "somebody.else", serviceforge.NewSecret("not-theirs")
	for name, s := range map[string]users.Service{"other CA": otherCA, "other name": otherName, "other password": otherPassword} {
		foreign(t, name, s)
	}
	some := server.Service
	some.Endpoints = append([]string{"https://" + address.Free(t)}, some.Endpoints...)
	if err := d.Create(ctx, some, u); err != nil {
		t.Errorf("one of two is enough: %v", serviceforge.DetailOf(err))
	}
}

func accessRefused(err error) bool {
	e, ok := errors.AsType[*amqp091.Error](err)
	return ok && e.Code == amqp091.AccessRefused
}

// publish sends a message and reads it back.
func publish(t *testing.T, ctx context.Context, c *amqp091.Connection) {
	t.Helper()
	channel, err := c.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := channel.QueueDeclare("q", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := channel.PublishWithContext(ctx, "", "q", false, false, amqp091.Publishing{Body: []byte("hello")}); err != nil {
		t.Fatal(err)
	}
	eventually(t, ctx, func() (amqp091.Delivery, error) {
		m, ok, err := channel.Get("q", true)
		if err == nil && !ok {
			err = errors.New("there is no message")
		}
		return m, err
	})
}

// managed is a service of another kind: a POST makes a user, a PATCH revokes it.
func managed(t *testing.T, answer http.HandlerFunc) users.Service {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	return users.Service{Driver: "http", Endpoints: []string{server.URL + "/base/"}, Admin: users.Admin{Username: "admin", Password: serviceforge.NewSecret("a-secret")},
		HTTP: users.HTTP{
			Check:  users.Call{Path: "/me?full=1"},
			Create: []users.Call{{Method: "POST", Path: "/users", Body: map[string]any{"logins": []any{users.NameHere + ":" + users.PasswordHere}, "quota": 3}}},
			Revoke: []users.Call{{Method: "PATCH", Path: "/users/" + users.NameHere + "%2Foff"}},
		}}
}

func TestHTTPCallsAreTheReleases(t *testing.T) {
	var seen []string
	s := managed(t, func(w http.ResponseWriter, r *http.Request) {
		_, password, ok := r.BasicAuth()
		if !ok {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		body, _ := io.ReadAll(r.Body)
		seen = append(seen, r.Method+" "+r.URL.RequestURI()+" "+password+" "+string(body))
	})
	d, u := drivers(t), users.NewUser()
	for _, err := range []error{d.Create(limited(t), s, u), d.Revoke(limited(t), s, u.Name)} {
		if err != nil {
			t.Fatal(serviceforge.DetailOf(err))
		}
	}
	text, _ := json.Marshal(u.Name + ":" + u.Password.Reveal())
	for _, want := range []string{
		"POST /base/users a-secret {\"logins\":[" + string(text) + "],\"quota\":3}",
		"PATCH /base/users/" + u.Name + "%2Foff a-secret ",
		"GET /base/me?full=1 a-secret ",
	} {
		if !strings.Contains(strings.Join(seen, "\n")+"\n", want+"\n") {
			t.Errorf("got %q, want %s", seen, want)
		}
	}
}

func TestHTTPForeignServersAreFinal(t *testing.T) {
	foreign(t, "open to anybody", managed(t, func(w http.ResponseWriter, r *http.Request) {
		if _, _, ok := r.BasicAuth(); ok || r.Method != http.MethodGet {
			t.Errorf("it was asked to %s, or told the administrator's password", r.Method)
		}
	}))
	foreign(t, "other password", managed(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }))
}

func TestHTTPUnavailable(t *testing.T) {
	overloaded := managed(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	noPath := managed(t, http.NotFound)
	elsewhere := managed(t, func(w http.ResponseWriter, r *http.Request) {
		if _, _, ok := r.BasicAuth(); ok {
			t.Error("it was told the administrator's password")
		}
		http.Redirect(w, r, "/login", http.StatusFound)
	})
	refuses := managed(t, func(w http.ResponseWriter, r *http.Request) {
		_, password, ok := r.BasicAuth()
		switch {
		case !ok:
			w.WriteHeader(http.StatusUnauthorized)
		case r.Method != http.MethodGet:
			w.WriteHeader(http.StatusBadRequest)
			body, _ := io.ReadAll(r.Body)
			_, _ = w.Write(append(body, password...))
		}
	})
	nobody, silent := refuses, refuses
	nobody.Endpoints, silent.Endpoints = []string{"http://" + address.Free(t)}, []string{"http://" + servers.Silent(t)}
	inPath := nobody
	inPath.HTTP.Check.Path = "/" + users.PasswordHere
	for name, s := range map[string]users.Service{"nobody there": nobody, "silent": silent, "overloaded": overloaded, "no path": noPath,
		"elsewhere": elsewhere, "refuses": refuses, "in the path": inPath} {
		u := users.NewUser()
		ctx, cancel := context.WithTimeout(limited(t), perCall)
		err := drivers(t).Create(ctx, s, u)
		cancel()
		if serviceforge.CodeOf(err) != serviceforge.Unavailable || errors.Is(err, users.ErrForeign) {
			t.Errorf("%s: got %v", name, serviceforge.DetailOf(err))
		}
		if detail := serviceforge.DetailOf(err); strings.Contains(detail, u.Password.Reveal()) || strings.Contains(detail, "a-secret") {
			t.Errorf("%s: the error holds a password: %s", name, detail)
		}
	}
}

func TestHTTPSettings(t *testing.T) {
	for name, change := range map[string]func(*users.Service){
		"scheme":      func(s *users.Service) { s.Endpoints = []string{"amqp://h:1"} },
		"login":       func(s *users.Service) { s.Endpoints = []string{"http://a:b@h:1"} },
		"plain, CA":   func(s *users.Service) { s.CA = "a CA" },
		"no calls":    func(s *users.Service) { s.HTTP.Create = nil },
		"no check":    func(s *users.Service) { s.HTTP.Check.Path = "" },
		"path":        func(s *users.Service) { s.HTTP.Revoke = []users.Call{{Path: "@other/"}} },
		"method":      func(s *users.Service) { s.HTTP.Revoke = []users.Call{{Path: "/", Method: "CONNECT"}} },
		"other words": func(s *users.Service) { s.Grant = []string{"all"} },
	} {
		s := managed(t, http.NotFound)
		change(&s)
		if err := drivers(t).Check(limited(t), s); serviceforge.CodeOf(err) != serviceforge.Internal {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

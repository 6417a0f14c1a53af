package users_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/spec/address"
	"github.com/serviceforge/serviceforge/spec/etcd"
	"github.com/serviceforge/serviceforge/spec/servers"
	"github.com/serviceforge/serviceforge/users"
)

// perCall is what a call gets that is to fail.
const perCall = time.Second

func drivers(t testing.TB) *users.Drivers {
	t.Helper()
	d := users.New(nil)
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func limited(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestUserHasAllKeysAndNoAdministration(t *testing.T) {
	s := etcd.Start(t, servers.NewAuthority(t), "admin-password").Service
	d, ctx, u := drivers(t), limited(t), users.NewUser()
	if err := d.Check(ctx, s); err != nil {
		t.Fatal(serviceforge.DetailOf(err))
	}
	if err := d.Create(ctx, s, u); err != nil {
		t.Fatal(serviceforge.DetailOf(err))
	}
	c, err := etcd.Login(t, s, u)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"/a", "\x01", "\xff\xff"} {
		if _, err := c.Put(ctx, k, "v"); err != nil {
			t.Errorf("put %q: %v", k, err)
		}
	}
	got, err := c.Get(ctx, "\x00", clientv3.WithFromKey())
	if err != nil || got.Count != 3 {
		t.Errorf("get all: %v, %v", got, err)
	}
	for name, administer := range map[string]func() error{
		"add a user":   func() error { _, err := c.UserAdd(ctx, "x", "y"); return err },
		"become root":  func() error { _, err := c.UserGrantRole(ctx, u.Name, "root"); return err },
		"list users":   func() error { _, err := c.UserList(ctx); return err },
		"turn it off":  func() error { _, err := c.AuthDisable(ctx); return err },
		"add a member": func() error { _, err := c.MemberAdd(ctx, []string{"http://127.0.0.1:1"}); return err },
		"snapshot": func() error {
			r, err := c.Snapshot(ctx)
			if err == nil {
				_, err = r.Read(make([]byte, 1))
			}
			return err
		},
	} {
		if err := administer(); !errors.Is(err, rpctypes.ErrPermissionDenied) && !strings.Contains(fmt.Sprint(err), "permission denied") {
			t.Errorf("%s: got %v, want permission denied", name, err)
		}
	}
}

func TestCreateTwiceSetsThePassword(t *testing.T) {
	s := etcd.Start(t, servers.NewAuthority(t), "admin-password").Service
	d, ctx, first := drivers(t), limited(t), users.NewUser()
	second := users.User{Name: first.Name, Password: users.NewUser().Password}
	for _, u := range []users.User{first, first, second} {
		if err := d.Create(ctx, s, u); err != nil {
			t.Fatal(serviceforge.DetailOf(err))
		}
	}
	if _, err := etcd.Login(t, s, first); !errors.Is(err, rpctypes.ErrAuthFailed) {
		t.Errorf("old password: %v", err)
	}
	c, err := etcd.Login(t, s, second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Put(ctx, "k", "v"); err != nil {
		t.Error(err)
	}
}

func TestRevokeRefusesOpenConnections(t *testing.T) {
	s := etcd.Start(t, servers.NewAuthority(t), "admin-password").Service
	d, ctx, u, other := drivers(t), limited(t), users.NewUser(), users.NewUser()
	clients := make(map[string]*clientv3.Client)
	for _, user := range []users.User{u, other} {
		if err := d.Create(ctx, s, user); err != nil {
			t.Fatal(serviceforge.DetailOf(err))
		}
		c, err := etcd.Login(t, s, user)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Put(ctx, "k", "v"); err != nil {
			t.Fatal(err)
		}
		clients[user.Name] = c
	}
	for range 2 { // gone and gone again
		if err := d.Revoke(ctx, s, u.Name); err != nil {
			t.Fatal(serviceforge.DetailOf(err))
		}
	}
	if _, err := clients[u.Name].Put(ctx, "k", "v"); err == nil {
		t.Error("the revoked user still writes on its open connection")
	}
	if _, err := clients[u.Name].Get(ctx, "k", clientv3.WithSerializable()); err == nil {
		t.Error("the revoked user still reads on its open connection")
	}
	if _, err := etcd.Login(t, s, u); err == nil {
		t.Error("the revoked user still logs in")
	}
	if _, err := clients[other.Name].Put(ctx, "k", "v"); err != nil {
		t.Errorf("the other user suffers: %v", err)
	}
}

func TestForeignServersAreFinal(t *testing.T) {
	ours, theirs := servers.NewAuthority(t), servers.NewAuthority(t)
	right := etcd.Start(t, ours, "admin-password")
	otherCA := etcd.Start(t, theirs, "admin-password").Service
	otherCA.CA = ours.PEM
	otherPassword := etcd.Start(t, ours, "their-password").Service
	otherName := right.Service
	otherName.ServerName = "somebody.else"
	for name, s := range map[string]users.Service{"other CA": otherCA, "other password": otherPassword, "other name": otherName} {
		d := drivers(t)
		for what, err := range map[string]error{
			"create": d.Create(limited(t), s, users.NewUser()),
			"revoke": d.Revoke(limited(t), s, "b-x"),
			"check":  d.Check(limited(t), s),
		} {
			if !errors.Is(err, users.ErrForeign) || serviceforge.CodeOf(err) != serviceforge.Unprocessable {
				t.Errorf("%s: %s: got %v", name, what, err)
			}
		}
	}
}

func TestUnavailable(t *testing.T) {
	a := servers.NewAuthority(t)
	s := etcd.Start(t, a, "admin-password").Service
	nobody := s
	nobody.Endpoints = []string{"https://" + address.Free(t)}
	open := etcd.Start(t, a, "").Service
	for name, s := range map[string]users.Service{"nobody there": nobody, "authentication off": open} {
		err := drivers(t).Create(limited(t), s, users.NewUser())
		if serviceforge.CodeOf(err) != serviceforge.Unavailable || errors.Is(err, users.ErrForeign) {
			t.Errorf("%s: got %v", name, serviceforge.DetailOf(err))
		}
	}
	some := s
	some.Endpoints = append(nobody.Endpoints, s.Endpoints...)
	if err := drivers(t).Create(limited(t), some, users.NewUser()); err != nil {
		t.Errorf("one of two is enough: %v", serviceforge.DetailOf(err))
	}
}

func TestAServerThatComesBackIsFoundAgain(t *testing.T) {
	s := etcd.Start(t, servers.NewAuthority(t), "admin-password")
	d, ctx, u := drivers(t), limited(t), users.NewUser()
	if err := d.Create(ctx, s.Service, u); err != nil {
		t.Fatal(serviceforge.DetailOf(err))
	}
	s.Stop()
	if err := d.Check(ctx, s.Service); serviceforge.CodeOf(err) != serviceforge.Unavailable {
		t.Errorf("stopped: got %v", err)
	}
	s.Run(t)
	for _, err := range []error{d.Check(ctx, s.Service), d.Revoke(ctx, s.Service, u.Name), d.Create(ctx, s.Service, u)} {
		if err != nil {
			t.Errorf("started again: %v", serviceforge.DetailOf(err))
		}
	}
	s.Stop()
	s.Run(t) // unnoticed by the kept connection, whose token is worth nothing now
	if err := d.Revoke(ctx, s.Service, u.Name); err != nil {
		t.Errorf("started again unnoticed: %v", serviceforge.DetailOf(err))
	}
}

func TestForgottenAndClosed(t *testing.T) {
	s := etcd.Start(t, servers.NewAuthority(t), "admin-password").Service
	d, ctx := drivers(t), limited(t)
	d.Forget(s)
	if err := d.Check(ctx, s); err != nil {
		t.Fatal(serviceforge.DetailOf(err))
	}
	d.Forget(s)
	if err := d.Check(ctx, s); err != nil {
		t.Error(serviceforge.DetailOf(err))
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if err := d.Check(ctx, s); serviceforge.CodeOf(err) != serviceforge.Unavailable {
		t.Errorf("after Close: %v", err)
	}
}

func TestTheAdministratorIsNoBinding(t *testing.T) {
	s := users.Service{Driver: "etcd", Endpoints: []string{"https://127.0.0.1:1"}, CA: "x",
		Admin: users.Admin{Username: "root", Password: serviceforge.NewSecret("x")}}
	d := drivers(t)
	for _, err := range []error{
		d.Revoke(limited(t), s, "root"),
		d.Revoke(limited(t), s, ""),
		d.Create(limited(t), s, users.User{Name: "root", Password: serviceforge.NewSecret("x")}),
		d.Create(limited(t), s, users.User{Name: "b-1"}),
	} {
		if serviceforge.CodeOf(err) != serviceforge.Invalid {
			t.Errorf("got %v", err)
		}
	}
}

func TestManyAtOnceShareOneConnection(t *testing.T) {
	s := etcd.Start(t, servers.NewAuthority(t), "admin-password").Service
	d, ctx := drivers(t), limited(t)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			u := users.NewUser()
			if err := d.Create(ctx, s, u); err != nil {
				t.Error(serviceforge.DetailOf(err))
			}
			if err := d.Revoke(ctx, s, u.Name); err != nil {
				t.Error(serviceforge.DetailOf(err))
			}
		})
	}
	all.Wait()
}

func TestCallsEndWithTheirContext(t *testing.T) {
	l := servers.Silent(t)
	s := users.Service{Driver: "etcd", Endpoints: []string{"https://" + l}, CA: servers.NewAuthority(t).PEM, ServerName: servers.ServerName,
		Admin: users.Admin{Username: "root", Password: serviceforge.NewSecret("x")}}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if err := drivers(t).Check(ctx, s); serviceforge.CodeOf(err) != serviceforge.Unavailable {
		t.Errorf("got %v", err)
	}
	if ctx.Err() == nil {
		t.Error("it gave up before its time")
	}
}

func BenchmarkBind(b *testing.B) {
	s := etcd.Start(b, servers.NewAuthority(b), "admin-password").Service
	d, ctx := drivers(b), context.Background()
	for b.Loop() {
		if err := d.Create(ctx, s, users.NewUser()); err != nil {
			b.Fatal(serviceforge.DetailOf(err))
		}
	}
}

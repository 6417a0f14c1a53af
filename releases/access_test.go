package releases_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/releases"
	"github.com/serviceforge/serviceforge/users"
)

func TestCredentialsAndUsers(t *testing.T) {
	r, in := load(t, releases.Etcd()), etcdInput(t, threeServer)
	access, err := r.Access(limited(t), renderer(t), in)
	if err != nil {
		t.Fatal(serviceforge.DetailOf(err))
	}
	text, err := releases.Credentials(access, users.User{Name: "joe", Password: serviceforge.NewSecret("pw")})
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(text.Reveal()), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"host": "127.244.0.2", "hosts": []any{"127.244.0.2", "127.244.0.3"}, "port": 2379.0,
		"username": "joe", "password": "pw", "prefix": "/",
		"uri":  "https://joe:pw@127.244.0.2:2379",
		"uris": []any{"https://127.244.0.2:2379", "https://127.244.0.3:2379"},
		"ca":   "CA-CERTIFICATE", "server_name": "q-s0.etcd.default.etcd-i1.bosh",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	service, ok, err := releases.UsersOf(access)
	if err != nil || !ok || service.Driver != "etcd" || service.CA != "CA-CERTIFICATE" || service.ServerName != "q-s0.etcd.default.etcd-i1.bosh" ||
		service.Admin.Username != "root" || service.Admin.Password.Reveal() != "ROOT-PASSWORD" || len(service.Endpoints) != 2 {
		t.Errorf("got %+v, %v, %v", service, ok, err)
	}
	if again, err := releases.Credentials(access, users.User{Name: "joe", Password: serviceforge.NewSecret("pw")}); err != nil || again.Reveal() != text.Reveal() {
		t.Error("the second binding differs")
	}
}

func TestAccessRefuses(t *testing.T) {
	r, s := load(t, releases.Etcd()), renderer(t)
	in := etcdInput(t, threeServer)
	in.Instance.Facts = nil
	if _, err := r.Access(limited(t), s, in); serviceforge.CodeOf(err) != serviceforge.Unprocessable {
		t.Errorf("no facts: %v", err)
	}
	in.Instance.Facts = map[string][]string{"etcd": {"((x))"}}
	if _, err := r.Access(limited(t), s, in); serviceforge.CodeOf(err) != serviceforge.Invalid {
		t.Errorf("evil facts: %v", err)
	}
	for name, yml := range map[string]string{
		"no user in the credentials": "credentials: {a: b}\n  users: {driver: etcd, endpoints: [x]}\n  ",
		"no endpoints":               "credentials: {a: (( sf.user.name sf.user.password ))}\n  users: {driver: etcd}\n  ",
		"unknown driver":             "credentials: {a: (( sf.user.name sf.user.password ))}\n  users: {driver: x, endpoints: [x], admin: {username: a, password: b}}\n  ",
		"half a driver":              "credentials: {a: (( sf.user.name sf.user.password ))}\n  users: {driver: postgresql, endpoints: ['postgresql://h:1'], admin: {username: a, password: b}}\n  ",
		"unknown key":                "credentials: {a: (( sf.user.name sf.user.password ))}\n  users: {driver: etcd, endpoints: [x], colour: red}\n  ",
	} {
		_, err := load(t, small("a: 1", "parameters:", yml+"parameters:")).Access(limited(t), s, smallInput(t, ""))
		if serviceforge.CodeOf(err) != serviceforge.Internal {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestUsersOfHTTP(t *testing.T) {
	yml := `credentials: {a: (( sf.user.name sf.user.password ))}
  users:
    driver: http
    endpoints: ["https://h:1"]
    admin: {username: admin, password: secret, ca: CA}
    http:
      check: {path: /me}
      create: [{path: (( "/users/" sf.user.name )), body: {password: (( sf.user.password )), max: 3}}]
      revoke: [{method: POST, path: (( "/users/" sf.user.name "/off" ))}]
  `
	access, err := load(t, small("a: 1", "parameters:", yml+"parameters:")).Access(limited(t), renderer(t), smallInput(t, ""))
	if err != nil {
		t.Fatal(serviceforge.DetailOf(err))
	}
	s, ok, err := releases.UsersOf(access)
	want := users.HTTP{
		Check:  users.Call{Path: "/me"},
		Create: []users.Call{{Path: "/users/" + users.NameHere, Body: map[string]any{"password": users.PasswordHere, "max": json.Number("3")}}},
		Revoke: []users.Call{{Method: "POST", Path: "/users/" + users.NameHere + "/off"}},
	}
	if diff := cmp.Diff(want, s.HTTP); diff != "" || !ok || err != nil {
		t.Errorf("(-want +got):\n%s, %v", diff, err)
	}
}

func TestWithoutUsersAndCredentials(t *testing.T) {
	access, err := load(t, small("a: 1")).Access(limited(t), renderer(t), smallInput(t, ""))
	if err != nil {
		t.Fatal(serviceforge.DetailOf(err))
	}
	if _, ok, err := releases.UsersOf(access); ok || err != nil {
		t.Errorf("got %v, %v", ok, err)
	}
	if c, err := releases.Credentials(access, users.User{}); err != nil || c.Reveal() != "{}" {
		t.Errorf("got %s, %v", c.Reveal(), err)
	}
	for _, broken := range []string{"", "x", `{"version":2}`} {
		if _, err := releases.Credentials(serviceforge.NewSecret(broken), users.User{}); err == nil || strings.Contains(err.Error(), "version") {
			t.Errorf("%q: got %v", broken, err)
		}
	}
}

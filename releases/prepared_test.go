package releases_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/releases"
)

const preparedTemplate = "name: (( sf.instance.deployment ))\nusers: (( sf.users ))\n"

// withUsers is the small service with these users.
func withUsers(t *testing.T, users string) *releases.Release {
	t.Helper()
	return load(t, small(preparedTemplate, "  parameters:", "  credentials: {uri: (( sf.user.name \":\" sf.user.password ))}\n  users: "+users+"\n  parameters:"))
}

// Prepared users are among the secrets; those that are spent are replaced, the
// others stay. They exist when the instance was deployed with them.
func TestPreparedUsersAreMadeAndReplaced(t *testing.T) {
	r := withUsers(t, "{prepared: 3}")
	if err := r.Runnable(); err != nil {
		t.Fatal(err)
	}
	in := smallInput(t, "")
	in.Instance.Secrets = made(t, r, in)
	names := func() (names []string) {
		manifest, err := r.Manifest(t.Context(), renderer(t), in)
		if err != nil {
			t.Fatal(serviceforge.DetailOf(err))
		}
		for line := range strings.Lines(string(manifest)) {
			if _, name, ok := strings.Cut(line, `"username": "`); ok {
				names = append(names, strings.Trim(name, "\"\n"))
			}
		}
		return names
	}
	first := names()
	in.Spent = first[1:2]
	in.Instance.Secrets = made(t, r, in)
	second := names()
	if len(first) != 3 || len(second) != 3 || slices.Contains(second, first[1]) || second[0] != first[0] || second[1] != first[2] {
		t.Errorf("users %v became %v", first, second)
	}
	access, err := r.Access(t.Context(), renderer(t), in)
	if err != nil {
		t.Fatal(serviceforge.DetailOf(err))
	}
	if _, ok, err := releases.Prepared(access); ok || err != nil {
		t.Errorf("users exist before anything was deployed, %v", err)
	}
	access, err = releases.WithPrepared(access, in.Instance.Secrets)
	if err != nil {
		t.Fatal(err)
	}
	in.Instance.Access = access
	in.Spent = second[:1]
	in.Instance.Secrets = made(t, r, in)
	if access, err = r.Access(t.Context(), renderer(t), in); err != nil { // as a sweep does while nothing was deployed
		t.Fatal(serviceforge.DetailOf(err))
	}
	stand, _, err := releases.Prepared(access)
	if err != nil || len(stand) != 3 || stand[0].Name != second[0] {
		t.Errorf("%v stand, %v", stand, err)
	}
	if _, has, err := releases.UsersOf(access); has || err != nil {
		t.Errorf("a driver, %v", err)
	}
	credentials, err := releases.Credentials(access, stand[0])
	if want := fmt.Sprintf(`{"uri":"%s:%s"}`, stand[0].Name, stand[0].Password.Reveal()); err != nil || credentials.Reveal() != want {
		t.Errorf("credentials are not %s, %v", stand[0].Name, err)
	}
}

func made(t *testing.T, r *releases.Release, in releases.Input) serviceforge.Secret {
	t.Helper()
	secrets, err := r.NewSecrets(in)
	if err != nil {
		t.Fatal(serviceforge.DetailOf(err))
	}
	return secrets
}

// A render offline shows where prepared users go, and for BOSH makes the
// director's config server make them.
func TestPreparedUsersOffline(t *testing.T) {
	r := withUsers(t, "{prepared: 2}")
	in, err := r.Sample("p", localPool(t), json.RawMessage(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	for forBOSH, want := range map[bool]string{false: `"password": "[redacted]"`, true: `"password": "((prepared_user_2.password))"`} {
		text, err := r.Offline(t.Context(), renderer(t), in, forBOSH)
		if err != nil || !strings.Contains(string(text), want) || forBOSH != strings.Contains(string(text), `"name": "prepared_user_1"`) {
			t.Errorf("for BOSH %v: %v\n%s", forBOSH, err, text)
		}
	}
}

func TestWhatErrandsChecksAndUsersMayNotSay(t *testing.T) {
	for words, want := range map[string]string{
		"users: {prepared: 0}":                                            "prepared must be a number from 1 to 1000",
		"users: {prepared: 3, driver: redis}":                             "prepared stands alone",
		"errands: {post_deploy: [{name: a, run_on: [x]}]}":                `"x" is not group/index`,
		"errands: {post_deploy: [{name: a, run_on: []}]}":                 "run_on of a is all, first or a list",
		"errands: {post_deploy: [{name: a, timeout: fast}]}":              `"fast" is not a duration`,
		"errands: {pre_delete: [{name: a}, {name: a}]}":                   "a is there twice",
		"check: {driver: tcp}":                                            "driver tcp needs endpoints",
		"check: {driver: etcd}":                                           "driver etcd needs users of that driver",
		"check: {via: errand}":                                            "via: errand needs errand, and no driver",
		"check: {errand: a}":                                              "an errand needs via: errand",
		"check: {via: errand, errand: a, timeout: 0s}":                    `"0s" is not a duration`,
		"users: {prepared: 2}\n  credentials: {a: b}\n  check: {via: no}": "must be one of",
	} {
		files := small("a: 1", "  parameters:", "  credentials: {a: (( sf.user.name sf.user.password ))}\n  "+words+"\n  parameters:")
		if strings.Contains(words, "credentials") {
			files = small("a: 1", "  parameters:", "  "+words+"\n  parameters:")
		}
		if _, err := releases.Load(files); serviceforge.CodeOf(err) != serviceforge.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", words, err, want)
		}
	}
}

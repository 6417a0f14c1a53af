package cmd

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/admin"
)

func TestTokenCommands(t *testing.T) {
	c := newTerminal(t)
	out, _ := c.ok("token", "create", "Ada's laptop", "--role", "operator", "--expires", "90d")
	token := strings.TrimSpace(out)
	if !strings.HasPrefix(token, "2-") || strings.ContainsAny(token, " \n") {
		t.Fatalf("not a token alone: %q", out)
	}
	if out, _ := c.ok("token", "list"); !strings.Contains(out, "Ada's laptop") || !strings.Contains(out, "operator") || strings.Contains(out, token) {
		t.Errorf("%s", out)
	}
	var made admin.NewToken
	if out, _ := c.ok("token", "create", "x", "--expires", "never", "--json"); json.Unmarshal([]byte(out), &made) != nil || made.Role != serviceforge.Viewer || !made.ExpiresAt.IsZero() {
		t.Errorf("%s", out)
	}
	c.fails("say 12h, 90d or never", "token", "create", "x", "--expires", "soon")
	c.fails("viewer, operator or admin", "token", "create", "x", "--role", "king")
	c.env[tokenVariable] = token
	c.ok("catalog")
	c.fails("this takes the role admin", "token", "list")
	c.env[tokenVariable] = c.token.Reveal()
	c.fails("by its number", "token", "revoke", "Ada")
	c.fails("`serviceforge token list`", "token", "revoke", "99")
	if out, _ := c.ok("token", "revoke", token); !strings.Contains(out, "token 2 is revoked") {
		t.Errorf("%s", out)
	}
}

func TestATokenFromNetrc(t *testing.T) {
	c := newTerminal(t)
	c.env[tokenVariable], c.env["HOME"] = "", t.TempDir()
	c.fails("~/.netrc", "catalog")
	machine := func(path, host string) {
		t.Helper()
		if err := os.WriteFile(path, []byte("machine "+host+" login operator password "+c.token.Reveal()+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	home := filepath.Join(c.env["HOME"], ".netrc")
	machine(home, "example.com")
	c.fails("~/.netrc", "catalog")
	machine(home, "127.0.0.1")
	c.ok("catalog")
	machine(home, strings.TrimPrefix(c.server.URL, "http://"))
	c.ok("catalog")
	other := filepath.Join(t.TempDir(), "netrc")
	machine(other, "example.com")
	c.env["NETRC"] = other
	c.fails("~/.netrc", "catalog")
}

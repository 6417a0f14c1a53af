// Package demo_test runs the first command a newcomer types.
package demo_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge/spec"
)

func TestTheDemoHoldsWhatItShowsThreeTimesBesideADev(t *testing.T) {
	for name, account := range map[string]spec.Account{"as the spec's user": spec.Self(t), "as an ordinary user": spec.Ordinary(t)} {
		t.Run(name, func(t *testing.T) {
			dev := spec.StartDev(t, account, "127.232.0.0/24")
			for range 3 {
				out, errs, code := account.Run(t, "demo")
				if code != 0 {
					t.Fatalf("exit code %d\n%s%s", code, out, errs)
				}
				for _, step := range []string{"start", "catalog", "create", "bind", "use", "crash", "unbind", "delete", "nothing left", "clean up"} {
					if !strings.Contains(out, "\n  "+step+" ") && !strings.HasPrefix(out, "  "+step+" ") {
						t.Errorf("there is no line for %q:\n%s", step, out)
					}
				}
				if !strings.Contains(out, "%)") {
					t.Errorf("no progress was shown:\n%s", out)
				}
			}
			left, err := filepath.Glob(filepath.Join(os.TempDir(), "serviceforge-*"))
			if err != nil || len(left) > 0 {
				t.Errorf("folders are left: %v, %v", left, err)
			}
			if code := dev.Stop(); code != 0 {
				t.Errorf("dev ended with %d:\n%s", code, dev.Output())
			}
		})
	}
}

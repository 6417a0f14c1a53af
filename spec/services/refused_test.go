package services_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge/spec"
)

// What cannot run here is not offered, and the reason tells what to do: a
// server that the machine lacks, a BOSH release that nobody brings.
func TestWhatCannotRunIsRefused(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(spec.Folder(t), "redis")
	copyRelease(t, "redis", folder, "/usr/bin/redis-server: redis-server", "/usr/bin/redis-of-nobody: redis-server")
	dev := spec.StartDev(t, spec.Self(t), "127.219.0.0/24")
	for folder, says := range map[string]string{
		folder:                  "has no /usr/bin/redis-of-nobody: install it on this machine with apt-get install redis-server",
		release(t, "cassandra"): "the BOSH release cassandra/12 is neither on the director nor in the service release",
	} {
		out, errs, code := dev.CLI("install", folder)
		if code == 0 || !strings.Contains(errs, says) {
			t.Errorf("install %s (%d): %s%s", folder, code, out, errs)
		}
	}
	if out, errs, code := dev.CLI("catalog"); code != 0 || strings.Contains(out, "redis") || strings.Contains(out, "cassandra") {
		t.Errorf("catalog (%d): %s%s", code, out, errs)
	}
}

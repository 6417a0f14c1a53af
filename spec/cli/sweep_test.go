package cli_test

import (
	"encoding/json"
	"fmt"
	"syscall"
	"testing"

	"github.com/serviceforge/serviceforge/spec"
)

// A service whose process hangs is found without anybody asking for it, and
// forgotten when it is well again.
func TestSweep(t *testing.T) {
	dev := spec.StartDev(t, spec.Self(t), "127.239.2.0/24", "--engine-sweep", "1s")
	c := terminal{t, dev}
	c.run("create-service", "etcd-dedicated", "1-server", "one").succeeds(t)
	type sweep struct {
		Calls    int
		Findings []struct{ Kind, Instance string }
	}
	look := func(want string) error {
		var all []sweep
		r := c.run("sweep", "--json")
		if err := json.Unmarshal([]byte(r.out), &all); err != nil || len(all) != 1 {
			t.Fatalf("%v\n%s%s", err, r.out, r.said)
		}
		found := ""
		for _, f := range all[0].Findings {
			found += f.Kind + " " + f.Instance
		}
		if all[0].Calls != 2 || found != want || (r.code == 0) != (want == "") {
			return fmt.Errorf("exit code %d: %s", r.code, r.out)
		}
		return nil
	}
	spec.Eventually(t, "all is well", func() error { return look("") })
	c.run("sweep").succeeds(t, "pool local: looked through at")
	pids := dev.Etcds()
	if len(pids) != 1 {
		t.Fatalf("etcd processes %v", pids)
	}
	for _, step := range []struct {
		signal syscall.Signal
		want   string
	}{{syscall.SIGSTOP, "service silent one"}, {syscall.SIGCONT, ""}} {
		if err := syscall.Kill(pids[0], step.signal); err != nil {
			t.Fatal(err)
		}
		spec.Eventually(t, "it shows "+step.want, func() error { return look(step.want) })
		if step.want != "" {
			c.run("explain", "one").succeeds(t, "found:", "service silent")
		}
	}
	c.run("delete-service", "-f", "one").succeeds(t)
}

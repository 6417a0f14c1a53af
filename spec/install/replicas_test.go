package install_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/serviceforge/serviceforge/spec"
	"github.com/serviceforge/serviceforge/spec/address"
)

// replica is a broker on the etcd and the director of others.
type replica struct {
	*spec.Process
	spec.Broker
	cli
}

// replicas are two brokers on one etcd and one director; see is told of what
// the first of them asks the director.
func replicas(t *testing.T, network string, see func(r *http.Request, after bool) bool) (a, b replica) {
	t.Helper()
	self, dir := spec.Self(t), spec.Folder(t)
	first, second := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	etcd := address.Free(t)
	spec.StartProcess(t, self, "etcd:", "etcd", "--state", first, "--etcd-listen", etcd)
	spec.StartProcess(t, self, "director:", "bosh", "--state", first, "--bosh-listen", "127.0.0.1:0", "--network", network)
	copyTo := func(name string) {
		content, err := os.ReadFile(filepath.Join(first, name))
		if err == nil {
			err = os.MkdirAll(second, 0o700)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(second, name), content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	copyTo("director.json")
	spec.ProxyDirector(t, first, see)
	start := func(state string) replica {
		address := address.Free(t)
		p := spec.StartProcess(t, self, "broker:", "serve", "--state", state, "--etcd", "http://"+etcd, "--listen", address,
			"--broker-password", "secret", "--bootstrap="+map[bool]string{true: "true", false: "false"}[state == first],
			"--engine-lease", "2s", "--engine-director-timeout", "1s", "--broker-drain", "0s", "--log-level", "warn")
		t.Cleanup(func() {
			if t.Failed() {
				t.Log(p.Output())
			}
		})
		token, err := os.ReadFile(filepath.Join(first, "token"))
		if err != nil {
			t.Fatal(err)
		}
		return replica{p, spec.NewBroker(t, "http://"+address), cli{t, func(args ...string) (string, string, int) {
			return self.Run(t, append(args, "--url", "http://"+address, "--token", strings.TrimSpace(string(token)))...)
		}}}
	}
	a = start(first)
	copyTo("broker.key")
	return a, start(second)
}

// soon waits until a replica offers a service, or no longer does.
func soon(t *testing.T, b *spec.Broker, name string, want bool) {
	t.Helper()
	spec.Eventually(t, "the replica hears of it", func() error {
		if _, there := offered(t, b)[name]; there != want {
			return errors.New("the catalog is as it was")
		}
		return nil
	})
}

// An install on one replica is seen on the other, without a restart; one that
// was killed over an upload has changed nothing, and is done by another.
func TestAllReplicasSwitch(t *testing.T) {
	var trap atomic.Pointer[chan struct{}]
	a, b := replicas(t, "127.214.0.0/24", func(r *http.Request, after bool) bool {
		if r.Method != http.MethodPost || r.URL.Path != "/releases" || after {
			return true
		}
		if struck := trap.Swap(nil); struck != nil {
			close(*struck)
			return false
		}
		return true
	})
	dir := spec.Generated(t, spec.Self(t), "kv")
	struck := make(chan struct{})
	trap.Store(&struck)
	ended := make(chan int, 1)
	go func() {
		_, _, code := a.run("install", dir)
		ended <- code
	}()
	<-struck
	a.Kill()
	if code := <-ended; code == 0 {
		t.Error("an install whose broker was killed says that it succeeded")
	}
	if _, there := offered(t, &b.Broker)["kv-dedicated"]; there {
		t.Error("half an install is on offer")
	}
	if r := b.version("kv", "1.0.0"); r.State != "installing" {
		t.Errorf("what was cut off is told as %+v", r)
	}
	b.does("install", dir)
	if r := b.version("kv", "1.0.0"); r.State != "on offer" {
		t.Errorf("%+v", r)
	}
	a.Process.Start()
	soon(t, &a.Broker, "kv-dedicated", true)
	a.does("create-service", "kv-dedicated", "small", "i")
	b.refuses("a service instance uses it", "uninstall", "kv")
	a.does("delete-service", "-f", "i")
	b.does("uninstall", "kv")
	soon(t, &a.Broker, "kv-dedicated", false)
	a.does("install", dir)
	soon(t, &b.Broker, "kv-dedicated", true)
}

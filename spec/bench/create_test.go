package bench_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/serviceforge/serviceforge/spec"
)

// pollEvery is how often a client asks for its operation.
const pollEvery = 25 * time.Millisecond

// takeCreate takes what a user waits for, on the built program. The floor of a
// create is what an administrator could do: start the same three processes with
// the same files by hand and wait until the cluster serves.
func takeCreate(b *testing.B, t *table) {
	dev := spec.StartDev(b, spec.Self(b), "127.229.1.0/24")
	s := session{b: b, dev: dev, id: "first"}
	cold := s.create()
	hand := newByHand(b, dev)
	t.note("create of 3 etcd servers, cold: the very first", duration(cold))
	s.bind()
	s.remove()
	n := 6
	if testing.Short() {
		n = 2
	}
	var creates, floors, twins, binds, unbinds, deletes []float64
	for round := range n {
		calm()
		if round%2 == 0 {
			floors, twins = append(floors, hand.start()), append(twins, hand.start())
		}
		s.id = fmt.Sprintf("round-%d", round)
		creates = append(creates, s.create())
		bind, unbind := s.bind()
		binds, unbinds = append(binds, bind), append(unbinds, unbind)
		deletes = append(deletes, s.remove())
		if round%2 == 1 {
			calm()
			twins, floors = append(twins, hand.start()), append(floors, hand.start())
		}
	}
	t.compare("create of 3 etcd servers, warm ÷ three processes by hand", creates, floors, twins, duration, limit{most: 1.5})
	t.note("bind, a new user in etcd", times(binds))
	t.note("unbind, the user is revoked", times(unbinds))
	t.note("delete of 3 etcd servers", times(deletes))
}

func times(values []float64) string {
	return fmt.Sprintf("%s [%s..%s]", duration(median(values)), duration(slices.Min(values)), duration(slices.Max(values)))
}

// calm waits until the renderer of the last deploy has been replaced by a warm
// one, as it has between the orders of users.
func calm() { pass(2 * time.Second) }

// session is a platform's session with dev.
type session struct {
	b   *testing.B
	dev *spec.Dev
	id  string
}

func (s *session) path() string { return "/v2/service_instances/" + s.id }

// create orders an instance and waits for it.
func (s *session) create() float64 {
	begin := time.Now()
	s.await(s.dev.Create(s.id, threeServers))
	return time.Since(begin).Seconds()
}

func (s *session) remove() float64 {
	begin := time.Now()
	s.await(s.dev.DeletePlan(s.id, threeServers))
	return time.Since(begin).Seconds()
}

// await polls as the issue says: every 25 ms.
func (s *session) await(operation string) {
	s.b.Helper()
	for {
		var last struct{ State, Description string }
		s.dev.Call("GET", s.path()+"/last_operation?operation="+url.QueryEscape(operation), nil, &last)
		switch last.State {
		case "succeeded":
			return
		case "failed":
			s.b.Fatalf("%s failed: %s\n%s", s.id, last.Description, s.dev.Output())
		}
		pass(pollEvery)
	}
}

func (s *session) bind() (bind, unbind float64) {
	path := s.path() + "/service_bindings/bench"
	begin := time.Now()
	if status := s.dev.Call("PUT", path, map[string]any{"service_id": service, "plan_id": threeServers}, nil); status != http.StatusCreated {
		s.b.Fatalf("bind: %d", status)
	}
	bound := time.Now()
	if status := s.dev.Call("DELETE", path+"?service_id="+service+"&plan_id="+threeServers, nil, nil); status != http.StatusOK {
		s.b.Fatalf("unbind: %d", status)
	}
	return bound.Sub(begin).Seconds(), time.Since(bound).Seconds()
}

// byHand starts the servers of an instance without us: the files that its jobs
// have, at other addresses, with new data.
type byHand struct {
	b        *testing.B
	configs  []string // folder of each server's files
	etcdYML  []string
	password string
	roots    *x509.CertPool
	starts   int
}

const (
	jobFolder  = "/var/vcap/jobs/etcd/config"
	dataFolder = "/var/vcap/store/etcd"
)

// newByHand copies the files of the one instance that runs.
func newByHand(b *testing.B, dev *spec.Dev) *byHand {
	b.Helper()
	found, err := filepath.Glob(filepath.Join(dev.State, "bosh/vms/*/vcap/data/jobs/etcd/*/config"))
	must(b, err)
	if len(found) != 3 {
		b.Fatalf("the files of %d servers, not 3", len(found))
	}
	h := &byHand{b: b, roots: x509.NewCertPool()}
	for _, from := range found {
		to := filepath.Join(b.TempDir(), "config")
		must(b, os.CopyFS(to, os.DirFS(from)))
		text, err := os.ReadFile(filepath.Join(to, "etcd.yml"))
		must(b, err)
		h.configs, h.etcdYML = append(h.configs, to), append(h.etcdYML, string(text))
	}
	password, err := os.ReadFile(filepath.Join(h.configs[0], "root_password"))
	must(b, err)
	h.password = string(password)
	ca, err := os.ReadFile(filepath.Join(h.configs[0], "certs/ca.crt"))
	must(b, err)
	h.roots.AppendCertsFromPEM(ca)
	return h
}

var loopback = regexp.MustCompile(`127\.229\.1\.`)

// start starts the three processes and returns how long it takes until the
// cluster answers a linearizable read of its administrator over TLS. They are
// gone when it returns.
func (h *byHand) start() float64 {
	h.b.Helper()
	h.starts++
	network := fmt.Sprintf("127.229.%d.", 1+h.starts)
	var servers []*exec.Cmd
	var endpoints []string
	for i, folder := range h.configs {
		text := loopback.ReplaceAllString(h.etcdYML[i], network)
		text = strings.ReplaceAll(text, jobFolder, folder)
		text = strings.ReplaceAll(text, dataFolder, h.b.TempDir()+"/etcd")
		config := filepath.Join(folder, "by-hand.yml")
		must(h.b, os.WriteFile(config, []byte(text), 0o600))
		endpoints = append(endpoints, regexp.MustCompile(`advertise-client-urls: "?(https://[0-9.:]+)`).FindStringSubmatch(text)[1])
		server := exec.Command(spec.Program(h.b))
		server.Args = []string{"etcd", "--config-file", config, "--root-password-file", filepath.Join(folder, "root_password"),
			"--ca-key-file", filepath.Join(folder, "certs/ca.key")}
		server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		servers = append(servers, server)
	}
	begin := time.Now()
	for _, server := range servers {
		must(h.b, server.Start())
	}
	h.healthy(endpoints)
	took := time.Since(begin).Seconds()
	for _, server := range servers {
		must(h.b, server.Process.Kill())
		_ = server.Wait()
	}
	return took
}

// healthy waits until the cluster answers root.
func (h *byHand) healthy(endpoints []string) {
	h.b.Helper()
	ctx, cancel := context.WithTimeout(h.b.Context(), time.Minute)
	defer cancel()
	for _, endpoint := range endpoints[:1] { // then there is a cluster; gRPC would be slow to look again
		for conn, err := net.Dial("tcp", strings.TrimPrefix(endpoint, "https://")); ; conn, err = net.Dial("tcp", strings.TrimPrefix(endpoint, "https://")) {
			if err == nil {
				_ = conn.Close()
				break
			}
			must(h.b, ctx.Err())
			pass(2 * time.Millisecond)
		}
	}
	for {
		client, err := clientv3.New(clientv3.Config{
			Endpoints: endpoints[:1], Username: "root", Password: h.password, DialTimeout: 5 * time.Second, Logger: zap.NewNop(),
			TLS: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: h.roots},
		})
		if err == nil {
			_, err = client.Get(ctx, "health")
			_ = client.Close()
		}
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			h.b.Fatal(err)
		}
		pass(2 * time.Millisecond)
	}
}

package etcdserver_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"gopkg.in/yaml.v3"

	"github.com/serviceforge/serviceforge/localbosh/render"
	"github.com/serviceforge/serviceforge/releases/etcdserver"
	"github.com/serviceforge/serviceforge/spec/unraced"
)

const (
	rootPassword = "root-pässword-(1)"
	serverName   = "q-s0.etcd.default.etcd-1.bosh"
	// patience is how long anything may take that is waited for.
	patience = 3 * time.Minute
)

// networks numbers the clusters' parts of 127.0.0.0/8, from one on that other
// runs of these tests will hardly have.
var networks atomic.Uint32

func init() { networks.Store(mathrand.Uint32N(1 << 15)) }

func TestMain(m *testing.M) {
	switch {
	case filepath.Base(os.Args[0]) == "etcd":
		os.Exit(etcdserver.Main(os.Args[1:]))
	case len(os.Args) > 1 && os.Args[1] == "__erb":
		os.Exit(render.ErbMain(os.Args[2:]))
	}
	unraced.Main("github.com/serviceforge/serviceforge/spec/children", &renderer, m.Run)
}

// renderer is what renders templates.
var renderer string

// cluster is etcd servers as our BOSH job configures them, each a process.
type cluster struct {
	t          *testing.T
	roots      *x509.CertPool
	network    string
	properties map[string]any
	members    []*member
}

type member struct {
	t       *testing.T
	ip      string
	vcap    string // stands for /var/vcap
	args    []string
	process *exec.Cmd
	ended   chan struct{}
	log     string
}

func newCluster(t *testing.T, size int) *cluster { return newClusterOf(t, size, false) }

// newClusterOf makes members that may certify their own addresses.
func newClusterOf(t *testing.T, size int, issuing bool) *cluster {
	t.Helper()
	n := networks.Add(1)
	c := &cluster{t: t, roots: x509.NewCertPool(), network: fmt.Sprintf("127.%d.%d", 64+n/256%128, n%256)}
	ca, caKey, certificate, key := certificates(t)
	c.roots.AppendCertsFromPEM([]byte(ca))
	c.properties = map[string]any{
		"cluster_token": "token", "root_password": rootPassword, "heartbeat_interval": 50, "election_timeout": 500,
		"tls": map[string]any{"ca": ca, "certificate": certificate, "private_key": key},
	}
	if issuing {
		c.properties["tls"].(map[string]any)["ca_private_key"] = caKey
	}
	c.render(size)
	return c
}

// grow gives the cluster's members, and new ones, the job of a larger cluster,
// as an update does.
func (c *cluster) grow(size int) {
	c.t.Helper()
	c.properties["initial_cluster_state"] = "existing"
	c.render(size)
}

// render puts the job of each member into its folder.
func (c *cluster) render(size int) {
	c.t.Helper()
	var peers []any
	for i := range size {
		peers = append(peers, map[string]any{"name": "etcd", "id": fmt.Sprint("id-", i), "index": i, "address": fmt.Sprintf("%s.%d", c.network, i+1)})
	}
	var specs []map[string]any
	for i := range size {
		ip := fmt.Sprintf("%s.%d", c.network, i+1)
		specs = append(specs, map[string]any{
			"id": fmt.Sprint("id-", i), "index": i, "ip": ip, "address": ip, "properties": withDefaults(c.t, c.properties),
			"links": map[string]any{"etcd": map[string]any{"instances": peers}},
		})
	}
	for i, files := range renderJob(c.t, specs) {
		if i == len(c.members) {
			vcap := c.t.TempDir()
			c.members = append(c.members, &member{t: c.t, ip: specs[i]["ip"].(string), vcap: vcap, log: filepath.Join(vcap, "log")})
		}
		c.members[i].configure(files)
	}
}

// configure puts a rendered job into the member's folder.
func (m *member) configure(files []render.File) {
	t, vcap := m.t, m.vcap
	t.Helper()
	program, err := filepath.Abs(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(vcap, "packages/etcd/bin")
	if err := errors.Join(os.MkdirAll(bin, 0o750), os.RemoveAll(filepath.Join(bin, "etcd")), os.Symlink(program, filepath.Join(bin, "etcd"))); err != nil {
		t.Fatal(err)
	}
	var bpm struct {
		Processes []struct {
			Executable string
			Args       []string
		}
	}
	for _, file := range files {
		text := strings.ReplaceAll(string(file.Data), "/var/vcap", vcap)
		path := filepath.Join(vcap, "jobs/etcd", file.Path)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), file.Mode); err != nil {
			t.Fatal(err)
		}
		if file.Path == "config/bpm.yml" {
			if err := yaml.Unmarshal([]byte(text), &bpm); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(bpm.Processes) != 1 || bpm.Processes[0].Executable != vcap+"/packages/etcd/bin/etcd" {
		t.Fatalf("bpm.yml: %+v", bpm)
	}
	m.args = bpm.Processes[0].Args
}

// postStart runs the member's script, as the director does.
func (m *member) postStart() {
	m.t.Helper()
	if out, err := exec.Command("/bin/bash", filepath.Join(m.vcap, "jobs/etcd/bin/post-start")).CombinedOutput(); err != nil {
		m.t.Fatalf("post-start of %s: %v %s", m.ip, err, out)
	}
}

// source is the job's folder, as its author keeps it.
func source() fs.FS { return os.DirFS("../etcd/bosh/jobs/etcd") }

type jobSpec struct {
	Templates  map[string]string
	Properties map[string]struct{ Default any }
}

func readSpec(t *testing.T) jobSpec {
	t.Helper()
	text, err := fs.ReadFile(source(), "spec")
	if err != nil {
		t.Fatal(err)
	}
	var spec jobSpec
	if err := yaml.Unmarshal(text, &spec); err != nil {
		t.Fatal(err)
	}
	return spec
}

func withDefaults(t *testing.T, given map[string]any) map[string]any {
	t.Helper()
	all := map[string]any{}
	for name, property := range readSpec(t).Properties {
		if property.Default != nil {
			all[name] = property.Default
		}
	}
	for name, value := range given {
		all[name] = value
	}
	return all
}

func renderJob(t *testing.T, specs []map[string]any) [][]render.File {
	t.Helper()
	r := render.New(render.Options{Program: renderer})
	defer r.Close()
	var templates []render.Template
	for from, to := range readSpec(t).Templates {
		body, err := fs.ReadFile(source(), "templates/"+from)
		if err != nil {
			t.Fatal(err)
		}
		templates = append(templates, render.Template{Source: from, Dest: to, Body: body})
	}
	var instances []render.Instance
	for i, spec := range specs {
		instances = append(instances, render.Instance{Group: "etcd", Index: i, Jobs: []render.Job{{Name: "etcd", Spec: spec, Templates: templates}}})
	}
	results, err := r.Render(t.Context(), instances)
	if err != nil {
		t.Fatal(err)
	}
	var files [][]render.File
	for _, result := range results {
		files = append(files, result.Jobs[0].Files)
	}
	return files
}

func (m *member) start() {
	m.t.Helper()
	program, err := filepath.Abs(os.Args[0])
	if err != nil {
		m.t.Fatal(err)
	}
	log, err := os.OpenFile(m.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		m.t.Fatal(err)
	}
	defer log.Close()
	m.process = &exec.Cmd{Path: program, Args: append([]string{"etcd"}, m.args...), Stdout: log, Stderr: log}
	if err := m.process.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.ended = make(chan struct{})
	process, ended := m.process, m.ended
	go func() {
		_ = process.Wait()
		close(ended)
	}()
	m.t.Cleanup(func() {
		_ = process.Process.Kill()
		<-ended
		if m.t.Failed() {
			text, _ := os.ReadFile(m.log)
			m.t.Logf("%s:\n%s", m.ip, text)
		}
	})
}

func (m *member) signal(s syscall.Signal) {
	m.t.Helper()
	if err := m.process.Process.Signal(s); err != nil {
		m.t.Fatal(err)
	}
	select {
	case <-m.ended:
	case <-time.After(patience):
		m.t.Fatalf("%s does not end", m.ip)
	}
}

func (c *cluster) start() {
	for _, m := range c.members {
		m.start()
	}
}

func (c *cluster) tls() *tls.Config { return &tls.Config{RootCAs: c.roots, ServerName: serverName} }

func (c *cluster) connect(user string, members ...*member) (*clientv3.Client, error) {
	return c.connectAs(user, rootPassword, members...)
}

func (c *cluster) connectAs(user, password string, members ...*member) (*clientv3.Client, error) {
	config := clientv3.Config{DialTimeout: patience, Username: user, Logger: zap.NewNop(), TLS: c.tls(),
		DialOptions: []grpc.DialOption{grpc.WithTransportCredentials(named{credentials.NewTLS(c.tls())})}}
	if user != "" {
		config.Password = password
	}
	for _, m := range members {
		config.Endpoints = append(config.Endpoints, "https://"+m.ip+":2379")
	}
	return clientv3.New(config)
}

// named expects the service's name of a server, whatever address was dialled; gRPC would expect the address.
type named struct {
	credentials.TransportCredentials
}

func (n named) ClientHandshake(ctx context.Context, _ string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return n.TransportCredentials.ClientHandshake(ctx, serverName, raw)
}

func (n named) Clone() credentials.TransportCredentials {
	return named{n.TransportCredentials.Clone()}
}

// root logs in, waiting for the cluster.
func (c *cluster) root(members ...*member) *clientv3.Client {
	c.t.Helper()
	var client *clientv3.Client
	c.do(func(context.Context) (err error) {
		client, err = c.connect("root", members...)
		return err
	})
	c.t.Cleanup(func() { _ = client.Close() })
	return client
}

func (c *cluster) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	c.t.Cleanup(cancel)
	return ctx
}

// do repeats what a cluster refuses while it looks for a leader, as clients must.
func (c *cluster) do(request func(context.Context) error) {
	c.t.Helper()
	ctx := c.context()
	for {
		err := request(ctx)
		switch {
		case err == nil:
			return
		case !unavailable(err) || ctx.Err() != nil:
			c.t.Fatal(err)
		}
	}
}

// unavailable says that there was nobody to answer, or that the cluster had no
// leader: the client turns some of what it is told into errors of its own.
func unavailable(err error) bool {
	if of, ok := errors.AsType[rpctypes.EtcdError](err); ok {
		return of.Code() == codes.Unavailable
	}
	return status.Code(err) == codes.Unavailable
}

func (c *cluster) put(client *clientv3.Client, key, value string) {
	c.t.Helper()
	c.do(func(ctx context.Context) error {
		_, err := client.Put(ctx, key, value)
		return err
	})
}

func (c *cluster) wants(client *clientv3.Client, key, value string) {
	c.t.Helper()
	var got *clientv3.GetResponse
	c.do(func(ctx context.Context) (err error) {
		got, err = client.Get(ctx, key)
		return err
	})
	if len(got.Kvs) != 1 || string(got.Kvs[0].Value) != value {
		c.t.Errorf("%s: %v, want %q", key, got.Kvs, value)
	}
}

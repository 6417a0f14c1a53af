package cluster_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/serviceforge/serviceforge/spec"
)

// cluster is three brokers, three etcd members and one director, with a proxy
// in each link between them.
type cluster struct {
	t        testing.TB
	folder   string
	account  spec.Account
	members  []*member
	replicas []*replica
	director *director
	etcd     *clientv3.Client // root's, past all links
	authority
}

// replica is one broker.
type replica struct {
	*spec.Process
	cluster *cluster
	state   string
	to      []*link // to each member
	mail    *mail   // to the director

	endpoints []string // of etcd, as it knows them

	mu  sync.Mutex
	url string
}

// patience of the engine: short, so that others take over soon.
const (
	lease           = 3 * time.Second
	directorTimeout = time.Second
)

// pool is the local director's, with places: each is claimed by one instance.
const pool = `
pool:
  name: cluster
  infrastructure: default
  azs: [z1, z2, z3]
  network: default
  vm_types: {small: small, medium: medium, large: large}
  disk_types: {small: small, medium: medium, large: large}
  stemcells: {ubuntu-jammy: "1.0"}
  max_in_flight: 8
  capacity: 20
stub: {meta: {heartbeat_interval: 30, election_timeout: 300}}
`

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, folder: spec.Folder(t), account: spec.Self(t)}
	c.authority = *newAuthority(t, c.folder)
	c.members = members(t, c.account, c.folder, &c.authority)
	c.director = newDirector(t, c.account, filepath.Join(c.folder, "d"))
	c.etcd = c.root(&c.authority)
	c.admit()
	write(t, filepath.Join(c.folder, "pool.yml"), pool)
	for i := range 3 {
		c.replicas = append(c.replicas, c.newReplica(fmt.Sprint("b", i), (*replica).over))
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, r := range c.replicas {
				t.Logf("%s:\n%s", r.state, tail(r.Output()))
			}
		}
	})
	return c
}

// tail is the end of a log.
func tail(log string) string {
	const most = 20 << 10
	return log[max(0, len(log)-most):]
}

// newReplica starts a broker; all share the key ring and the operators' token.
// way makes an address that leads to a member.
func (c *cluster) newReplica(name string, way func(*replica, *member) string) *replica {
	c.t.Helper()
	r := &replica{cluster: c, state: filepath.Join(c.folder, name), mail: newMail(c.t)}
	must(c.t, os.Mkdir(r.state, 0o700))
	copyFile(c.t, c.director.state, r.state, "director.json")
	if len(c.replicas) > 0 {
		copyFile(c.t, c.replicas[0].state, r.state, "broker.key")
		copyFile(c.t, c.replicas[0].state, r.state, "token")
	}
	spec.ProxyDirector(c.t, r.state, r.mail.see)
	for _, m := range c.members {
		r.endpoints = append(r.endpoints, "https://"+way(r, m))
	}
	r.configure(lease, 0)
	r.Process = spec.StartProcess(c.t, c.account, "broker:", "serve", "--config", filepath.Join(r.state, "config.yml"))
	r.learnURL()
	return r
}

// over is the way over a link.
func (r *replica) over(m *member) string {
	l := newLink(r.cluster.t, m.clients)
	r.to = append(r.to, l)
	return l.listen(r.cluster.t)
}

// configure writes the settings for the next start.
func (r *replica) configure(lease, drain time.Duration) {
	r.cluster.t.Helper()
	write(r.cluster.t, filepath.Join(r.state, "config.yml"), fmt.Sprintf(`
state: %s
bootstrap: true
log: {level: warn}
broker: {listen: "127.0.0.1:0", password: secret, drain: %s}
etcd: {endpoints: [%s], ca: %s, username: %s, password: %s}
engine: {lease: %s, director_timeout: %s}
pools: [%s]
`, r.state, drain, strings.Join(r.endpoints, ", "), r.cluster.authority.path, user, userPassword, lease, directorTimeout, filepath.Join(r.cluster.folder, "pool.yml")))
}

// Start starts the broker again.
func (r *replica) Start() {
	r.Process.Start()
	r.learnURL()
}

func (r *replica) learnURL() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.url = regexp.MustCompile(`broker: (http://\S+)`).FindStringSubmatch(r.Output())[1]
}

func (r *replica) URL() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.url
}

// leader is the broker that leads; nil = none does at the moment.
func (c *cluster) leader() (*replica, error) {
	found, err := c.keys("leader")
	if err != nil {
		return nil, err
	}
	for _, r := range c.replicas {
		if _, port, _ := strings.Cut(strings.TrimPrefix(r.URL(), "http://"), ":"); strings.HasSuffix(found[""], ":"+port) {
			return r, nil
		}
	}
	return nil, nil
}

// awaitLeader waits until a broker leads that is none of those.
func (c *cluster) awaitLeader(not ...*replica) (leader *replica) {
	c.t.Helper()
	spec.Eventually(c.t, "another broker leads", func() (err error) {
		leader, err = c.leader()
		for _, r := range not {
			if leader == r {
				leader = nil
			}
		}
		if err == nil && leader == nil {
			err = errors.New("none does")
		}
		return err
	})
	return leader
}

// other is a broker that is none of those.
func (c *cluster) other(not ...*replica) *replica {
next:
	for _, r := range c.replicas {
		for _, n := range not {
			if n == r {
				continue next
			}
		}
		return r
	}
	panic("no other broker")
}

// CLI runs a command of the CLI against a broker.
func (r *replica) CLI(args ...string) (stdout, stderr string, code int) {
	return r.cluster.account.Run(r.cluster.t, append(args, "--state", r.state)...)
}

// mail is what is on its way between a broker and the director.
type mail struct {
	way *link // of all requests and answers

	mu   sync.Mutex
	want func(*http.Request) bool // nil = nothing is held
	held chan struct{}            // closed when something is held
	free chan struct{}            // closed when it may go on
}

func newMail(t testing.TB) *mail {
	m := &mail{way: newLink(t, ""), free: make(chan struct{})}
	t.Cleanup(m.release)
	return m
}

// hold keeps the next request of a kind on its way. The result is closed when
// there is one.
func (m *mail) hold(want func(*http.Request) bool) (held <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.want, m.held, m.free = want, make(chan struct{}), make(chan struct{})
	return m.held
}

// release lets what is held arrive.
func (m *mail) release() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.want = nil
	select {
	case <-m.free:
	default:
		close(m.free)
	}
}

func (m *mail) see(r *http.Request, after bool) bool {
	if !m.way.pass() {
		return false
	}
	m.mu.Lock()
	if after || m.want == nil || !m.want(r) {
		m.mu.Unlock()
		return true
	}
	m.want = nil
	free := m.free
	close(m.held)
	m.mu.Unlock()
	<-free
	return true
}

// director is the local director, and a client that asks it past all links.
type director struct {
	*spec.Process
	state  string
	at     struct{ URL, Client, Secret, CAFile string }
	client http.Client
}

func newDirector(t testing.TB, account spec.Account, state string) *director {
	t.Helper()
	d := &director{state: state, Process: spec.StartProcess(t, account, "director:", "bosh", "--state", state,
		"--bosh-listen", "127.0.0.1:0", "--network", "127.228.0.0/24", "--bosh-workers", "8")}
	content, err := os.ReadFile(filepath.Join(state, "director.json"))
	must(t, err)
	var at struct {
		URL, Client, Secret string
		CAFile              string `json:"ca_file"`
	}
	must(t, json.Unmarshal(content, &at))
	d.at.URL, d.at.Client, d.at.Secret = at.URL, at.Client, at.Secret
	ca, err := os.ReadFile(at.CAFile)
	must(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	d.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	return d
}

// ask reads JSON of the director.
func (d *director) ask(path string, answer any) error {
	request, err := http.NewRequest(http.MethodGet, d.at.URL+path, nil)
	if err != nil {
		return err
	}
	request.SetBasicAuth(d.at.Client, d.at.Secret)
	response, err := d.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, response.Status)
	}
	return json.NewDecoder(response.Body).Decode(answer)
}

// deployments lists their names.
func (d *director) deployments() (names []string, err error) {
	var list []struct{ Name string }
	err = d.ask("/deployments", &list)
	for _, one := range list {
		names = append(names, one.Name)
	}
	return names, err
}

func copyFile(t testing.TB, from, to, name string) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(from, name))
	must(t, err)
	write(t, filepath.Join(to, name), string(content))
}

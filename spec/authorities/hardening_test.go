package authorities_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/serviceforge/serviceforge/spec"
)

// ca makes certificates.
type ca struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newCA(t testing.TB, name string) *ca {
	t.Helper()
	c := &ca{t: t}
	c.cert, c.key = c.make(name, true)
	return c
}

// make makes a certificate for 127.0.0.1; the CA's own is signed by itself.
func (c *ca) make(name string, itself bool) (*x509.Certificate, *ecdsa.PrivateKey) {
	c.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		c.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: itself, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := c.cert, c.key
	if itself {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		c.t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		c.t.Fatal(err)
	}
	return made, key
}

// pair makes a certificate of that name and its key, as PEM.
func (c *ca) pair(name string) (cert, key string) {
	c.t.Helper()
	made, private := c.make(name, false)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		c.t.Fatal(err)
	}
	return pemOf(made), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func pemOf(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

// pool trusts the CA.
func (c *ca) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(c.cert)
	return pool
}

// trusting is a client that trusts c and shows what certificates it is given.
func (c *ca) trusting(shown ...tls.Certificate) *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{RootCAs: c.pool(), Certificates: shown}}}
}

// TestTheCertificateIsReplacedWithoutARestart serves a certificate, replaces
// it, and lets a bad one pass by.
func TestTheCertificateIsReplacedWithoutARestart(t *testing.T) {
	t.Parallel()
	h, c := newHouse(t), newCA(t, "spec CA")
	write := func(name string) {
		cert, key := c.pair(name)
		h.write("cert.pem", cert)
		h.write("key.pem", key)
	}
	write("first")
	r := h.serve("a", "--broker-cert", filepath.Join(h.dir, "cert.pem"), "--broker-key", filepath.Join(h.dir, "key.pem"))
	served := func() string {
		t.Helper()
		connection, err := tls.Dial("tcp", strings.TrimPrefix(r.url, "https://"), &tls.Config{RootCAs: c.pool()})
		if err != nil {
			t.Fatal(err)
		}
		defer connection.Close()
		return connection.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	if name := served(); name != "first" {
		t.Errorf("served %q", name)
	}
	write("second")
	spec.Eventually(t, "the new certificate is served", func() error {
		if name := served(); name != "second" {
			return errors.New(name)
		}
		return nil
	})
	h.write("cert.pem", "not a certificate")
	spec.Eventually(t, "a bad certificate is told of", func() error {
		if !strings.Contains(r.Output(), "is not in force") {
			return errors.New("the log does not say so")
		}
		return nil
	})
	if name := served(); name != "second" {
		t.Errorf("a bad file took the good certificate away: %q", name)
	}
	if out, errs, code := r.Account.Run(t, "catalog", "--state", r.state); code == 0 || !strings.Contains(errs, "--ca-cert") {
		t.Errorf("the CLI trusts anybody: %s %s", out, errs)
	}
	if out, errs, code := r.Account.Run(t, "catalog", "--state", r.state, "--ca-cert", h.write("ca.pem", pemOf(c.cert))); code != 0 {
		t.Errorf("the CLI with the CA: %s %s", out, errs)
	}
	t.Run("16 platforms are served by TLS, and not without", func(t *testing.T) { // a line of spec/osb/checklist.md
		if response, err := c.trusting().Get(r.url + "/v2/catalog"); err != nil || response.StatusCode != http.StatusUnauthorized {
			t.Errorf("by TLS: %v %v", response, err)
		}
		if response, err := http.Get("http" + strings.TrimPrefix(r.url, "https") + "/v2/catalog"); err == nil && response.StatusCode != http.StatusBadRequest {
			t.Errorf("plain HTTP is served: %s", response.Status)
		}
	})
}

// TestClientsShowCertificates lets in only who has one of the right CA.
func TestClientsShowCertificates(t *testing.T) {
	t.Parallel()
	h, server, clients, strangers := newHouse(t), newCA(t, "server CA"), newCA(t, "clients CA"), newCA(t, "strangers CA")
	cert, key := server.pair("broker")
	r := h.serve("a", "--broker-cert", h.write("cert.pem", cert), "--broker-key", h.write("key.pem", key),
		"--broker-client-ca", h.write("clients.pem", pemOf(clients.cert)))
	shown := func(c *ca) tls.Certificate {
		pair, err := tls.X509KeyPair(first2(c.pair("client")))
		if err != nil {
			t.Fatal(err)
		}
		return pair
	}
	ask := func(client *http.Client) error {
		response, err := client.Get(r.url + "/healthz")
		if err != nil {
			return err
		}
		return response.Body.Close()
	}
	t.Run("15 clients without the right certificate are refused", func(t *testing.T) { // a line of spec/osb/checklist.md
		if ask(server.trusting()) == nil || ask(server.trusting(shown(strangers))) == nil {
			t.Error("one is let in")
		}
		if err := ask(server.trusting(shown(clients))); err != nil {
			t.Error(err)
		}
	})
	h.write("clients.pem", pemOf(strangers.cert))
	spec.Eventually(t, "another CA is in force", func() error { return ask(server.trusting(shown(strangers))) })
	if ask(server.trusting(shown(clients))) == nil {
		t.Error("the old CA's client is let in")
	}
}

func first2(a, b string) ([]byte, []byte) { return []byte(a), []byte(b) }

// raw opens a connection and sends bytes.
func (r *replica) raw(text string) net.Conn {
	r.house.t.Helper()
	connection, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err == nil {
		_, err = io.WriteString(connection, text)
	}
	if err != nil {
		r.house.t.Fatal(err)
	}
	r.house.t.Cleanup(func() { _ = connection.Close() })
	return connection
}

// TestSlowClientsAreCutOff holds connections in every way that a client can
// hold one; the broker ends each, and answers others meanwhile.
func TestSlowClientsAreCutOff(t *testing.T) {
	t.Parallel()
	r := newHouse(t).serve("a", "--broker-header-timeout", "300ms", "--broker-body-timeout", "600ms", "--broker-idle-timeout", "300ms")
	authorized := "Authorization: Basic Y2M6" + base64Of(canaryBasic) + "\r\nX-Broker-API-Version: 2.17\r\nHost: broker\r\n"
	for name, text := range map[string]string{
		"nothing":        "",
		"half a header":  "GET /v2/catalog HTTP/1.1\r\nHost: bro",
		"half a body":    "PUT /v2/service_instances/slow?accepts_incomplete=true HTTP/1.1\r\n" + authorized + "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"service_id\": \"",
		"an idle client": "GET /healthz HTTP/1.1\r\nHost: broker\r\n\r\n",
	} {
		connection := r.raw(text)
		_ = connection.SetDeadline(time.Now().Add(time.Minute)) // for a broker that never hangs up
		ended := make(chan struct{})
		go func() { // one byte a tick, as long as it is taken
			defer close(ended)
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for range tick.C {
				if name != "half a header" && name != "half a body" {
					return
				}
				if _, err := io.WriteString(connection, "x"); err != nil {
					return
				}
			}
		}()
		answer, err := io.ReadAll(connection) // ends when the broker hangs up
		<-ended
		if errors.Is(err, syscall.ECONNRESET) {
			err = nil // it did not read what we sent last
		}
		if err != nil || strings.Contains(string(answer), "HTTP/1.1 200") != (name == "an idle client") {
			t.Errorf("%s: %q %v", name, answer, err)
		}
		if name == "half a body" && !strings.Contains(string(answer), "408 Request Timeout") {
			t.Errorf("%s: %q", name, answer)
		}
		if status, _, _ := r.ask(nobody, "GET", "/healthz", nil); status != http.StatusOK {
			t.Errorf("after %s others get %d", name, status)
		}
	}
	if status, _, text := r.ask(basic("cc", canaryBasic), "GET", "/v2/service_instances/slow/last_operation", nil); status < 400 {
		t.Errorf("half a request was accepted: %d %s", status, text)
	}
}

// TestTooMuchIsRefused sends headers and bodies that no platform sends.
func TestTooMuchIsRefused(t *testing.T) {
	t.Parallel()
	r := newHouse(t).serve("a")
	cc, big := basic("cc", canaryBasic), strings.Repeat("x", 200<<10)
	oversized := func(q *http.Request) { cc(q); q.Header.Set("X-Broker-API-Originating-Identity", big) }
	if status, _, _, err := r.try(oversized, "GET", "/v2/catalog", nil); err == nil && status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a header of 200 KiB: %d", status)
	}
	for _, path := range []string{"/v2/service_instances/big?accepts_incomplete=true", "/admin/v1/instances/big"} {
		who := cc
		if strings.HasPrefix(path, "/admin") {
			who = bearer(r.admin())
		}
		if status, _, text := r.ask(who, "PUT", path, map[string]string{"x": big}); status != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	if status, _, _ := r.ask(nobody, "GET", "/healthz", nil); status != http.StatusOK {
		t.Errorf("afterwards: %d", status)
	}
}

// TestACredentialHasALimit asks until it is refused: only what OSB lets a
// broker refuse, only this credential, and not for long.
func TestACredentialHasALimit(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	r := h.serve("a", "--broker-rate-limit", "1", "--broker-platforms", h.write("platforms.yml", "platforms: [{name: k8s, username: kube, password: other}]"))
	cc := basic("cc", canaryBasic)
	spec.Eventually(t, "the limit is reached", func() error {
		status, header, text := r.ask(cc, "GET", "/v2/catalog", nil)
		if status != http.StatusTooManyRequests {
			return fmt.Errorf("%d", status)
		}
		if after, err := strconv.Atoi(header.Get("Retry-After")); err != nil || after < 1 || !strings.Contains(text, "description") {
			t.Errorf("Retry-After %q: %s", header.Get("Retry-After"), text)
		}
		return nil
	})
	for range 20 {
		for _, q := range []struct{ method, path string }{{"GET", "/v2/service_instances/x/last_operation"}, {"DELETE", "/v2/service_instances/x?accepts_incomplete=true&service_id=s&plan_id=p"}} {
			if status, _, _ := r.ask(cc, q.method, q.path, nil); status == http.StatusTooManyRequests {
				t.Errorf("%s %s is refused", q.method, q.path)
			}
		}
	}
	if status, _, _ := r.ask(basic("kube", "other"), "GET", "/v2/catalog", nil); status != http.StatusOK {
		t.Errorf("the other platform: %d", status)
	}
	r.eventually(cc, "GET", "/v2/catalog", http.StatusOK)
}

// TestADrainFinishesWhatIsUnderWay stops a leading broker with half a request
// in its hands.
func TestADrainFinishesWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a := h.serve("a", "--broker-drain", "2s", "--engine-lease", "10m")
	h.shareKeys("a", "b")
	b := h.serve("b", "--engine-lease", "10m")
	a.eventually(nobody, "GET", "/readyz", http.StatusOK)
	body := fmt.Sprintf(`{"service_id": %q, "plan_id": %q, "organization_guid": "o", "space_guid": "s"}`, spec.Service, spec.OneServer)
	under := a.raw("PUT /v2/service_instances/late?accepts_incomplete=true HTTP/1.1\r\nHost: broker\r\nX-Broker-API-Version: 2.17\r\n" +
		"Authorization: Basic Y2M6" + base64Of(canaryBasic) + "\r\nContent-Type: application/json\r\n" +
		"Content-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body[:10])
	ended := make(chan int)
	go func() { ended <- a.Stop() }()
	a.eventually(nobody, "GET", "/readyz", http.StatusServiceUnavailable)
	if status, _, text := a.ask(basic("cc", canaryBasic), "GET", "/v2/catalog", nil); status != http.StatusOK {
		t.Errorf("who did not notice yet: %d %s", status, text)
	}
	spec.Eventually(t, "nobody new is let in", func() error {
		connection, err := net.Dial("tcp", strings.TrimPrefix(a.url, "http://"))
		if err == nil {
			_ = connection.Close()
			return errors.New("a connection is taken")
		}
		return nil
	})
	if _, err := io.WriteString(under, body[10:]); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(under), nil)
	if err != nil || answer.StatusCode != http.StatusAccepted {
		t.Fatalf("the request under way: %v %v", answer, err)
	}
	if code := <-ended; code != 0 {
		t.Errorf("the broker ended with %d", code)
	}
	if status, _, text := b.ask(basic("cc", canaryBasic), "GET", "/v2/service_instances/late/last_operation", nil); status != http.StatusOK {
		t.Errorf("what was accepted last: %d %s", status, text)
	}
	spec.Eventually(t, "the other broker leads", func() error {
		if !strings.Contains(b.Output(), "msg=leading ") {
			return errors.New("it does not")
		}
		return nil
	})
}

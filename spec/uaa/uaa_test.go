package uaa_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/serviceforge/serviceforge/spec"
	"github.com/serviceforge/serviceforge/spec/address"
	"github.com/serviceforge/serviceforge/spec/uaa"
)

// director is the local one of a state folder, as its operator reaches it.
type director struct {
	t      *testing.T
	url    *url.URL
	client *http.Client
	user   *url.Userinfo
}

func directorOf(t *testing.T, state string) *director {
	t.Helper()
	var told map[string]string
	content, err := os.ReadFile(filepath.Join(state, "director.json"))
	if err == nil {
		err = json.Unmarshal(content, &told)
	}
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(told["ca_file"])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	address, err := url.Parse(told["url"])
	if err != nil {
		t.Fatal(err)
	}
	return &director{t: t, url: address, user: url.UserPassword(told["client"], told["secret"]), client: &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// do asks the director as its operator.
func (d *director) do(method, path string, body []byte) (*http.Response, []byte) {
	d.t.Helper()
	r, err := http.NewRequest(method, d.url.String()+path, bytes.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	password, _ := d.user.Password()
	r.SetBasicAuth(d.user.Username(), password)
	r.Header.Set("Content-Type", "application/x-compressed")
	response, err := d.client.Do(r)
	if err != nil {
		d.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return response, text
}

// upload uploads a BOSH release and waits for it.
func (d *director) upload(release []byte) {
	d.t.Helper()
	response, text := d.do(http.MethodPost, "/releases", release)
	task, err := url.Parse(response.Header.Get("Location"))
	if err != nil || response.StatusCode != http.StatusFound {
		d.t.Fatalf("%s %s", response.Status, text)
	}
	spec.Eventually(d.t, "the release is there", func() error {
		var told struct{ State, Result string }
		if _, text := d.do(http.MethodGet, task.Path, nil); json.Unmarshal(text, &told) != nil || told.State != "done" {
			return fmt.Errorf("%s: %s", told.State, told.Result)
		}
		return nil
	})
}

// behind is the director with the UAA's door before it.
func (d *director) behind(s *uaa.Server) (address, ca string) {
	password, _ := d.user.Password()
	proxy := &httputil.ReverseProxy{
		Transport: d.client.Transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(d.url)
			r.Out.SetBasicAuth(d.user.Username(), password)
		},
	}
	server := httptest.NewTLSServer(s.Guard(proxy))
	d.t.Cleanup(server.Close)
	return server.URL, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
}

// The program deploys, looks and deletes through a director with a UAA, whose
// tokens are good for six seconds; neither tokens nor the secret are told.
func TestTheProgramWithAUAA(t *testing.T) {
	state := filepath.Join(spec.Folder(t), "s")
	self := spec.Self(t)
	etcd := address.Free(t)
	spec.StartProcess(t, self, "etcd:", "etcd", "--state", state, "--etcd-listen", etcd)
	spec.StartProcess(t, self, "director:", "bosh", "--state", state, "--bosh-listen", "127.0.0.1:0", "--network", "127.225.0.0/24")
	d := directorOf(t, state)
	d.upload(etcdRelease(t, self))
	server := uaa.Start(t, 6*time.Second, nil, map[string]uaa.Client{"forge": {Secret: "hush-hush", Scopes: []string{"bosh.teams.forge.admin"}}})
	address, ca := d.behind(server)
	web := spec.StartProcess(t, self, "broker:", "web", "--state", state, "--bootstrap", "--etcd-listen", etcd, "--listen", "127.0.0.1:0",
		"--broker-password", "secret", "--log-level", "debug", "--engine-sweep", "1s", "--pools", poolFile(t, address, ca, server.CA))
	_, told, _ := strings.Cut(web.Output(), "broker: ")
	broker := spec.NewBroker(t, strings.Fields(told)[0])

	check, said, _ := self.Run(t, "pools", "check", "--state", state)
	for _, want := range []string{"scopes", "forge has bosh.teams.forge.admin, which is enough", "etcd-service/1.0.0 is there"} {
		if !strings.Contains(check, want) {
			t.Errorf("pools check does not say %q:\n%s%s", want, check, said)
		}
	}
	broker.Await("i", broker.Create("i", spec.OneServer))
	spec.Eventually(t, "a second token", func() error {
		if grants, _ := server.Grants(); grants < 2 {
			return errors.New("the first one serves")
		}
		return nil
	})
	broker.Await("i", broker.Delete("i"))
	for _, secret := range append(server.Tokens(), "hush-hush") {
		if strings.Contains(web.Output(), secret) {
			t.Errorf("%s is in the log", secret)
		}
	}
	if grants, atOnce := server.Grants(); atOnce != 1 {
		t.Errorf("%d grants, %d at once", grants, atOnce)
	}
}

// poolFile is dev's pool on another director.
func poolFile(t *testing.T, address, ca, uaaCA string) string {
	t.Helper()
	local, err := os.ReadFile("../../infrastructure_pools/local.yml")
	if err != nil {
		t.Fatal(err)
	}
	block := func(pem string) string {
		return "|\n" + strings.ReplaceAll("\n"+strings.TrimSpace(pem), "\n", "\n        ")[1:] + "\n"
	}
	text := strings.Replace(string(local), "  azs:", "  director:\n    url: "+address+"\n    ca: "+block(ca)+
		"    uaa:\n      client: forge\n      client_secret: hush-hush\n      ca: "+block(uaaCA)+"  azs:", 1)
	path := filepath.Join(t.TempDir(), "pool.yml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// etcdRelease is the BOSH release of the packed etcd service.
func etcdRelease(t *testing.T, self spec.Account) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "etcd.tgz")
	if out, said, code := self.Run(t, "package", "-o", path); code != 0 {
		t.Fatalf("%s%s", out, said)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	zip, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	for in := tar.NewReader(zip); ; {
		header, err := in.Next()
		if err != nil {
			t.Fatal("there is no etcd-service in the package: ", err)
		}
		if strings.Contains(header.Name, "etcd-service") {
			content, err := io.ReadAll(in)
			if err != nil {
				t.Fatal(err)
			}
			return content
		}
	}
}

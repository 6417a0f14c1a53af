package install_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/serviceforge/serviceforge/releases/tarball"
	"github.com/serviceforge/serviceforge/spec"
)

// packed is the generated service as `serviceforge package` writes it.
func packed(t *testing.T, dir string) []byte {
	t.Helper()
	path := filepath.Join(spec.Folder(t), "kv.tgz")
	if _, stderr, code := spec.Self(t).Run(t, "package", dir, "-o", path); code != 0 {
		t.Fatal(stderr)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// webServer serves files from memory, one of which breaks off, and counts who fetched
// what.
type webServer struct {
	URL     string
	mu      sync.Mutex
	files   map[string][]byte
	fetched map[string]int
}

func newWebServer(t *testing.T) *webServer {
	t.Helper()
	s := &webServer{files: map[string][]byte{}, fetched: map[string]int{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

// ServeHTTP sends a file; of one below /broken/ only the first half of what it
// announces.
func (s *webServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.fetched[r.URL.Path]++
	content, there := s.files[filepath.Base(r.URL.Path)]
	s.mu.Unlock()
	switch {
	case !there:
		http.NotFound(w, r)
	case strings.HasPrefix(r.URL.Path, "/broken/"):
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		_, _ = w.Write(content[:len(content)/2])
	default:
		_, _ = w.Write(content)
	}
}

func (s *webServer) put(name string, content []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[name] = content
}

func (s *webServer) times(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fetched[path]
}

// nothingNew fails if anything but etcd is on offer.
func nothingNew(t *testing.T, d *spec.Dev) {
	t.Helper()
	if all := offered(t, &d.Broker); len(all) != 1 || all["etcd-dedicated"] == "" {
		t.Errorf("the catalog is %v", all)
	}
}

// A service release is fetched from a URL by the command, and one of its BOSH
// releases from another by the director.
func TestWhatIsAtAURLIsInstalled(t *testing.T) {
	web, dir := newWebServer(t), spec.Generated(t, spec.Self(t), "kv")
	whole := packed(t, dir)
	web.put("kv.tgz", whole)
	web.put("text.tgz", []byte("this is no archive"))
	d := spec.StartDev(t, spec.Self(t), "127.242.0.0/24")
	c := cli{t, d.CLI}

	c.refuses("/nowhere.tgz cannot be fetched: HTTP status 404", "install", web.URL+"/nowhere.tgz")
	c.refuses("cannot be fetched", "install", "http://127.0.0.1:1/kv.tgz")
	c.refuses("is not gzip", "install", web.URL+"/text.tgz")
	c.refuses("/broken/kv.tgz broke off after ", "install", web.URL+"/broken/kv.tgz")
	nothingNew(t, d)

	// The director fetches what has a url, and believes the checksum, not the server.
	var bosh []byte
	err := tarball.Each(bytes.NewReader(whole), func(name string, in io.Reader) (err error) {
		if name == "bosh/releases/kv-service-1.0.0.tgz" {
			bosh, err = io.ReadAll(in)
		}
		return err
	})
	if err != nil || bosh == nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(bosh)
	wrong := strings.Repeat("0", 64)
	web.put("kv-service.tgz", bosh)
	yml := filepath.Join(dir, "service.yml")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.RemoveAll(filepath.Join(dir, "bosh")))
	// remote is refused: the director says so, and the URL is told.
	remote := func(path, says string) {
		t.Helper()
		c.refuses("kv-service/1.0.0 to pool local from "+web.URL+path+" failed: the director says: "+says, "install", dir)
		nothingNew(t, d)
	}
	spec.Edit(t, yml, "file: bosh/releases/kv-service-1.0.0.tgz, source: bosh", `url: "`+web.URL+`/gone/nowhere.tgz", sha256: "`+wrong+`"`)
	remote("/gone/nowhere.tgz", "Downloading remote release failed")
	spec.Edit(t, yml, "/gone/nowhere.tgz", "/broken/kv-service.tgz")
	remote("/broken/kv-service.tgz", "Downloading remote release failed")
	spec.Edit(t, yml, "/broken/", "/")
	remote("/kv-service.tgz", "Expected stream to have digest")

	spec.Edit(t, yml, wrong, hex.EncodeToString(sum[:]))
	web.put("kv.tgz", packed(t, dir))
	if said := c.does("install", web.URL+"/kv.tgz"); !strings.Contains(said, "kv/1.0.0 is on offer") || !strings.Contains(said, "uploaded kv-service/1.0.0") {
		t.Errorf("install says %q", said)
	}
	before := web.times("/kv-service.tgz")
	if said := c.does("install", web.URL+"/kv.tgz"); !strings.Contains(said, "already, and nothing was missing") || web.times("/kv-service.tgz") != before {
		t.Errorf("a repeated install says %q, and fetched %d times", said, web.times("/kv-service.tgz")-before)
	}
	c.does("create-service", "kv-dedicated", "small", "a")
	c.does("bind", "a", "app")
}

package spec

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"testing"
)

// ProxyDirector puts a proxy before the director of the state folder: brokers
// that are started on the folder after it talk to the proxy. see is called for
// each request, before it is passed on and again when its answer is known but
// not given back yet; false means that the exchange ends there and the broker
// never hears of it. A request that see holds is on its way: it is passed on
// when see returns, though whoever sent it may be gone by then. The first time,
// see may read the body.
func ProxyDirector(t testing.TB, state string, see func(r *http.Request, after bool) bool) {
	t.Helper()
	var d map[string]string
	path := filepath.Join(state, "director.json")
	content, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(content, &d)
	}
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(d["ca_file"])
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(d["url"])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	done := make(chan struct{})
	forward := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}},
		ModifyResponse: func(r *http.Response) error {
			body, err := io.ReadAll(r.Body) // the director has done it all
			r.Body = io.NopCloser(bytes.NewReader(body))
			if !see(r.Request, true) {
				<-done
				panic(http.ErrAbortHandler)
			}
			return err
		},
	}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler) // it never left the broker
		}
		r.Body = io.NopCloser(bytes.NewReader(body)) // for see
		if !see(r, false) {
			<-done
			panic(http.ErrAbortHandler)
		}
		ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
		defer cancel()
		sent := r.WithContext(ctx)
		sent.Body = io.NopCloser(bytes.NewReader(body))
		forward.ServeHTTP(w, sent)
	}))
	t.Cleanup(server.CloseClientConnections)
	t.Cleanup(func() { close(done) })
	own := filepath.Join(state, "proxy.pem")
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	d["url"], d["ca_file"] = server.URL, own
	content, err = json.Marshal(d)
	if err == nil {
		err = os.WriteFile(own, certificate, 0o600)
	}
	if err == nil {
		err = os.WriteFile(path, content, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Package update_test holds the specs of updates as a platform asks for them,
// down to the processes they change: nothing of an app's data may be lost.
package update_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/serviceforge/serviceforge/spec"
)

// credentials are an etcd binding's.
type credentials struct {
	Hosts              []string
	URIs               []string
	Username, Password string
	Prefix, CA         string
}

func (c credentials) tls(t *testing.T) *tls.Config {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(c.CA)) {
		t.Fatal("the credentials hold no authority")
	}
	return &tls.Config{RootCAs: roots}
}

// connect logs in as an app does.
func (c credentials) connect(t *testing.T, hosts ...string) *clientv3.Client {
	t.Helper()
	config := clientv3.Config{Username: c.Username, Password: c.Password, TLS: c.tls(t), DialTimeout: 30 * time.Second, Logger: zap.NewNop()}
	for _, host := range hosts {
		config.Endpoints = append(config.Endpoints, "https://"+host+":2379")
	}
	var client *clientv3.Client
	spec.Eventually(t, "etcd lets the app in", func() (err error) {
		client, err = clientv3.New(config)
		return err
	})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

const instance = "/v2/service_instances/grow"

// update asks for a change and returns the operation.
func update(t *testing.T, dev *spec.Dev, change map[string]any) string {
	t.Helper()
	var accepted struct{ Operation, Description string }
	change["service_id"] = spec.Service
	if status := dev.Call("PATCH", instance+"?accepts_incomplete=true", change, &accepted); status != http.StatusAccepted || accepted.Operation == "" {
		t.Fatalf("update: %d %+v", status, accepted)
	}
	return accepted.Operation
}

func bind(t *testing.T, dev *spec.Dev, id, plan string) credentials {
	t.Helper()
	var bound struct{ Credentials credentials }
	status := dev.Call("PUT", instance+"/service_bindings/"+id, map[string]any{"service_id": spec.Service, "plan_id": plan}, &bound)
	if status != http.StatusCreated {
		t.Fatalf("bind: %d", status)
	}
	return bound.Credentials
}

// One server becomes three, with all its data, whatever is killed meanwhile; an
// app that was bound before goes on.
func TestAClusterGrows(t *testing.T) {
	dev := spec.StartDev(t, spec.Self(t), "127.229.0.0/24")
	dev.Await("grow", dev.Create("grow", spec.OneServer))
	before := bind(t, dev, "before", spec.OneServer)
	app := before.connect(t, before.Hosts...)
	const keys = 50
	for n := range keys {
		put(t, app, fmt.Sprint("key", n), fmt.Sprint("value", n))
	}

	growing := update(t, dev, map[string]any{"plan_id": spec.ThreeServers})
	if status := dev.Call("GET", instance, nil, nil); status != http.StatusUnprocessableEntity {
		t.Errorf("fetched during the update: %d", status)
	}
	dev.Kill() // the director with it; the next one goes on
	dev.Start()
	dev.Await("grow", growing)

	after := bind(t, dev, "after", spec.ThreeServers)
	if len(after.Hosts) != 3 || len(dev.Etcds()) != 3 || after.Hosts[0] != before.Hosts[0] {
		t.Fatalf("hosts %v, before %v; processes %v", after.Hosts, before.Hosts, dev.Etcds())
	}
	for _, host := range after.Hosts {
		member := before.connect(t, host) // the old credentials, at each member
		for n := range keys {
			wants(t, member, fmt.Sprint("key", n), fmt.Sprint("value", n))
		}
	}
	put(t, app, "afterwards", "1") // the client of before
	wants(t, after.connect(t, after.Hosts...), "afterwards", "1")

	victim := dev.Etcds()[0]
	if err := syscall.Kill(victim, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	put(t, after.connect(t, after.Hosts...), "without one", "1")

	var refused struct{ Description string }
	status := dev.Call("PATCH", instance+"?accepts_incomplete=true", map[string]any{"service_id": spec.Service, "plan_id": spec.OneServer}, &refused)
	if status != http.StatusUnprocessableEntity || !strings.Contains(refused.Description, "plan 3-servers cannot be changed to 1-server") {
		t.Errorf("back to one server: %d %s", status, refused.Description)
	}
	dev.Await("grow", dev.DeletePlan("grow", spec.ThreeServers))
	if left := dev.Etcds(); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
}

// What an app team asks for reaches the processes, and nothing else moves.
func TestParametersReachTheProcesses(t *testing.T) {
	dev := spec.StartDev(t, spec.Self(t), "127.226.0.0/24")
	dev.Await("grow", dev.Create("grow", spec.OneServer))
	app := bind(t, dev, "app", spec.OneServer)
	client := app.connect(t, app.Hosts...)
	put(t, client, "key", "value")
	if quota := metric(t, app, "etcd_server_quota_backend_bytes"); quota != "2.147483648e+09" {
		t.Errorf("quota by default: %s", quota)
	}
	dev.Await("grow", update(t, dev, map[string]any{"parameters": map[string]any{
		"quota_backend_bytes": 67108864, "snapshot_count": 4321, "auto_compaction": map[string]any{"mode": "revision", "retention": "1000"},
	}}))
	if quota := metric(t, app, "etcd_server_quota_backend_bytes"); quota != "6.7108864e+07" {
		t.Errorf("quota: %s", quota)
	}
	started := lastStart(t, dev.State)
	if started.Snapshots != 4321 || started.Mode != "revision" || started.Retention != "1µs" { // a count, which etcd prints as nanoseconds
		t.Errorf("etcd started with %+v", started)
	}
	wants(t, client, "key", "value")

	dev.Await("grow", update(t, dev, map[string]any{"parameters": map[string]any{"snapshot_count": 5000}}))
	if quota := metric(t, app, "etcd_server_quota_backend_bytes"); quota != "6.7108864e+07" {
		t.Errorf("the quota was forgotten: %s", quota)
	}
	var fetched struct{ Parameters map[string]any }
	if status := dev.Call("GET", instance, nil, &fetched); status != http.StatusOK || fetched.Parameters["snapshot_count"] != 5000.0 {
		t.Errorf("fetched: %d %v", status, fetched)
	}
	for _, wrong := range []string{
		`{"snapshot_count": 1}`, `{"snapshot_count": "many"}`, `{"auto_compaction": {"mode": "revision", "retention": "1h"}}`, `{"colour": "red"}`,
	} {
		var refused struct{ Description string }
		status := dev.Call("PATCH", instance+"?accepts_incomplete=true", map[string]any{"service_id": spec.Service, "parameters": json.RawMessage(wrong)}, &refused)
		if status != http.StatusBadRequest || !strings.Contains(refused.Description, "parameter ") {
			t.Errorf("%s: %d %s", wrong, status, refused.Description)
		}
	}
	dev.Await("grow", dev.Delete("grow"))
}

func put(t *testing.T, client *clientv3.Client, key, value string) {
	t.Helper()
	spec.Eventually(t, "etcd takes "+key, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := client.Put(ctx, key, value)
		return err
	})
}

func wants(t *testing.T, client *clientv3.Client, key, value string) {
	t.Helper()
	var got *clientv3.GetResponse
	spec.Eventually(t, "etcd tells "+key, func() (err error) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		got, err = client.Get(ctx, key)
		return err
	})
	if len(got.Kvs) != 1 || string(got.Kvs[0].Value) != value {
		t.Errorf("%s: %v, want %s", key, got.Kvs, value)
	}
}

// metric reads a gauge of the first member.
func metric(t *testing.T, c credentials, name string) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: c.tls(t)}}
	defer client.CloseIdleConnections()
	response, err := client.Get("https://" + c.Hosts[0] + ":2379/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	t.Fatalf("etcd has no metric %s", name)
	return ""
}

// start is what etcd says of itself when it starts.
type start struct {
	Snapshots int    `json:"snapshot-count"`
	Mode      string `json:"auto-compaction-mode"`
	Retention string `json:"auto-compaction-retention"`
}

// lastStart reads the last start from the log of the one member.
func lastStart(t *testing.T, state string) start {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(state, "bosh/vms/*/*/sys/log/etcd/etcd.stderr.log"))
	if err != nil || len(logs) != 1 {
		t.Fatalf("logs %v, %v", logs, err)
	}
	text, err := os.ReadFile(logs[0])
	if err != nil {
		t.Fatal(err)
	}
	var last start
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, `"msg":"starting an etcd server"`) {
			last = start{}
			if err := json.Unmarshal([]byte(line), &last); err != nil {
				t.Fatal(err)
			}
		}
	}
	return last
}

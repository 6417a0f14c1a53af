package bench_test

import (
	"context"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/bosh"
)

const (
	plainService = "plain-service"
	plainPlan    = "plain-plan"
)

// takeCalls counts the director's calls.
func takeCalls(b *testing.B, t *table) {
	const n = 500
	ours, _ := start(b, "__ours", "-state", b.TempDir(), "-plain", "-in-flight", "1000")
	orders := &load{address: ours.Address, request: put(plainService, plainPlan, "call-"), want: http.StatusAccepted}
	for orders.sent < n {
		must(b, orders.one())
	}
	until(b, "all are in flight", func() bool { return ours.calls()["Deploy"] == n })
	before := watching(ours.calls())
	pass(10 * time.Second)
	t.count(fmt.Sprintf("director calls in 10 s with %d in flight", n), float64(watching(ours.calls())-before), 10)

	ours.ask("/turn?latency=0s&duration=0s", nil)
	until(b, "all are made", func() bool {
		var states map[serviceforge.OperationState]int
		ours.ask("/states", &states)
		if states[serviceforge.Failed] > 0 {
			b.Fatalf("%v", states)
		}
		return states[serviceforge.Succeeded] == n
	})
	calls := ours.calls()
	t.count("director calls per provision, beside the watching of tasks", float64(sum(calls)-watching(calls))/n, 3)
	pass(3 * time.Second)
	t.count("director calls in 3 s while nothing is in flight", float64(sum(ours.calls())-sum(calls)), 0)

	calls = ours.calls()
	binds := &load{address: ours.Address, request: binding(), want: http.StatusCreated}
	for binds.sent < n/5 {
		must(b, binds.one())
	}
	polls := &load{address: ours.Address, request: get("/v2/service_instances/call-1/last_operation"), want: http.StatusOK}
	_, err := polls.run(4, 200*time.Millisecond)
	must(b, err)
	t.count("director calls of 100 binds, and of polls of what has ended", float64(sum(ours.calls())-sum(calls)), 0)
}

// one sends one request.
func (l *load) one() error {
	_, err := l.run(1, 0)
	return err
}

// binding binds one instance after the other.
func binding() request {
	body := fmt.Sprintf(`{"service_id":%q,"plan_id":%q}`, plainService, plainPlan)
	return func(buffer []byte, n int) []byte {
		return fmt.Appendf(buffer, "PUT /v2/service_instances/call-%d/service_bindings/b%s%s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
			n, head, login, len(body), body)
	}
}

func sum(calls map[string]int) (n int) {
	for _, c := range calls {
		n += c
	}
	return n
}

// watching are the calls that watch tasks.
func watching(calls map[string]int) int { return calls["Tasks"] + calls["Task"] + calls["Events"] }

// until waits for what can be asked.
func until(b *testing.B, what string, holds func() bool) {
	b.Helper()
	for begin := time.Now(); !holds(); pass(50 * time.Millisecond) {
		if time.Since(begin) > 2*time.Minute {
			b.Fatalf("%s: not within two minutes", what)
		}
	}
}

// takeConnections counts TLS connections of the client of directors.
func takeConnections(b *testing.B, t *table) {
	var opened atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		pass(2 * time.Millisecond)
		w.Header().Set("Content-Type", "text/html") // as the real one does
		_, _ = w.Write([]byte(`{"id":1,"state":"processing","description":"create deployment","deployment":"etcd-x","context_id":"","result":""}`))
	}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened.Add(1)
		}
	}
	server.StartTLS()
	defer server.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	client, err := bosh.New(bosh.Options{URL: server.URL, CA: string(ca), Username: "admin", Password: serviceforge.NewSecret("secret")})
	must(b, err)
	defer client.Close()
	var callers sync.WaitGroup
	var failure atomic.Value
	for range 20 {
		callers.Go(func() {
			for range 50 {
				if _, err := client.Task(context.Background(), 1, 0); err != nil {
					failure.Store(err)
				}
			}
		})
	}
	callers.Wait()
	if err := failure.Load(); err != nil {
		b.Fatal(err)
	}
	t.count("TLS connections per 1,000 director calls of 20 callers", float64(opened.Load()), 20)
}

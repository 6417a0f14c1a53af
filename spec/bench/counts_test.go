package bench_test

import (
	"context"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
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

// TestCounts takes the counts at a reduced size, for CI: they hold on any
// machine. The times of `make bench` do not.
func TestCounts(t *testing.T) {
	for name, take := range map[string]func(testing.TB, *table){
		"calls":       func(t testing.TB, figures *table) { countCalls(t, figures, 1, 60) },
		"directors":   func(t testing.TB, figures *table) { countCalls(t, figures, 5, 50) },
		"connections": func(t testing.TB, figures *table) { countConnections(t, figures) },
	} {
		t.Run(name, func(t *testing.T) {
			var figures table
			take(t, &figures)
			var text strings.Builder
			if !figures.print(&text) {
				t.Errorf("a count is above its limit\n%s", &text)
			}
		})
	}
}

// takeCalls counts the calls to a director.
func takeCalls(b *testing.B, t *table) { countCalls(b, t, 1, 500) }

// takeScale counts them with very many in flight, and with many directors.
func takeScale(b *testing.B, t *table) {
	many := 5000
	if testing.Short() {
		many = 1000
	}
	countCalls(b, t, 1, many)
	countCalls(b, t, 50, 1000)
}

// countCalls counts the calls to directors that have n tasks in flight, together.
func countCalls(b testing.TB, t *table, directors, n int) {
	ours, _ := start(b, "__ours", "-state", b.TempDir(), "-plain", "-in-flight", strconv.Itoa(n), "-directors", strconv.Itoa(directors))
	orders := &load{address: ours.Address, request: put(plainService, plainPlan, "call-"), want: http.StatusAccepted}
	begin := time.Now()
	for orders.sent < n {
		_, err := orders.run(10, 0)
		must(b, err)
	}
	until(b, "all are in flight", func() bool { return ours.calls()["Deploy"] == n })
	of := fmt.Sprintf("%d in flight", n)
	if directors > 1 {
		of += fmt.Sprintf(" at %d directors", directors)
	}
	t.note(of+": from the first order to the last post", duration(time.Since(begin).Seconds()))
	before := ours.watching()
	pass(10 * time.Second)
	t.count("calls to a director in 10 s, "+of, float64(slices.Max(less(ours.watching(), before))), 10)
	if directors == 1 {
		countEventReads(b, t, ours, of)
	}

	ours.ask("/turn?latency=0s&duration=0s", nil)
	begin = time.Now()
	until(b, "all are made", func() bool {
		var states map[serviceforge.OperationState]int
		ours.ask("/states", &states)
		if states[serviceforge.Failed] > 0 {
			b.Fatalf("%v", states)
		}
		return states[serviceforge.Succeeded] == n
	})
	t.note(of+": from the tasks' ends to the last instance that runs", duration(time.Since(begin).Seconds()))
	calls := ours.calls()
	t.count("calls per provision beside the watching of tasks, "+of, float64(sum(calls)-watching(calls))/float64(n), 3)
	pass(3 * time.Second)
	t.count("calls in 3 s, nothing in flight", float64(sum(ours.calls())-sum(calls)), 0)

	calls = ours.calls()
	binds := &load{address: ours.Address, request: binding(), want: http.StatusCreated}
	for binds.sent < min(n/5, 100) {
		must(b, binds.one())
	}
	polls := &load{address: ours.Address, request: get("/v2/service_instances/call-1/last_operation"), want: http.StatusOK}
	_, err := polls.run(4, 200*time.Millisecond)
	must(b, err)
	t.count("calls of binds, and of polls of what has ended", float64(sum(ours.calls())-sum(calls)), 0)
}

// countEventReads counts the reads of events while platforms poll for instances
// in flight as fast as they can: two a second, and two that were saved up.
func countEventReads(b testing.TB, t *table, ours *child, of string) {
	polls := &load{address: ours.Address, want: http.StatusOK, request: func(buffer []byte, n int) []byte {
		return fmt.Appendf(buffer, "GET /v2/service_instances/call-%d/last_operation%s%s\r\n\r\n", 1+n%20, head, login)
	}}
	until(b, "events are read", func() bool {
		must(b, polls.one())
		return ours.calls()["Events"] > 0
	})
	before, begin := ours.calls()["Events"], time.Now()
	_, err := polls.run(2, 5*time.Second)
	must(b, err)
	reads := float64(ours.calls()["Events"] - before)
	t.count("event reads a second, 20 tasks are looked at, "+of, max(0, reads-2)/time.Since(begin).Seconds(), 2)
}

// takeSlots measures how a pool's slots are filled: at first, and whenever one
// becomes free.
func takeSlots(b *testing.B, t *table) {
	const n, slots, task = 300, 20, 4 * time.Second
	ours, _ := start(b, "__ours", "-state", b.TempDir(), "-plain", "-in-flight", strconv.Itoa(slots), "-duration", task.String())
	orders := &load{address: ours.Address, request: put(plainService, plainPlan, "call-"), want: http.StatusAccepted}
	for orders.sent < n {
		_, err := orders.run(10, 0)
		must(b, err)
	}
	begin := time.Now()
	until(b, "the slots are filled", func() bool { return ours.calls()["Deploy"] >= slots })
	t.add(row{figure: fmt.Sprintf("%d slots filled after %d accepts", slots, n), ours: duration(time.Since(begin).Seconds()), target: "≤ 2 s",
		verdict: limit{most: 2}.verdict(max(0.001, time.Since(begin).Seconds()))})
	const rounds = 4
	until(b, "slots are filled again", func() bool { return ours.calls()["Deploy"] >= (1+rounds)*slots })
	gap := (time.Since(begin) - rounds*task).Seconds() / rounds
	t.add(row{figure: "from a task's end to the next post, mean", ours: duration(gap), target: "≤ 1 tick (1 s)", verdict: limit{most: 1}.verdict(gap)})
}

// watching are the calls to each director that watch tasks, so far.
func (c *child) watching() (each []int) {
	c.ask("/watching", &each)
	return each
}

func less(now, before []int) []int {
	for n := range now {
		now[n] -= before[n]
	}
	return now
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
func until(b testing.TB, what string, holds func() bool) {
	b.Helper()
	for begin := time.Now(); !holds(); pass(50 * time.Millisecond) {
		if time.Since(begin) > 2*time.Minute {
			b.Fatalf("%s: not within two minutes", what)
		}
	}
}

// takeConnections counts TLS connections of the client of directors.
func takeConnections(b *testing.B, t *table) { countConnections(b, t) }

func countConnections(b testing.TB, t *table) {
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

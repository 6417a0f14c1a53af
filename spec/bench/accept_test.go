package bench_test

import (
	"net/http"
	"testing"
	"time"
)

// orders are provisions under ids that nobody used.
func orders(prefix string) func() request {
	return func() request { return put(service, threeServers, prefix) }
}

// takeAccept takes the time of an accepted provision, one at a time.
func takeAccept(b *testing.B, t *table) {
	r := newRig(b, "-latency", "20ms", "-duration", "1s")
	got := raceWith(b, 1, rounds(), sliceTime, r.servers(), r.loads(http.StatusAccepted, orders("one-"))...)
	t.compare("accept c=1 p50, 20 ms director ÷ handler + 1 txn", got[0].p50, got[1].p50, got[2].p50, duration, limit{most: 1.25})
	t.compare("accept c=1 p99, 20 ms director ÷ handler + 1 txn", got[0].p99, got[1].p99, got[2].p99, duration, limit{})
	t.compare("accept c=1, CPU per request, workers' included", got[0].cpu, got[1].cpu, got[2].cpu, micros, limit{})
}

// takeBusy takes the rate of accepted provisions while the workers deploy.
func takeBusy(b *testing.B, t *table) {
	r := newRig(b, "-latency", "20ms", "-duration", "1s")
	got := raceWith(b, 64, rounds(), sliceTime, r.servers(), r.loads(http.StatusAccepted, orders("busy-"))...)
	t.compare("accept c=64 rate, workers deploying ÷ handler + 1 txn", got[0].rate, got[1].rate, got[2].rate, perSecond, limit{least: 0.8})
	t.compare("accept c=64, CPU per request, workers' included", got[0].cpu, got[1].cpu, got[2].cpu, micros, limit{})
}

// takeHung takes the time of an accepted provision before a director that hangs.
func takeHung(b *testing.B, t *table) {
	healthy, _ := start(b, "__ours", "-state", b.TempDir(), "-latency", "20ms", "-duration", "1s")
	hung, _ := start(b, "__ours", "-state", b.TempDir(), "-hang")
	twin, _ := start(b, "__ours", "-state", b.TempDir(), "-latency", "20ms", "-duration", "1s")
	var loads []*load
	for _, c := range []*child{hung, healthy, twin} {
		loads = append(loads, &load{address: c.Address, request: orders("hung-")(), want: http.StatusAccepted})
	}
	got := race(b, 1, rounds(), sliceTime, loads...)
	t.compare("accept c=1 p50, director hung ÷ healthy", got[0].p50, got[1].p50, got[2].p50, duration, limit{most: 1.1})
}

// takeSyncs counts how often etcd syncs its WAL for accepted provisions, with
// no engine at work and without what etcd does by itself.
func takeSyncs(b *testing.B, t *table) {
	ours, _ := start(b, "__ours", "-state", b.TempDir(), "-engine=false")
	length := 2 * time.Second
	if testing.Short() {
		length = time.Second
	}
	before := ours.syncs()
	pass(length)
	idle := ours.syncs() - before
	for _, s := range []struct {
		name string
		c    int
		most float64
	}{{"WAL syncs per accept, c=1", 1, 1}, {"WAL syncs per accept, c=64", 64, 0.15}} {
		orders := &load{address: ours.Address, request: orders(s.name[len(s.name)-2:])(), want: http.StatusAccepted}
		before := ours.syncs()
		got, err := orders.run(s.c, length)
		must(b, err)
		t.count(s.name, (ours.syncs()-before-idle)/float64(got.n), s.most)
	}
}

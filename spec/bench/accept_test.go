package bench_test

import (
	"fmt"
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

// quotas are a limit for everybody and one for an organization.
const quotas = "broker/instances=1000000000,organization/instances=1000000000"

// takeSyncs counts how often etcd syncs its WAL for accepted provisions, with
// no engine at work and without what etcd does by itself.
func takeSyncs(b *testing.B, t *table) {
	ours, _ := start(b, "__ours", "-state", b.TempDir(), "-engine=false")
	countSyncs(b, t, "", ours, ours.Address, 1, 0.15)
	limited, _ := start(b, "__ours", "-state", b.TempDir(), "-engine=false", "-limits", quotas)
	countSyncs(b, t, ", two limits", limited, limited.Address, 1, 0.15)
}

// countSyncs checks syncs per accept at the addresses: one is what one at a time
// may cost (0 = anything), many what one of 64 may.
func countSyncs(b *testing.B, t *table, what string, c *child, addresses string, one, many float64) {
	b.Helper()
	length := 2 * time.Second
	if testing.Short() {
		length = time.Second
	}
	before := c.syncs()
	pass(length)
	idle := c.syncs() - before
	for n, most := range map[int]float64{1: one, 64: many} {
		if most == 0 {
			continue
		}
		orders := &load{address: addresses, request: orders(fmt.Sprintf("sync-%d-", n))(), want: http.StatusAccepted}
		before := c.syncs()
		got, err := orders.run(n, length)
		must(b, err)
		t.count(fmt.Sprintf("WAL syncs per accept, c=%d%s", n, what), (c.syncs()-before-idle)/float64(got.n), most)
	}
}

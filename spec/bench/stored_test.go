package bench_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// takeStored takes what many stored instances cost.
func takeStored(b *testing.B, t *table) {
	n, restarts := 100_000, 3
	if testing.Short() {
		n, restarts = 10_000, 2
	}
	state := b.TempDir()
	full, _ := start(b, "__ours", "-state", state)
	begin := time.Now()
	full.ask(fmt.Sprintf("/load?n=%d", n), nil)
	t.note(fmt.Sprintf("storing %d instances of 1.9 KB", n), duration(time.Since(begin).Seconds()))
	full.stop()

	var ours, bare []float64
	var etcdAnon float64
	for range restarts {
		c, ready := start(b, "__bare", etcdOf(state))
		bare = append(bare, ready.Seconds())
		etcdAnon = c.anon()
		c.stop()
		full, ready = start(b, "__ours", "-state", state)
		ours = append(ours, ready.Seconds())
		if len(ours) < restarts {
			full.stop()
		}
	}
	t.compare(fmt.Sprintf("restart with %d instances until ready ÷ bare etcd", n), ours, bare, nil, duration, limit{most: 1.5})

	none, _ := start(b, "__ours", "-state", b.TempDir())
	twin, _ := start(b, "__ours", "-state", b.TempDir())
	empty, filled := none.anon(), full.anon()
	perInstance := (filled - empty) / float64(n) / 1024
	verdict := met
	if perInstance > 1 {
		verdict = missed
	}
	t.add(row{figure: fmt.Sprintf("RssAnon per instance of %d, after a restart", n), ours: fmt.Sprintf("%.2f KB", perInstance), target: "≤ 1.0 KB", verdict: verdict})
	t.note("RssAnon per instance of bare etcd, its own included", fmt.Sprintf("%.2f KB", etcdAnon/float64(n)/1024))
	t.note("RssAnon with no instance", fmt.Sprintf("%.0f MB", empty/1e6))

	var loads []*load
	for _, c := range []*child{full, none, twin} {
		loads = append(loads, &load{address: c.Address, request: orders("more-")(), want: http.StatusAccepted})
	}
	got := race(b, 1, rounds(), sliceTime, loads...)
	t.compare(fmt.Sprintf("accept c=1 p50 with %d instances ÷ with none", n), got[0].p50, got[1].p50, got[2].p50, duration, limit{most: 1.2})
}

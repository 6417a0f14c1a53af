package bench_test

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// takeReplicas takes accepted provisions of three replicas on one etcd outside,
// with two limits that all of them count. The floor is three as well, over gRPC
// as ours, but they have nothing in common.
func takeReplicas(b *testing.B, t *table) {
	state := b.TempDir() // they share the key ring
	ours := three(b, func(etcd string) []string {
		return []string{"__ours", "-state", state, "-etcd", etcd, "-limits", quotas, "-latency", "20ms", "-duration", "1s"}
	})
	like := floorLike(b, ours[0])
	floor := func() string {
		return addressesOf(three(b, func(etcd string) []string { return append([]string{"__floor", "-etcd", etcd}, like...) }))
	}
	var loads []*load
	for _, addresses := range []string{addressesOf(ours), floor(), floor()} {
		loads = append(loads, &load{address: addresses, request: orders("shared-")(), want: http.StatusAccepted})
	}
	got := race(b, 64, rounds(), sliceTime, loads...)
	t.compare("accept c=64 rate, 3 replicas on one etcd, two limits ÷ floors over gRPC", got[0].rate, got[1].rate, got[2].rate, perSecond, limit{least: 0.8})
	for _, c := range ours {
		c.ask("/engine?run=false", nil)
	}
	countSyncs(b, t, ", 3 replicas on one etcd, two limits", ours[0], addressesOf(ours), 0, 0.4)
}

// three starts an etcd and three children on it.
func three(b *testing.B, args func(etcd string) []string) (all []*child) {
	b.Helper()
	url, err := lowURL()
	must(b, err)
	start(b, "__bare", b.TempDir(), url)
	for range 3 {
		c, _ := start(b, args(url)...)
		all = append(all, c)
	}
	return all
}

func addressesOf(children []*child) string {
	var addresses []string
	for _, c := range children {
		addresses = append(addresses, c.Address)
	}
	return strings.Join(addresses, ",")
}

// lowURL is where an etcd can listen.
func lowURL() (string, error) {
	listener, err := listenLow()
	if err != nil {
		return "", err
	}
	return "http://" + listener.Addr().String(), listener.Close()
}

// syncsOf reads how often an etcd has synced its WAL.
func syncsOf(etcd string) (float64, error) {
	response, err := http.Get(etcd + "/metrics")
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "etcd_disk_wal_fsync_duration_seconds_count "); ok {
			return strconv.ParseFloat(strings.TrimSpace(rest), 64)
		}
	}
	return 0, fmt.Errorf("etcd does not count its WAL syncs")
}

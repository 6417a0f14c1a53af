// Package bench_test prints the product's figures as one table: ours, beside
// the least that the same work can cost, taken in turns in the same run, as the
// machine's mood changes by the minute. Counts are checked hard; ratios of
// times are for people to judge. See docs/figures.md.
package bench_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/serviceforge/serviceforge/releases/spiff"
	"github.com/serviceforge/serviceforge/spec"
)

const (
	service      = spec.Service
	threeServers = spec.ThreeServers
)

// TestMain makes the test binary its own children.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		if os.Args[1] == "__spiff" {
			os.Exit(spiff.Main(os.Args[2:]))
		}
		if child, ok := children[os.Args[1]]; ok {
			os.Exit(child(os.Args[2:]))
		}
	}
	os.Exit(m.Run())
}

// BenchmarkFigures takes all figures. It is one long run, so: -benchtime 1x.
func BenchmarkFigures(b *testing.B) {
	var figures table
	begin := time.Now()
	for _, f := range []struct {
		name string
		take func(*testing.B, *table)
	}{
		{"disk", takeDisk},
		{"render", takeRender},
		{"create", takeCreate},
		{"http", takeHTTP},
		{"accept", takeAccept},
		{"busy", takeBusy},
		{"hung", takeHung},
		{"calls", takeCalls},
		{"slots", takeSlots},
		{"scale", takeScale},
		{"syncs", takeSyncs},
		{"replicas", takeReplicas},
		{"connections", takeConnections},
		{"stored", takeStored},
	} {
		b.Run(f.name, func(b *testing.B) {
			for b.Loop() {
				f.take(b, &figures)
			}
		})
	}
	fmt.Printf("\nFigures of %s (%s)\n\n", begin.UTC().Format("2006-01-02 15:04 MST"), time.Since(begin).Round(time.Second))
	if !figures.print(os.Stdout) {
		b.Error("a count is above its limit")
	}
}

// rounds is how often slices take turns.
func rounds() int {
	if testing.Short() {
		return 4
	}
	return 8
}

// sliceTime is the length of a slice.
const sliceTime = 400 * time.Millisecond

// takeDisk measures the disk below everything: appends of 2 KB, each synced.
func takeDisk(b *testing.B, t *table) {
	file, err := os.Create(filepath.Join(b.TempDir(), "appends"))
	must(b, err)
	defer file.Close()
	var took []float64
	block := make([]byte, 2048)
	for begin := time.Now(); time.Since(begin) < time.Second; {
		at := time.Now()
		_, err := file.Write(block)
		must(b, err)
		must(b, fdatasync(file))
		took = append(took, time.Since(at).Seconds())
	}
	t.note("raw append + fdatasync of 2 KB, p50 (p99)", fmt.Sprintf("%s (%s)", duration(median(took)), duration(quantile(took, 0.99))))
}

// pass lets time pass: what is measured goes on meanwhile.
func pass(d time.Duration) { <-time.After(d) }

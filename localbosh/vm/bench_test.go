package vm_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/serviceforge/serviceforge/localbosh/vm"
)

// The three benchmarks belong together: a VM with a process, its parts, and the
// floor, which is to start this binary by hand.

func BenchmarkByHand(b *testing.B) {
	h := host(b.TempDir())
	for b.Loop() {
		if err := exec.Command(h.Program, "__true").Run(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkProbe(b *testing.B) {
	h := host(b.TempDir())
	for b.Loop() {
		if err := h.Probe(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVM(b *testing.B) {
	h := host(b.TempDir())
	var create, apply, start, destroy time.Duration
	n := 0
	for b.Loop() {
		n++
		cid := fmt.Sprintf("vm-%d", n)
		at := time.Now()
		lap := func(d *time.Duration) { *d += time.Since(at); at = time.Now() }
		v, err := h.Create(b.Context(), vm.Spec{CID: cid})
		if err != nil {
			b.Fatal(err)
		}
		lap(&create)
		if err := v.Apply(b.Context(), sleeper("s")); err != nil {
			b.Fatal(err)
		}
		lap(&apply)
		if err := v.Start(b.Context()); err != nil {
			b.Fatal(err)
		}
		if _, err := v.WaitRunning(b.Context(), 0); err != nil {
			b.Fatal(err)
		}
		lap(&start)
		if err := h.Destroy(b.Context(), cid, time.Second); err != nil {
			b.Fatal(err)
		}
		lap(&destroy)
	}
	for name, d := range map[string]time.Duration{"create": create, "apply": apply, "start": start, "destroy": destroy} {
		b.ReportMetric(float64(d.Microseconds())/1000/float64(n), name+"-ms")
	}
}

// BenchmarkMemory reports the anonymous memory of a supervisor with one process
// after its idle trim.
func BenchmarkMemory(b *testing.B) {
	h := host(b.TempDir())
	v, err := h.Create(b.Context(), vm.Spec{CID: "vm-1"})
	if err != nil {
		b.Fatal(err)
	}
	defer h.Destroy(b.Context(), "vm-1", 0)
	if err := v.Apply(b.Context(), sleeper("s")); err != nil {
		b.Fatal(err)
	}
	if err := v.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	st, err := v.Status(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	kb := 0
	for b.Loop() {
		time.Sleep(3 * time.Second) // a figure, not a test: let the trim happen
		status, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(st.PID), "status"))
		if err != nil {
			b.Fatal(err)
		}
		_, after, _ := strings.Cut(string(status), "RssAnon:")
		fmt.Sscan(after, &kb)
	}
	b.ReportMetric(float64(kb)/1024, "RssAnon-MiB")
}

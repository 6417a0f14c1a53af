package bench_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

func fdatasync(file *os.File) error { return syscall.Fdatasync(int(file.Fd())) }

// rig is ours, the floor, and the floor's twin.
type rig struct {
	b                    *testing.B
	ours, floor, control *child
}

func newRig(b *testing.B, options ...string) *rig {
	b.Helper()
	r := &rig{b: b}
	r.ours, _ = start(b, append([]string{"__ours", "-state", b.TempDir()}, options...)...)
	like := floorLike(b, r.ours)
	for _, c := range []**child{&r.floor, &r.control} {
		*c, _ = start(b, append([]string{"__floor", "-state", b.TempDir()}, like...)...)
	}
	return r
}

// floorLike returns the options of floors that serve the catalog of ours and
// write as many bytes for an accept.
func floorLike(b *testing.B, ours *child) []string {
	b.Helper()
	menu := filepath.Join(b.TempDir(), "catalog.json")
	must(b, os.WriteFile(menu, fetch(b, ours, "/v2/catalog"), 0o600))
	order := load{address: ours.Address, request: put(service, threeServers, "first-"), want: http.StatusAccepted}
	_, err := order.run(1, 0)
	must(b, err)
	var size int
	ours.ask("/record", &size)
	b.Logf("an accept writes %d bytes", size)
	return []string{"-catalog", menu, "-record", strconv.Itoa(size)}
}

// fetch reads a page of ours.
func fetch(b *testing.B, ours *child, path string) []byte {
	request, err := http.NewRequest(http.MethodGet, "http://"+ours.Address+path, nil)
	must(b, err)
	request.SetBasicAuth("cc", "secret")
	request.Header.Set("X-Broker-API-Version", "2.17")
	response, err := http.DefaultClient.Do(request)
	must(b, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	must(b, err)
	return text
}

// series is what rounds of one child showed.
type series struct{ p50, p99, rate, cpu []float64 }

// race loads children in turns, with c connections each. Every child gets the
// requests of its own.
func race(b *testing.B, c, rounds int, length time.Duration, loads ...*load) []series {
	b.Helper()
	return raceWith(b, c, rounds, length, nil, loads...)
}

// raceWith also takes the processor time of the children.
func raceWith(b *testing.B, c, rounds int, length time.Duration, servers []*child, loads ...*load) []series {
	b.Helper()
	all := make([]series, len(loads))
	for round := range rounds + 1 {
		for i := range loads {
			i = (i + round) % len(loads) // nobody is always first
			before := 0.0
			if servers != nil {
				before = servers[i].cpu()
			}
			s, err := loads[i].run(c, length)
			must(b, err)
			if round == 0 {
				continue // warms up
			}
			all[i].p50 = append(all[i].p50, s.p50)
			all[i].p99 = append(all[i].p99, s.p99)
			all[i].rate = append(all[i].rate, s.rate)
			if servers != nil {
				all[i].cpu = append(all[i].cpu, (servers[i].cpu()-before)/float64(s.n))
			}
		}
	}
	return all
}

// loads makes the same load for ours, the floor and its twin.
func (r *rig) loads(want int, make func() request) []*load {
	var all []*load
	for _, c := range r.servers() {
		all = append(all, &load{address: c.Address, request: make(), want: want})
	}
	return all
}

func (r *rig) servers() []*child { return []*child{r.ours, r.floor, r.control} }

// takeHTTP takes what costs no disk: catalog and last_operation.
func takeHTTP(b *testing.B, t *table) {
	r := newRig(b, "-latency", "20ms")
	catalog := raceWith(b, 16, rounds(), sliceTime, r.servers(), r.loads(http.StatusOK, func() request { return get("/v2/catalog") })...)
	t.compare("catalog c=16, rate ÷ no-op brokerapi", catalog[0].rate, catalog[1].rate, catalog[2].rate, perSecond, limit{least: 1.8})
	t.compare("catalog c=16, CPU per request", catalog[0].cpu, catalog[1].cpu, catalog[2].cpu, micros, limit{most: 0.5})
	poll := func() request { return get("/v2/service_instances/first-0/last_operation") }
	before := r.ours.calls()
	polls := race(b, 1, rounds(), sliceTime, r.loads(http.StatusOK, poll)...)
	t.compare("last_operation c=1 p50 ÷ no-op brokerapi", polls[0].p50, polls[1].p50, polls[2].p50, duration, limit{most: 1.15})
	after := r.ours.calls()
	many := raceWith(b, 16, rounds()/2, sliceTime, r.servers(), r.loads(http.StatusOK, poll)...)
	t.compare("last_operation c=16, CPU per request", many[0].cpu, many[1].cpu, many[2].cpu, micros, limit{})
	// The instance is in flight: its task is watched, and its events are read
	// while somebody looks, at most twice a second. Both are counted apart.
	made := 0
	for name := range after {
		if name != "Tasks" && name != "Task" && name != "Events" {
			made += after[name] - before[name]
		}
	}
	t.count("director calls of all polls, beside the watching of tasks", float64(made), 0)
}

package store_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/store"
)

// limited opens another store, with limits; it leads if lead is set.
func (o opened) limited(t *testing.T, lead bool, limits ...string) *store.Store {
	t.Helper()
	var parsed []serviceforge.Limit
	for _, text := range limits {
		l, err := serviceforge.ParseLimit(text)
		must(t, err)
		parsed = append(parsed, l)
	}
	s, err := store.Open(t.Context(), store.Options{Client: o.etcd.Client(), Keys: o.keys, Log: slog.New(slog.DiscardHandler), Limits: parsed})
	must(t, err)
	t.Cleanup(s.Close)
	if lead {
		o.keep(t, s)
	}
	return s
}

// keep has the store lead and keep its limits until stop, or the test's end.
func (o opened) keep(t *testing.T, s *store.Store) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	term, err := s.Lead(ctx, "leader")
	must(t, err)
	var kept sync.WaitGroup
	kept.Go(func() { s.KeepQuotas(ctx, term.Number) })
	stop = sync.OnceFunc(func() {
		cancel()
		kept.Wait()
		term.Resign()
	})
	t.Cleanup(stop)
	return stop
}

// ordered is a new instance of an organization and a space.
func ordered(id, organization, space string) *serviceforge.Instance {
	i := instance(id)
	i.OrganizationGUID, i.SpaceGUID, i.Pool = organization, space, ""
	i.Hold("p", serviceforge.Costs{"memory_mb": 3})
	return i
}

// use reads the counters, as "organization:o/instances 3/10".
func use(t *testing.T, s *store.Store) (told []string) {
	t.Helper()
	all, err := s.Quotas(t.Context())
	must(t, err)
	for _, u := range all.Use {
		told = append(told, fmt.Sprintf("%s %d/%d", u.Quota, u.Used, u.Most))
	}
	return told
}

func TestALimitIsExact(t *testing.T) {
	o := open(t)
	limits := []string{"broker/instances=40", "organization/instances=25", "organization:o1/instances=10", "space:s1/memory_mb=12", "plan:p/memory_mb=120"}
	replicas := []*store.Store{o.limited(t, true, limits...), o.limited(t, false, limits...)}
	var mu sync.Mutex
	refusals := map[string]int{}
	created := 0
	var all sync.WaitGroup
	for n := range 200 {
		all.Go(func() {
			i := ordered(strconv.Itoa(n), []string{"o1", "o2"}[n%2], "s"+strconv.Itoa(n/2%4))
			_, err := replicas[n/100].CreateInstance(t.Context(), i)
			mu.Lock()
			defer mu.Unlock()
			switch serviceforge.CodeOf(err) {
			case "":
				created++
			case serviceforge.Exhausted:
				refusals[err.Error()]++
			default:
				t.Error(serviceforge.DetailOf(err))
			}
		})
	}
	all.Wait()
	if created != 35 {
		t.Errorf("%d were created, want 10 of organization o1 and 25 of o2", created)
	}
	told := use(t, replicas[0])
	for _, want := range []string{"broker/instances 35/40", "organization:o1/instances 10/10", "organization:o2/instances 25/25", "plan:p/memory_mb 105/120"} {
		if !slices.Contains(told, want) {
			t.Errorf("%q is not told: %q", want, told)
		}
	}
	for _, want := range []string{
		"the limit of 10 instances for the organization o1 is used up: delete a service instance, or ask the operator to raise it",
		"the limit of 25 instances for the organization o2 is used up: delete a service instance, or ask the operator to raise it",
	} {
		if refusals[want] == 0 {
			t.Errorf("nobody was told that %s; told were %v", want, refusals)
		}
	}
	o.checkCounters(t)
}

// checkCounters compares the counters with the sum over the records.
func (o opened) checkCounters(t *testing.T) {
	t.Helper()
	s := o.again(t) // its view has everything
	all, err := s.Quotas(t.Context())
	must(t, err)
	got, want := map[serviceforge.Quota]int64{}, map[serviceforge.Quota]int64{}
	for _, u := range all.Use {
		got[u.Quota], want[u.Quota] = u.Used, want[u.Quota]
	}
	for _, summary := range s.Summaries() {
		i, err := s.Instance(t.Context(), summary.ID)
		must(t, err)
		for q, n := range i.Account().Takes() {
			if limited(all.Limits, q) {
				want[q] += n
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("counters: %s", diff)
	}
}

func limited(limits []string, q serviceforge.Quota) bool {
	return slices.ContainsFunc(limits, func(text string) bool {
		l, err := serviceforge.ParseLimit(text)
		return err == nil && l.Scope == q.Scope && l.Resource == q.Resource && (l.ID == "" || l.ID == q.ID)
	})
}

// TestCountersAreTheSumOverTheRecords has three replicas create, update, fail and
// delete at random, some of it given up, while the leader changes, limits come
// and go, and an operator counts anew.
func TestCountersAreTheSumOverTheRecords(t *testing.T) {
	o := open(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	limits := []string{"broker/instances=30", "organization/instances=8", "organization:o1/memory_mb=40", "space/memory_mb=20", "plan:q/instances=3"}
	replicas := []*store.Store{o.limited(t, false, limits...), o.limited(t, false, limits...), o.limited(t, false, append(limits, "service/instances=29")...)}
	stop := o.keep(t, replicas[0])
	var all sync.WaitGroup
	for w := range uint64(12) {
		all.Go(func() { wander(t, replicas, rand.New(rand.NewPCG(seed, w)), int(w)) })
	}
	_, err := replicas[1].Recount(t.Context())
	must(t, err)
	stop()
	stop = o.keep(t, replicas[2])
	_, err = replicas[1].Recount(t.Context())
	must(t, err)
	all.Wait()
	stop()
	o.checkCounters(t)
	events := o.etcd.Client().Watch(t.Context(), "/serviceforge/v1/quota/", clientv3.WithPrefix(), clientv3.WithRev(1))
	last := "/serviceforge/v1/quota/end"
	_, err = o.etcd.Client().Put(t.Context(), last, "0")
	must(t, err)
	for answer := range events {
		must(t, answer.Err())
		for _, event := range answer.Events {
			if string(event.Kv.Key) == last {
				return
			}
			if most := mostOf(string(event.Kv.Key)); event.IsCreate() || event.IsModify() {
				if n, err := strconv.ParseInt(string(event.Kv.Value), 10, 64); err != nil || n < 1 || n > most {
					t.Errorf("%s was %s, beyond %d", event.Kv.Key, event.Kv.Value, most)
				}
			}
		}
	}
}

func mostOf(key string) int64 {
	switch {
	case strings.Contains(key, "/broker/"):
		return 30
	case strings.Contains(key, "/organization/o1/memory_mb"):
		return 40
	case strings.Contains(key, "/organization/"):
		return 8
	case strings.Contains(key, "/space/"):
		return 20
	case strings.Contains(key, "/plan/q/"):
		return 3
	}
	return 29
}

// wander makes one worker's random changes to instances of its own.
func wander(t *testing.T, replicas []*store.Store, random *rand.Rand, worker int) {
	for n := range 40 {
		s := replicas[random.IntN(len(replicas))]
		ctx, cancel := context.WithCancel(t.Context())
		if random.IntN(5) == 0 { // who asked gives up
			time.AfterFunc(time.Duration(random.IntN(2000))*time.Microsecond, cancel)
		}
		id := fmt.Sprintf("%d-%d", worker, random.IntN(4))
		err := step(ctx, s, random, id, n)
		switch code := serviceforge.CodeOf(err); code {
		case "", serviceforge.Exhausted, serviceforge.Conflict:
		case serviceforge.Unavailable:
			if ctx.Err() == nil {
				t.Error(serviceforge.DetailOf(err))
			}
		default:
			t.Error(code, serviceforge.DetailOf(err))
		}
		cancel()
	}
}

func step(ctx context.Context, s *store.Store, random *rand.Rand, id string, n int) error {
	i, err := s.Instance(ctx, id)
	if serviceforge.CodeOf(err) == serviceforge.NotFound {
		_, err = s.CreateInstance(ctx, ordered(id, "o"+strconv.Itoa(random.IntN(3)), "s"+strconv.Itoa(random.IntN(4))))
		return err
	}
	if err != nil {
		return err
	}
	switch random.IntN(6) {
	case 0:
		i.GiveBack()
	case 1:
		i.Hold("q", serviceforge.Costs{"memory_mb": random.Int64N(6)})
	case 2:
		i.Reserve("q", serviceforge.Costs{"memory_mb": random.Int64N(6)})
	case 3:
		i.Settle(random.IntN(2) == 0)
	default:
		i.Operation.ID = fmt.Sprintf("end-%d", n)
		return s.BuryInstance(ctx, &i, 0)
	}
	return s.PutInstance(ctx, &i, 0)
}

func TestALimitConfiguredLaterCountsWhatExists(t *testing.T) {
	o := open(t)
	for n := range 5 {
		_, err := o.CreateInstance(t.Context(), ordered(fmt.Sprintf("before-%d", n), "o", "s"))
		must(t, err)
	}
	old := o.again(t) // a replica that knows of no limits, and goes on accepting
	enough := make(chan struct{})
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-enough:
					return
				default:
				}
				_, err := old.CreateInstance(t.Context(), ordered(fmt.Sprintf("while-%d-%d", w, n), "o", "s"))
				if err != nil {
					t.Error(serviceforge.DetailOf(err))
					return
				}
			}
		})
	}
	s := o.limited(t, true, "organization/instances=70000", "space:s/memory_mb=1000000")
	_, err := s.CreateInstance(t.Context(), ordered("after", "other", "s")) // waits until the limits are in force
	must(t, err)
	for range 5 {
		corrections, err := s.Recount(t.Context())
		must(t, err)
		if len(corrections) > 0 {
			t.Errorf("what was accepted while it was counted: %v", corrections)
		}
	}
	close(enough)
	all.Wait()
	o.checkCounters(t)
	if told := use(t, s); !slices.Contains(told, "organization:other/instances 1/70000") {
		t.Errorf("told: %q", told)
	}
}

func TestARecountRepairs(t *testing.T) {
	o := open(t)
	_, err := o.Recount(t.Context())
	code(t, err, serviceforge.Unprocessable)
	s := o.limited(t, true, "organization/instances=5", "broker/memory_mb=100")
	for n := range 3 {
		_, err := s.CreateInstance(t.Context(), ordered(strconv.Itoa(n), "a/b", "s"))
		must(t, err)
	}
	etcd := o.etcd.Client()
	for place, value := range map[string]string{"organization/a%2Fb/instances": "5", "organization/gone/instances": "1"} {
		_, err := etcd.Put(t.Context(), "/serviceforge/v1/quota/"+place, value)
		must(t, err)
	}
	_, err = etcd.Delete(t.Context(), "/serviceforge/v1/quota/broker//memory_mb")
	must(t, err)
	corrections, err := s.Recount(t.Context())
	must(t, err)
	want := []store.Correction{
		{Quota: "broker/memory_mb", Was: 0, Is: 9},
		{Quota: "organization:a/b/instances", Was: 5, Is: 3},
		{Quota: "organization:gone/instances", Was: 1, Is: 0},
	}
	if diff := cmp.Diff(want, corrections); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"broker/memory_mb 9/100", "organization:a/b/instances 3/5"}, use(t, s)); diff != "" {
		t.Error(diff)
	}
	corrections, err = s.Recount(t.Context())
	must(t, err)
	if len(corrections) > 0 {
		t.Errorf("counted again: %v", corrections)
	}
}

func TestARepeatedCreateAmongManyHurtsNobody(t *testing.T) {
	o := open(t)
	s := o.limited(t, true, "broker/instances=100")
	var all sync.WaitGroup
	var mu sync.Mutex
	codes := map[serviceforge.Code]int{}
	for n := range 60 {
		all.Go(func() {
			_, err := s.CreateInstance(t.Context(), ordered(strconv.Itoa(n%30), "o", "s"))
			mu.Lock()
			defer mu.Unlock()
			codes[serviceforge.CodeOf(err)]++
		})
	}
	all.Wait()
	if codes[""] != 30 || codes[serviceforge.Conflict] != 30 {
		t.Errorf("codes: %v", codes)
	}
	o.checkCounters(t)
}

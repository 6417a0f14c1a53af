package authorities_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// bindings binds and unbinds through both brokers until the end of the returned
// function, which returns how often.
func (s *safe) bindings(instance string) (stop func() int) {
	enough, written := make(chan struct{}), make(chan int)
	first := make(chan struct{})
	go func() {
		n := 0
		defer func() { written <- n }()
		for ; ; n++ {
			if n == 1 {
				close(first)
			}
			select {
			case <-enough:
				return
			default:
			}
			r, other, binding := s.a, s.b, fmt.Sprint("beside-", n)
			if n%2 == 0 {
				r, other = other, r
			}
			bound, err := r.tryBind(instance, binding)
			if err == nil {
				var read credentials
				if read, err = other.fetch(instance, binding); err == nil && !reflect.DeepEqual(read, bound) {
					err = errors.New("the other broker reads other credentials")
				}
			}
			if err = errors.Join(err, other.unbind(instance, binding)); err != nil {
				s.t.Errorf("beside the rotation: %v", err)
			}
		}
	}()
	<-first
	return func() int { close(enough); return <-written }
}

// TestKeysAreRotatedAndLost takes two brokers from one key to the next while
// they work, loses that one, and finds it again.
func TestKeysAreRotatedAndLost(t *testing.T) {
	t.Parallel()
	s := newSafe(t)
	instances := []string{"kept", "spent"}
	bound := map[string]*credentials{}
	for _, i := range instances {
		s.a.order(i)
	}
	for _, i := range instances {
		s.a.await(i)
		c := s.a.bind(i, "first")
		if _, err := c.data(t, "of "+i); err != nil {
			t.Fatal(err)
		}
		bound[i] = &c
	}
	old := s.ring("a")[0].ID
	s.a.seals(old, map[string]int{old: 4})

	// A key that one broker has not got is not used, whoever is asked.
	if _, errs, code := s.a.Account.Run(t, "keys", "add", filepath.Join(s.a.state, "broker.key")); code != 0 {
		t.Fatal(errs)
	}
	fresh := s.ring("a")[1].ID
	s.a.lacking(fresh, s.b)
	for _, r := range []*replica{s.a, s.b} {
		said := r.refused("keys", "rotate")
		if !strings.Contains(said, fresh) || !strings.Contains(said, s.b.port()) || strings.Contains(said, s.a.port()) {
			t.Errorf("rotate without a key that %s lacks: %s", s.b.port(), said)
		}
	}
	s.a.seals(old, map[string]int{old: 4, fresh: 0})

	// Everybody has it: all goes over, while instances and bindings are made.
	s.give(s.ring("a"), "b")
	s.b.lacking(fresh)
	stop := s.bindings("kept")
	s.b.order("beside")
	s.a.run("keys", "rotate")
	s.b.await("beside")
	t.Logf("%d bindings were made and unmade beside", stop())
	c := s.b.bind("beside", "first")
	if _, err := c.data(t, "of beside"); err != nil {
		t.Fatal(err)
	}
	bound["beside"] = &c
	s.b.seals(fresh, map[string]int{old: 0, fresh: 6})

	// The old key is not needed any more.
	s.stop()
	s.give(s.ring("a")[1:], "a", "b")
	s.a, s.b = s.start("a"), s.start("b")
	s.b.seals(fresh, map[string]int{fresh: 6})
	s.reads(bound)
	for i := range bound {
		again := s.b.bind(i, "second")
		if _, err := again.data(t, ""); err != nil {
			t.Errorf("%s: %v", i, err)
		}
	}

	s.lose(bound, fresh)
}

// reads checks that both brokers tell the first binding of each instance.
func (s *safe) reads(bound map[string]*credentials) {
	s.t.Helper()
	for instance, want := range bound {
		for _, r := range []*replica{s.a, s.b} {
			if got, err := r.fetch(instance, "first"); err != nil || !reflect.DeepEqual(got, *want) {
				s.t.Errorf("%s: %v, or other credentials than before", instance, err)
			}
		}
	}
}

// lose takes the key in use, which sealed everything, from both brokers. One
// instance is reset, the others wait until the key is found.
func (s *safe) lose(bound map[string]*credentials, lost string) {
	s.t.Helper()
	s.stop()
	found := s.ring("a")
	if err := os.Remove(filepath.Join(s.a.state, "broker.key")); err != nil { // a new one is made
		s.t.Fatal(err)
	}
	config := filepath.Join(s.dir, "a.yml")
	said := s.a.refused("serve", "--config", config, "--listen", "127.0.0.1:0", "--etcd", s.etcd, "--pools", s.pool)
	if !strings.Contains(said, "--lost-key "+lost) {
		s.t.Errorf("serve without the key in use: %s", said)
	}
	s.a = s.start("a", "--lost-key", lost)
	s.shareKeys("a", "b")
	s.b = s.start("b")
	other := s.ring("a")[0].ID
	s.b.seals(other, map[string]int{lost: 9, other: 0})
	if k := s.b.keys()[lost]; k.Here || !slices.Equal(k.Instances, []string{"beside", "kept", "spent"}) {
		s.t.Errorf("the lost key: %+v", k)
	}
	history := map[string]string{}
	for instance := range bound {
		if out := s.b.run("services"); !strings.Contains(out, instance) {
			s.t.Errorf("services does not list %s:\n%s", instance, out)
		}
		s.b.run("service", instance)
		s.b.run("explain", instance)
		history[instance] = s.b.run("history", instance, "--json")
		if _, err := s.a.tryBind(instance, "third"); err == nil || !strings.Contains(err.Error(), "keys reset-instance "+instance) {
			s.t.Errorf("bind at %s, whose key is lost: %v", instance, err)
		}
	}

	if out := s.b.run("keys", "reset-instance", "spent", "-f"); !strings.Contains(out, "with new secrets") {
		s.t.Error(out)
	}
	if data, err := bound["spent"].data(s.t, ""); err == nil {
		s.t.Errorf("the old credentials are let in after the reset, and find %q", data)
	}
	if err := s.a.unbind("spent", "first"); err != nil {
		s.t.Error(err)
	}
	anew := s.a.bind("spent", "first")
	anew.wants(s.t, "") // nothing of before
	if anew.Password == bound["spent"].Password || anew.CA == bound["spent"].CA || anew.Prefix == bound["spent"].Prefix {
		s.t.Error("the reset kept a secret or a parameter")
	}
	delete(bound, "spent")
	for instance, credentials := range bound {
		credentials.wants(s.t, "of "+instance)
		if after := s.b.run("history", instance, "--json"); after != history[instance] {
			s.t.Errorf("%s was touched:\n%s", instance, after)
		}
	}
	s.b.seals(other, map[string]int{lost: 7, other: 2})

	s.give(append(found, s.ring("a")...), "a", "b")
	s.a.lacking(lost)
	s.reads(bound)
	s.a.run("keys", "rotate")
	bound["spent"] = &anew
	s.reads(bound)
	s.b.seals(other, map[string]int{lost: 0, other: 9})
}

// Package cluster_test runs three brokers on three etcd members, with TLS, a
// user of least rights, and a proxy in every link, and breaks what can break.
// Platforms work all the while; afterwards nothing is lost, doubled, stuck or
// leaked, and no answer contradicts another.
package cluster_test

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/serviceforge/serviceforge/spec"
)

// rounds is how often each fault comes: more in `make soak`.
func rounds(t *testing.T) int {
	n, err := strconv.Atoi(os.Getenv("SERVICEFORGE_SOAK_ROUNDS"))
	if err != nil {
		return 1
	}
	t.Logf("%d rounds", n)
	return n
}

// slowest is what a piece of a slow connection takes.
const slowest = 60 * time.Millisecond

// platforms is how many work at the same time.
const platforms = 3

func TestCluster(t *testing.T) {
	c := newCluster(t)
	for at, fault := range []struct {
		name string
		do   func(c *cluster, l *load)
	}{
		{"the leader is killed", killLeader},
		{"the member that leads etcd is killed", killMember},
		{"the leader is frozen", freezeLeader},
		{"the member that leads etcd is frozen", freezeMember},
		{"the leader is cut off from etcd", cutLeader},
		{"the member that leads etcd is cut off from the others", cutMember},
		{"the leader is cut off from the director", cutDirector},
		{"links are slow", slowLinks},
	} {
		t.Run(fault.name, func(t *testing.T) {
			for n := range rounds(t) {
				l := c.begin(t, fmt.Sprint(at, "-", n, "-"), platforms)
				fault.do(c, l)
				l.end()
			}
		})
		if t.Failed() {
			t.FailNow() // the next fault would come upon what this one left
		}
	}
	for _, one := range []struct {
		name string
		do   func(*testing.T, *cluster)
	}{
		{"a replica's watch lags", laggingWatch},
		{"a request of a frozen leader arrives when another leads", latePost},
		{"a request of a frozen leader arrives when the instance is deleted", latestPost},
		{"etcd has no quorum", noQuorum},
		{"a leader that is told to end hands over", handOver},
	} {
		t.Run(one.name, func(t *testing.T) { one.do(t, c) })
		if t.Failed() {
			t.FailNow()
		}
	}
}

func killLeader(c *cluster, _ *load) {
	leader := c.awaitLeader()
	leader.Kill()
	c.awaitLeader(leader)
	leader.Start()
}

func killMember(c *cluster, l *load) {
	m := c.etcdLeader()
	m.Kill()
	l.progressed(1)
	m.Start()
}

// A frozen leader wakes up when another leads.
func freezeLeader(c *cluster, l *load) {
	leader := c.awaitLeader()
	leader.Freeze()
	c.awaitLeader(leader)
	l.progressed(1)
	leader.Thaw()
}

func freezeMember(c *cluster, l *load) {
	m := c.etcdLeader()
	m.Freeze()
	l.progressed(1)
	m.Thaw()
}

// What the leader sent before it was cut off arrives when another leads.
func cutLeader(c *cluster, l *load) {
	leader := c.awaitLeader()
	for _, link := range leader.to {
		link.cut()
	}
	c.awaitLeader(leader)
	l.progressed(1)
	for _, link := range leader.to {
		link.mend()
	}
}

func cutMember(c *cluster, l *load) {
	m := c.etcdLeader()
	c.apart(m, (*link).cut)
	l.progressed(1)
	c.apart(m, (*link).mend)
}

// What was on its way to the director arrives when the leader has given it up,
// and has it looked for.
func cutDirector(c *cluster, l *load) {
	leader := c.awaitLeader()
	l.progressed(1)
	leader.mail.way.cut()
	spec.Eventually(l.t, "the leader says that the director is away", func() error {
		out, errs, _ := c.other(leader).CLI("pools", "--json")
		if !strings.Contains(out, `"breaker":`) {
			return errors.New(out + errs)
		}
		return nil
	})
	leader.mail.way.mend()
	l.progressed(1)
}

func slowLinks(c *cluster, l *load) {
	for i, r := range c.replicas {
		for _, link := range r.to {
			link.slow(slowest / time.Duration(i+1))
		}
		r.mail.way.slow(slowest)
	}
	l.progressed(1)
	for _, r := range c.replicas {
		for _, link := range r.to {
			link.slow(0)
		}
		r.mail.way.slow(0)
	}
}

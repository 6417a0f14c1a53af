package etcdserver_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// grownFrom makes a cluster of one with data, restarts it as the first of three,
// as a director does, and leaves the other two to be started.
func grownFrom(t *testing.T) *cluster {
	t.Helper()
	c := newCluster(t, 1)
	c.start()
	c.put(c.root(c.members[0]), "a", "1")
	c.grow(3)
	first := c.members[0]
	first.signal(syscall.SIGTERM)
	first.start()
	first.postStart()
	return c
}

// voters waits until a cluster has that many members with a name and a vote.
func (c *cluster) voters(want int, of ...*member) []*pb.Member {
	c.t.Helper()
	client := c.root(of...)
	deadline := time.After(patience)
	for {
		var members []*pb.Member
		c.do(func(ctx context.Context) error {
			list, err := client.MemberList(ctx)
			if err == nil {
				members = list.Members
			}
			return err
		})
		voters := 0
		for _, m := range members {
			if !m.IsLearner && m.Name != "" {
				voters++
			}
		}
		if voters == want && len(members) == want {
			return members
		}
		select {
		case <-deadline:
			c.t.Fatalf("%d voters of %v, want %d", voters, members, want)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// each reads the key at every member alone.
func (c *cluster) each(key, value string) {
	c.t.Helper()
	for _, m := range c.members {
		c.wants(c.root(m), key, value)
	}
}

func TestAClusterGrowsAndKeepsItsData(t *testing.T) {
	t.Parallel()
	c := grownFrom(t)
	for n, m := range c.members[1:] { // one after the other, each until it serves
		m.start()
		m.postStart()
		c.put(c.root(c.members[0]), fmt.Sprint("after", n), "1")
	}
	c.voters(3, c.members...)
	c.each("a", "1")
	c.each("after1", "1")
	c.members[0].signal(syscall.SIGKILL) // it may go now
	c.put(c.root(c.members[1], c.members[2]), "b", "2")
	for _, m := range c.members[1:] {
		m.signal(syscall.SIGKILL)
	}
	c.start() // as ever: they have data now
	c.each("b", "2")
}

// New members that start first, together, and while nobody answers, wait: they
// never make a cluster of their own.
func TestNewMembersWaitForTheCluster(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	c.start()
	c.put(c.root(c.members[0]), "a", "1")
	c.members[0].signal(syscall.SIGTERM)
	c.grow(3)
	for _, m := range c.members[1:] {
		m.start()
	}
	for _, m := range c.members[1:] {
		m.says("cannot join the cluster yet")
	}
	c.members[0].start()
	c.voters(3, c.members[0])
	c.each("a", "1")
}

// A new member may be killed anywhere on its way.
func TestAJoinMayBeCutAnywhere(t *testing.T) {
	t.Parallel()
	c := grownFrom(t)
	first := c.root(c.members[0])
	for n, m := range c.members[1:] {
		for cut := range 4 {
			m.start()
			select {
			case <-m.ended:
			case <-time.After(time.Duration(cut*(60+40*n)) * time.Millisecond): // somewhere
			}
			m.signal(syscall.SIGKILL)
			if !c.votes(first, m) { // then the others go on without it
				c.put(c.root(c.members[:n+1]...), "still", fmt.Sprint(n, cut))
			}
		}
		m.start()
		m.postStart()
		c.put(c.root(m), fmt.Sprint("with ", n), "1")
	}
	c.voters(3, c.members...)
	c.each("a", "1")
	c.each("with 1", "1")
}

// votes says whether m has a vote, as far as the client's member knows.
func (c *cluster) votes(client *clientv3.Client, m *member) bool {
	c.t.Helper()
	var list *clientv3.MemberListResponse
	c.do(func(ctx context.Context) (err error) {
		list, err = client.MemberList(ctx, clientv3.WithSerializable())
		return err
	})
	return slices.ContainsFunc(list.Members, func(o *pb.Member) bool {
		return !o.IsLearner && strings.Contains(o.PeerURLs[0], m.ip+":")
	})
}

// A member whose disk was lost is a new one: the old one is taken out first.
func TestAMemberThatLostItsDiskJoinsAgain(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	c.start()
	c.put(c.root(c.members...), "a", "1")
	before := c.voters(3, c.members...)
	c.grow(3)
	victim := c.members[2]
	victim.signal(syscall.SIGKILL)
	if err := os.RemoveAll(filepath.Join(victim.vcap, "store")); err != nil {
		t.Fatal(err)
	}
	victim.start()
	victim.postStart()
	after := c.voters(3, c.members...)
	known := map[uint64]bool{}
	for _, m := range before {
		known[m.ID] = true
	}
	fresh := 0
	for _, m := range after {
		if !known[m.ID] {
			fresh++
		}
	}
	if fresh != 1 {
		t.Errorf("%d new members: before %v, after %v", fresh, before, after)
	}
	c.each("a", "1")
}

// says waits until the member's log holds words.
func (m *member) says(words string) {
	m.t.Helper()
	deadline := time.After(patience)
	for {
		if text, _ := os.ReadFile(m.log); strings.Contains(string(text), words) {
			return
		}
		select {
		case <-deadline:
			m.t.Fatalf("%s does not say %q", m.ip, words)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

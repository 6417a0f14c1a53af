package etcdserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// joinPause is the pause between two attempts to join: the others may be
// starting, or may have to be connected for a while before they take a member.
const joinPause = 100 * time.Millisecond

// others are the members of a cluster that was made before, without this one.
type others struct {
	config   *embed.Config
	password string
	peerURL  string // this member's, by which the others know it
	urls     []string
}

// othersOf reads the members from this one's configuration. Their client ports
// are the same as its own.
func othersOf(config *embed.Config, rootPassword string) (*others, error) {
	peers, _, err := config.PeerURLsMapAndToken("etcd")
	if err != nil {
		return nil, err
	}
	own := peers[config.Name].StringSlice()
	if len(own) != 1 || len(config.AdvertiseClientUrls) != 1 {
		return nil, errors.New("this member needs one peer URL and one client URL")
	}
	o := &others{config: config, password: rootPassword, peerURL: own[0]}
	for name, urls := range peers {
		if name != config.Name {
			o.urls = append(o.urls, "https://"+net.JoinHostPort(urls[0].Hostname(), config.AdvertiseClientUrls[0].Port()))
		}
	}
	slices.Sort(o.urls)
	return o, nil
}

// join prepares a member without data for the start in a cluster that was made
// before: the others take it in as a learner, which has no vote, so that they go
// on whatever becomes of it. It may be cut off anywhere and be begun again. Such
// a member never makes a cluster of its own, however long the others are away.
func join(ctx context.Context, config *embed.Config, rootPassword string) error {
	if config.IsNewCluster() || wal.Exist(filepath.Join(config.Dir, "member", "wal")) {
		return nil
	}
	o, err := othersOf(config, rootPassword)
	if err != nil {
		return err
	}
	if len(o.urls) == 0 { // nobody to join: its data is gone
		config.ClusterState = embed.ClusterStateFlagNew
		return nil
	}
	return o.persist(ctx, "join the cluster", func(ctx context.Context, client *clientv3.Client) error {
		members, err := o.admission(ctx, client)
		if err == nil {
			config.InitialCluster = o.initialCluster(members)
		}
		return err
	})
}

// admission returns the members once this one is among them, not started.
func (o *others) admission(ctx context.Context, client *clientv3.Client) ([]*pb.Member, error) {
	list, err := client.MemberList(ctx)
	if err != nil {
		return nil, err
	}
	for _, m := range list.Members {
		if !slices.Contains(m.PeerURLs, o.peerURL) {
			continue
		}
		if m.Name == "" {
			return list.Members, nil
		}
		// It ran, and its disk is lost: what it promised then it does not know any more.
		if _, err := client.MemberRemove(ctx, m.ID); err != nil {
			return nil, err
		}
	}
	added, err := client.MemberAddAsLearner(ctx, []string{o.peerURL})
	if err != nil {
		return nil, err
	}
	return added.Members, nil
}

// initialCluster names the members as etcd wants it of one that joins.
func (o *others) initialCluster(members []*pb.Member) string {
	var all []string
	for _, m := range members {
		name := m.Name
		switch {
		case slices.Contains(m.PeerURLs, o.peerURL):
			name = o.config.Name
		case name == "":
			name = fmt.Sprintf("%x", m.ID)
		}
		for _, url := range m.PeerURLs {
			all = append(all, name+"="+url)
		}
	}
	return strings.Join(all, ",")
}

// promote gives a learner its vote, as soon as it has caught up. A member that
// has it returns at once.
func promote(ctx context.Context, config *embed.Config, server *etcdserver.EtcdServer, rootPassword string) error {
	if !learns(server) {
		return nil
	}
	o, err := othersOf(config, rootPassword)
	if err != nil {
		return err
	}
	return o.persist(ctx, "get a vote in the cluster", func(ctx context.Context, client *clientv3.Client) error {
		if !learns(server) {
			return nil
		}
		_, err := client.MemberPromote(ctx, uint64(server.MemberID()))
		return err
	})
}

// learns says whether the server has no vote, or does not know yet: one that was
// killed while it joined may not have read that it is a member, and etcd's own
// IsLearner panics then.
func learns(server *etcdserver.EtcdServer) bool {
	member := server.Cluster().Member(server.MemberID())
	return member == nil || member.IsLearner
}

// persist repeats a request to the others until it succeeds or ctx ends.
func (o *others) persist(ctx context.Context, what string, request func(context.Context, *clientv3.Client) error) error {
	said := ""
	for {
		err := o.try(ctx, request)
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		if told := err.Error(); told != said {
			fmt.Fprintf(os.Stderr, "etcd: cannot %s yet: %s\n", what, told)
			said = told
		}
		select {
		case <-time.After(joinPause):
		case <-ctx.Done():
		}
	}
}

func (o *others) try(ctx context.Context, request func(context.Context, *clientv3.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	tls, err := o.config.PeerTLSInfo.ClientConfig()
	if err != nil {
		return err
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints: o.urls, TLS: tls, Username: root, Password: o.password, Context: ctx, Logger: zap.NewNop(),
		DialTimeout: requestTimeout,
		DialOptions: []grpc.DialOption{grpc.WithTransportCredentials(shared{credentials.NewTLS(tls), tls.ServerName})},
	})
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	return request(ctx, client)
}

// shared expects the name that members have in common, whatever address was
// dialled; gRPC would expect the address.
type shared struct {
	credentials.TransportCredentials
	name string
}

func (s shared) ClientHandshake(ctx context.Context, _ string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return s.TransportCredentials.ClientHandshake(ctx, s.name, raw)
}

func (s shared) Clone() credentials.TransportCredentials {
	return shared{s.TransportCredentials.Clone(), s.name}
}

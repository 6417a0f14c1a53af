package etcdserver

import (
	"context"
	"errors"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/auth"
	"go.etcd.io/etcd/server/v3/etcdserver"
)

// root is the name of etcd's administrator and of its role.
const root = "root"

// leaderFirst is how long the other members leave the work to the leader, which saves bcrypt and log entries.
const leaderFirst = time.Second

// requestTimeout bounds one request to the cluster.
const requestTimeout = 5 * time.Second

// authenticate returns once this member enforces authentication, turning it on in the whole cluster if nobody has:
// user root with that password and role root. It may run on all members at once and any number of times. A member
// whose data already says so returns at once, without asking the others; nothing turns it off again later, as
// only root could.
func authenticate(ctx context.Context, server *etcdserver.EtcdServer, rootPassword string) error {
	enforced := server.AuthStore().IsAuthEnabled
	if enforced() {
		return nil
	}
	select {
	case <-server.ReadyNotify(): // part of a cluster with a leader
	case <-server.StoppingNotify():
		return errors.New("the server ended before it joined a cluster")
	case <-ctx.Done():
		return ctx.Err()
	}
	patience := time.NewTimer(leaderFirst)
	defer patience.Stop()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	mine := false
	for !enforced() {
		if mine || server.Leader() == server.MemberID() {
			_ = enable(ctx, server, rootPassword) // lost leaders, lost races: look, and try again
			if enforced() {
				break
			}
		}
		select {
		case <-poll.C:
		case <-patience.C:
			mine = true
		case <-server.StoppingNotify():
			return errors.New("the server ended before authentication was on")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// enable asks the cluster for user root, role root, and authentication. What is there already is fine.
func enable(ctx context.Context, server *etcdserver.EtcdServer, rootPassword string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err := server.UserAdd(ctx, &pb.AuthUserAddRequest{Name: root, Password: rootPassword})
	if err != nil && !errors.Is(err, auth.ErrUserAlreadyExist) {
		return err
	}
	_, err = server.RoleAdd(ctx, &pb.AuthRoleAddRequest{Name: root})
	if err != nil && !errors.Is(err, auth.ErrRoleAlreadyExist) {
		return err
	}
	if _, err := server.UserGrantRole(ctx, &pb.AuthUserGrantRoleRequest{User: root, Role: root}); err != nil {
		return err
	}
	_, err = server.AuthEnable(ctx, &pb.AuthEnableRequest{})
	return err
}

package users

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// bindingRole is the role of every binding's user: all keys, no administration.
const bindingRole = "serviceforge-binding"

// allKeys as a range of etcd: from the first key to the end.
const allKeys = "\x00"

// etcd is a connection to one cluster that has proved to be the right one: its
// certificate is signed by the instance's CA, and it took the administrator's
// password.
type etcd struct {
	client *clientv3.Client
	cancel context.CancelFunc
	role   atomic.Bool // the role is known to be there
}

func checkEtcd(s Service) error {
	switch {
	case s.CA == "":
		return errors.New("the service cannot be told from another without its CA")
	case len(s.Grant) > 0:
		return errors.New("it takes no grant")
	}
	return nil
}

// openEtcd proves and connects. A cluster that is not the instance's gives
// ErrForeign.
func openEtcd(ctx context.Context, s Service) (connection, error) {
	config, err := tlsOf(s)
	if err != nil {
		return nil, err
	}
	if err := prove(ctx, s.Endpoints, config); err != nil {
		return nil, err
	}
	own, cancel := context.WithCancel(context.Background())
	stop := context.AfterFunc(ctx, cancel) // only while it is opened
	client, err := clientv3.New(clientv3.Config{
		Endpoints: s.Endpoints, TLS: config,
		Username: s.Admin.Username, Password: s.Admin.Password.Reveal(),
		Context: own, DialTimeout: patience, DialKeepAliveTime: 30 * time.Second, DialKeepAliveTimeout: 5 * time.Second,
		Logger: zap.NewNop(),
		// The client's own way to TLS takes the name from the endpoint and
		// ignores config.ServerName (etcd 3.7, gRPC 1.83).
		DialOptions: []grpc.DialOption{grpc.WithTransportCredentials(named{credentials.NewTLS(config), s.ServerName})},
	})
	if err != nil {
		cancel()
		if errors.Is(err, rpctypes.ErrAuthFailed) {
			return nil, fmt.Errorf("%w: it refuses the administrator", ErrForeign)
		}
		return nil, err
	}
	e := &etcd{client: client, cancel: cancel}
	if err := e.authenticated(ctx); err != nil {
		e.close()
		return nil, err
	}
	if !stop() {
		e.close()
		return nil, context.Cause(ctx)
	}
	return e, nil
}

// named checks the server's certificate for one name, whatever the endpoint; an
// empty name leaves it to the endpoint.
type named struct {
	credentials.TransportCredentials
	name string
}

func (n named) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if n.name != "" {
		authority = n.name
	}
	return n.TransportCredentials.ClientHandshake(ctx, authority, conn)
}

func (n named) Clone() credentials.TransportCredentials {
	return named{n.TransportCredentials.Clone(), n.name}
}

// authenticated refuses a cluster that asks nobody who he is: whatever was made
// there would be worth nothing.
func (e *etcd) authenticated(ctx context.Context) error {
	status, err := e.client.AuthStatus(ctx)
	if err != nil {
		return err
	}
	if !status.Enabled {
		return errors.New("authentication is not on")
	}
	return nil
}

func (e *etcd) close() {
	_ = e.client.Close()
	e.cancel()
}

// prove looks for one endpoint with a certificate of the instance's CA. When
// there is none, but somebody else answers, the error is ErrForeign: on every
// later connection gRPC checks again, but tells no kinds of failure apart.
func prove(ctx context.Context, endpoints []string, config *tls.Config) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan error, len(endpoints))
	for _, endpoint := range endpoints {
		go func() { results <- handshake(ctx, endpoint, config) }()
	}
	var all []error
	for range endpoints {
		err := <-results
		if err == nil {
			return nil
		}
		all = append(all, err)
	}
	return errors.Join(all...)
}

func handshake(ctx context.Context, endpoint string, config *tls.Config) error {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "https" {
		return fmt.Errorf("%q is not an https URL", endpoint)
	}
	conn, err := dial(ctx, u.Host, config)
	if err == nil {
		return conn.Close()
	}
	return err
}

// create adds the user, or sets the password of the one that is there; a new
// password makes etcd forget the tokens given for the old one.
func (e *etcd) create(ctx context.Context, u User) error {
	if err := e.ensureRole(ctx); err != nil {
		return err
	}
	_, err := e.client.UserAdd(ctx, u.Name, u.Password.Reveal())
	if errors.Is(err, rpctypes.ErrUserAlreadyExist) {
		_, err = e.client.UserChangePassword(ctx, u.Name, u.Password.Reveal())
	}
	if err != nil {
		return err
	}
	_, err = e.client.UserGrantRole(ctx, u.Name, bindingRole)
	return err
}

// ensureRole makes the role, once per connection.
func (e *etcd) ensureRole(ctx context.Context) error {
	if e.role.Load() {
		return nil
	}
	role, err := e.client.RoleGet(ctx, bindingRole)
	if errors.Is(err, rpctypes.ErrRoleNotFound) {
		_, err = e.client.RoleAdd(ctx, bindingRole)
		if errors.Is(err, rpctypes.ErrRoleAlreadyExist) {
			err = nil // another replica was faster
		}
	}
	if err != nil {
		return err
	}
	if role == nil || len(role.Perm) == 0 {
		if _, err := e.client.RoleGrantPermission(ctx, bindingRole, allKeys, allKeys, clientv3.PermissionType(clientv3.PermReadWrite)); err != nil {
			return err
		}
	}
	e.role.Store(true)
	return nil
}

func (e *etcd) revoke(ctx context.Context, name string) error {
	_, err := e.client.UserDelete(ctx, name)
	if errors.Is(err, rpctypes.ErrUserNotFound) {
		return nil
	}
	return err
}

func (e *etcd) check(ctx context.Context) error {
	_, err := e.client.Get(ctx, "serviceforge", clientv3.WithCountOnly())
	return err
}

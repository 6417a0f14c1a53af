package servers

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rabbitmq/amqp091-go"

	"github.com/serviceforge/serviceforge/spec/address"
	"github.com/serviceforge/serviceforge/spec/need"
	"github.com/serviceforge/serviceforge/users"
)

// RabbitMQ is a rabbitmq-server with its management API, both by TLS.
type RabbitMQ struct {
	Address string        // AMQP
	Service users.Service // the management API

	dir string
	env []string
	tls *tls.Config
	run *process
}

// RabbitMQCalls are how users are made by the management API.
var RabbitMQCalls = users.HTTP{
	Check: users.Call{Path: "/api/whoami"},
	Create: []users.Call{
		{Path: "/api/users/" + users.NameHere, Body: map[string]any{"password": users.PasswordHere, "tags": ""}},
		{Path: "/api/permissions/%2F/" + users.NameHere, Body: map[string]any{"configure": ".*", "write": ".*", "read": ".*"}},
	},
	Revoke: []users.Call{{Path: "/api/users/" + users.NameHere}},
}

// StartRabbitMQ runs a rabbitmq-server, without the epmd that others share.
func StartRabbitMQ(t testing.TB, a Authority) *RabbitMQ {
	t.Helper()
	need.Program(t, "/usr/lib/rabbitmq/bin/rabbitmq-server", "rabbitmq-server")
	r := &RabbitMQ{dir: folder(t), Address: address.Free(t)}
	management := address.Free(t)
	r.Service = users.Service{Driver: "http", Endpoints: []string{"https://" + management}, CA: a.PEM, HTTP: RabbitMQCalls,
		Admin: users.Admin{Username: "admin", Password: secret(AdminPassword)}}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(a.PEM))
	r.tls = &tls.Config{RootCAs: pool, ServerName: ServerName}
	cert, key := r.put(t, "cert.pem", read(t, a.Cert)), r.put(t, "key.pem", read(t, a.Key))
	ca := r.put(t, "ca.pem", a.PEM)
	_, port, _ := net.SplitHostPort(management)
	_, distribution, _ := net.SplitHostPort(address.Free(t))
	r.put(t, ".erlang.cookie", "cookie")
	r.env = []string{
		"RABBITMQ_CONF_ENV_FILE=/dev/null", "RABBITMQ_MNESIA_BASE=" + filepath.Join(r.dir, "data"), "RABBITMQ_LOGS=-", "RABBITMQ_LOG_BASE=" + r.dir,
		"RABBITMQ_ENABLED_PLUGINS_FILE=" + r.put(t, "plugins", "[rabbitmq_management].\n"),
		"RABBITMQ_CONFIG_FILE=" + r.put(t, "rabbitmq.conf", strings.Join([]string{
			"listeners.tcp = none", "listeners.ssl.1 = " + r.Address,
			"ssl_options.cacertfile = " + ca, "ssl_options.certfile = " + cert, "ssl_options.keyfile = " + key,
			"management.ssl.ip = 127.0.0.1", "management.ssl.port = " + port,
			"management.ssl.cacertfile = " + ca, "management.ssl.certfile = " + cert, "management.ssl.keyfile = " + key,
			"default_user = admin", "default_pass = " + AdminPassword, "log.console.level = warning", "",
		}, "\n")),
		"RABBITMQ_USE_LONGNAME=true", "RABBITMQ_NODENAME=rabbit@127.0.0.1", "RABBITMQ_DIST_PORT=" + distribution,
		"RUNNING_UNDER_SYSTEMD=true", // else a shell stays in front of it
		fmt.Sprintf("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-name rabbit@127.0.0.1 -start_epmd false -erl_epmd_port %s -kernel inet_dist_use_interface {127,0,0,1} +S 1:1", distribution),
	}
	r.Start(t)
	return r
}

func (r *RabbitMQ) put(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(r.dir, name)
	write(t, path, text)
	give(t, path)
	return path
}

// Start runs it again, on the same data.
func (r *RabbitMQ) Start(t testing.TB) {
	t.Helper()
	c := command(r.dir, "/usr/lib/rabbitmq/bin/rabbitmq-server")
	c.Env = append(c.Env, r.env...)
	client := http.Client{Transport: &http.Transport{TLSClientConfig: r.tls, DisableKeepAlives: true}, Timeout: 5 * time.Second}
	r.run = start(t, c, func() error {
		answer, err := client.Get(r.Service.Endpoints[0] + "/api/whoami")
		if err == nil {
			err = answer.Body.Close()
		}
		if err == nil && answer.StatusCode != http.StatusUnauthorized {
			err = errors.New(answer.Status) // its paths come later
		}
		return err
	})
}

// Stop ends it.
func (r *RabbitMQ) Stop(t testing.TB) {
	t.Helper()
	r.run.stop(t, syscall.SIGTERM)
}

// Login connects as a user; the error is that of the login.
func (r *RabbitMQ) Login(t testing.TB, u users.User) (*amqp091.Connection, error) {
	t.Helper()
	c, err := amqp091.DialConfig("amqps://"+r.Address+"/", amqp091.Config{
		SASL: []amqp091.Authentication{&amqp091.PlainAuth{Username: u.Name, Password: u.Password.Reveal()}}, TLSClientConfig: r.tls, Vhost: "/",
	})
	if err == nil {
		t.Cleanup(func() { _ = c.Close() })
	}
	return c, err
}

package services_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rabbitmq/amqp091-go"

	"github.com/serviceforge/serviceforge/spec"
	"github.com/serviceforge/serviceforge/spec/need"
)

// rabbitCredentials are those of a binding.
type rabbitCredentials struct {
	Host               string
	Hosts              []string
	Username, Password string
	URI                string
	URIs               []string
	CA                 string
	ServerName         string `json:"server_name"`
}

func (c rabbitCredentials) tls(t *testing.T) *tls.Config {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(c.CA)) {
		t.Fatal("the credentials hold no authority")
	}
	return &tls.Config{RootCAs: roots, ServerName: c.ServerName}
}

// login connects as an app does; the error is that of the login.
func (c rabbitCredentials) login(t *testing.T, host string) (*amqp091.Connection, error) {
	t.Helper()
	connection, err := amqp091.DialTLS(fmt.Sprintf("amqps://%s:%s@%s:5671/%%2F", c.Username, c.Password, host), c.tls(t))
	if err == nil {
		t.Cleanup(func() { _ = connection.Close() })
	}
	return connection, err
}

// on does something with a channel to a node, again until it succeeds.
func (c rabbitCredentials) on(t *testing.T, host, what string, do func(*amqp091.Channel) error) {
	t.Helper()
	spec.Eventually(t, host+": "+what, func() error {
		connection, err := c.login(t, host)
		if err != nil {
			return err
		}
		defer func() { _ = connection.Close() }()
		channel, err := connection.Channel()
		if err != nil {
			return err
		}
		return do(channel)
	})
}

// sends puts a message into a queue that is kept.
func (c rabbitCredentials) sends(t *testing.T, host, queue, text string, kind amqp091.Table) {
	t.Helper()
	c.on(t, host, "takes "+text, func(channel *amqp091.Channel) error {
		if _, err := channel.QueueDeclare(queue, true, false, false, false, kind); err != nil {
			return err
		}
		if err := channel.Confirm(false); err != nil {
			return err
		}
		sent, err := channel.PublishWithDeferredConfirm("", queue, true, false, amqp091.Publishing{DeliveryMode: amqp091.Persistent, Body: []byte(text)})
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if taken, err := sent.WaitContext(ctx); err != nil || !taken {
			return fmt.Errorf("not confirmed: %v", err)
		}
		return nil
	})
}

// has waits until a node tells the first message of a queue, which stays there.
func (c rabbitCredentials) has(t *testing.T, host, queue, text string) {
	t.Helper()
	c.on(t, host, "tells "+text, func(channel *amqp091.Channel) error {
		message, ok, err := channel.Get(queue, false)
		if err != nil || !ok || string(message.Body) != text {
			return fmt.Errorf("got %q, %t, %v", message.Body, ok, err)
		}
		return message.Nack(false, true)
	})
}

// nodes asks the management API, as the administrator of the only instance, for
// the memory that each running node may use.
func (s *service) nodes(c rabbitCredentials) map[string]int {
	s.t.Helper()
	text, err := os.ReadFile(s.files("vms/*/vcap/data/jobs/rabbitmq/*/config/rabbitmq.conf")[0])
	if err != nil {
		s.t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: c.tls(s.t), DisableKeepAlives: true}, Timeout: 10 * time.Second}
	running := map[string]int{}
	spec.Eventually(s.t, "the management API tells its nodes", func() error {
		request, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "https://"+c.Host+":15671/api/nodes?columns=name,running,mem_limit", nil)
		if err != nil {
			return err
		}
		request.SetBasicAuth("admin", settings(text)["default_pass"])
		answer, err := client.Do(request)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return errors.New(answer.Status)
		}
		var all []struct {
			Name    string
			Running bool
			Limit   int `json:"mem_limit"`
		}
		if err := json.NewDecoder(answer.Body).Decode(&all); err != nil {
			return err
		}
		for _, n := range all {
			if n.Running {
				running[n.Name] = n.Limit
			}
		}
		return nil
	})
	return running
}

// limit waits until that many nodes run, each with that limit of memory.
func (s *service) limit(c rabbitCredentials, count, bytes int) {
	s.t.Helper()
	spec.Eventually(s.t, fmt.Sprintf("%d nodes may use %d bytes", count, bytes), func() error {
		nodes := s.nodes(c)
		for _, limit := range nodes {
			if limit != bytes {
				return fmt.Errorf("%v", nodes)
			}
		}
		if len(nodes) != count {
			return fmt.Errorf("%v", nodes)
		}
		return nil
	})
}

var quorum = amqp091.Table{"x-queue-type": "quorum"}

// A cluster that is made, and a single node that becomes one.
func TestRabbitMQ(t *testing.T) {
	t.Parallel()
	need.Program(t, "/usr/lib/rabbitmq/bin/rabbitmq-server", "rabbitmq-server")
	s := offer(t, spec.Self(t), "127.216.1.0/24", release(t, "rabbitmq"), "beam.smp")
	s.Await("cluster", s.create("cluster", "3-servers", nil))
	var c rabbitCredentials
	s.bind("cluster", "3-servers", "app", &c)
	if len(c.Hosts) != 3 || len(c.URIs) != 3 || c.URIs[0] != c.URI {
		t.Errorf("%+v", c)
	}
	s.limit(c, 3, 1073741824)
	c.sends(t, c.Hosts[0], "q", "hello", quorum)
	c.has(t, c.Hosts[2], "q", "hello")
	s.Await("cluster", s.remove("cluster", "3-servers"))
	s.nothingIsLeft()

	s.Await("i", s.create("i", "1-server", map[string]any{"memory": 268435456}))
	s.rabbitGrowth()
	s.Await("i", s.remove("i", "3-servers"))
	s.nothingIsLeft()
}

// One node becomes three with another limit of memory, and keeps what it has,
// also when it is killed; who is unbound gets in nowhere.
func (s *service) rabbitGrowth() {
	t := s.t
	var before, after rabbitCredentials
	s.bind("i", "1-server", "before", &before)
	s.limit(before, 1, 268435456)
	before.sends(t, before.Host, "old", "of before", nil)
	for _, wrong := range []map[string]any{{"memory": 1}, {"consumer_timeout": "long"}, {"listeners.tcp": "1"}} {
		if status, _, description := s.change("PATCH", "i", map[string]any{"parameters": wrong}); status != http.StatusBadRequest {
			t.Errorf("%v: %d %s", wrong, status, description)
		}
	}
	s.update("i", "3-servers", map[string]any{"memory": 300000000})
	s.bind("i", "3-servers", "after", &after)
	if len(after.Hosts) != 3 || after.Host != before.Host {
		t.Fatalf("before %v, after %v", before.Hosts, after.Hosts)
	}
	s.limit(after, 3, 300000000)
	after.sends(t, after.Hosts[1], "new", "of after", quorum)
	s.kill("rabbit@" + after.Host)
	after.has(t, after.Hosts[2], "new", "of after") // at once: one may fail
	for _, host := range after.Hosts {
		before.has(t, host, "old", "of before")
		after.has(t, host, "new", "of after")
	}
	open, err := after.login(t, after.Hosts[1])
	if err != nil {
		t.Fatal(err)
	}
	ended := open.NotifyClose(make(chan *amqp091.Error, 1))
	s.unbind("i", "3-servers", "after")
	for _, host := range after.Hosts {
		_, err := after.login(t, host)
		if refused, ok := errors.AsType[*amqp091.Error](err); !ok || refused.Code != amqp091.AccessRefused {
			t.Errorf("%s after unbind: %v", host, err)
		}
	}
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		t.Error("a connection is open after unbind")
	}
	before.has(t, before.Host, "old", "of before")
}

func TestRabbitMQOfAnOrdinaryUser(t *testing.T) {
	t.Parallel()
	need.Program(t, "/usr/lib/rabbitmq/bin/rabbitmq-server", "rabbitmq-server")
	account, folder := spec.Ordinary(t), filepath.Join(spec.Folder(t), "rabbitmq")
	copyRelease(t, "rabbitmq", folder) // the repository may be in nobody else's reach
	s := offer(t, account, "127.215.0.0/24", folder, "beam.smp")
	s.Await("i", s.create("i", "1-server", nil))
	var c rabbitCredentials
	s.bind("i", "1-server", "app", &c)
	c.sends(t, c.Host, "q", "hello", nil)
	s.killAll()
	c.has(t, c.Host, "q", "hello")
	s.Await("i", s.remove("i", "1-server"))
	s.nothingIsLeft()
}

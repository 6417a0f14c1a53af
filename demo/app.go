package demo

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// key and value are what the app writes.
const (
	key   = "greeting"
	value = "hello from the app"
	// attempt bounds one request of the app.
	attempt = 2 * time.Second
)

// credentials are what a binding to etcd-dedicated holds.
type credentials struct {
	Hosts      []string `json:"hosts"`
	URIs       []string `json:"uris"`
	Username   string   `json:"username"`
	Password   string   `json:"password"`
	CA         string   `json:"ca"`
	ServerName string   `json:"server_name"`
	Port       int      `json:"port"`
}

// connect makes an etcd client as the bound user.
func (c credentials) connect() (*clientv3.Client, error) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(c.CA))
	var endpoints []string
	for _, host := range c.Hosts {
		endpoints = append(endpoints, fmt.Sprintf("https://%s:%d", host, c.Port))
	}
	return clientv3.New(clientv3.Config{
		Endpoints: endpoints, Username: c.Username, Password: c.Password, DialTimeout: attempt, Logger: zap.NewNop(),
		TLS: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: c.ServerName},
	})
}

// use writes a key and reads it back.
func (s *session) use(ctx context.Context) (string, error) {
	client, err := s.binding.connect()
	if err != nil {
		return "", err
	}
	defer func() { _ = client.Close() }()
	if _, err := client.Put(ctx, key, value); err != nil {
		return "", err
	}
	read, err := get(ctx, client)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("the app wrote and read %s = %q", key, read), nil
}

func get(ctx context.Context, client *clientv3.Client) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	answer, err := client.Get(ctx, key)
	if err != nil {
		return "", err
	}
	if len(answer.Kvs) != 1 {
		return "", errors.New("the key is not there")
	}
	return string(answer.Kvs[0].Value), nil
}

// readUntil reads until the value is served.
func (c credentials) readUntil(ctx context.Context) error {
	client, err := c.connect()
	for err != nil { // the first login may meet the dead server
		if pause(ctx) != nil {
			return err
		}
		client, err = c.connect()
	}
	defer func() { _ = client.Close() }()
	for {
		read, err := get(ctx, client)
		if err == nil && read == value {
			return nil
		}
		if pause(ctx) != nil {
			return fmt.Errorf("the data is not served: %w", err)
		}
	}
}

// refused makes sure that the user cannot log in any more.
func (c credentials) refused(ctx context.Context) error {
	client, err := c.connect()
	if err == nil {
		defer func() { _ = client.Close() }()
		_, err = get(ctx, client)
	}
	switch {
	case err == nil:
		return errors.New("the old user can still read")
	case errors.Is(err, rpctypes.ErrAuthFailed) || errors.Is(err, rpctypes.ErrInvalidAuthToken) || errors.Is(rpctypes.Error(err), rpctypes.ErrAuthFailed):
		return nil
	}
	return fmt.Errorf("the old user is not refused, but %w", err)
}

// Package etcdserver is the etcd server that our etcd BOSH package holds: etcd whose client port answers only after
// authentication is on.
package etcdserver

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"go.etcd.io/etcd/api/v3/version"
	"go.etcd.io/etcd/server/v3/embed"
	"google.golang.org/grpc"
)

// Main runs `etcd --config-file FILE --root-password-file FILE` until SIGTERM or SIGINT, or until the server ends
// by itself, and returns the exit code. args are the arguments after the program's name. The first file is etcd's
// own YAML configuration, the second holds the password of user root.
func Main(args []string) int {
	flags := flag.NewFlagSet("etcd", flag.ContinueOnError)
	configFile := flags.String("config-file", "", "etcd's configuration, YAML")
	passwordFile := flags.String("root-password-file", "", "file with the password of user root")
	showVersion := flags.Bool("version", false, "print the version of etcd")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if *showVersion {
		fmt.Println("etcd Version:", version.Version)
		return 0
	}
	if *configFile == "" || *passwordFile == "" || flags.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "usage: etcd --config-file FILE --root-password-file FILE")
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, *configFile, *passwordFile); err != nil {
		fmt.Fprintln(os.Stderr, "etcd:", err)
		return 1
	}
	return 0
}

func run(ctx context.Context, configFile, passwordFile string) error {
	config, err := embed.ConfigFromFile(configFile)
	if err != nil {
		return fmt.Errorf("%s: %w", configFile, err)
	}
	password, err := os.ReadFile(passwordFile)
	if err != nil {
		return err
	}
	if len(password) == 0 {
		return fmt.Errorf("%s is empty", passwordFile)
	}
	if config.PeerTLSInfo.ServerName, err = memberName(config.PeerTLSInfo.CertFile); err != nil {
		return err
	}
	return serve(ctx, config, string(password))
}

// serve runs the server with its client port shut until authentication is on.
func serve(ctx context.Context, config *embed.Config, rootPassword string) error {
	if len(config.ListenClientHttpUrls) > 0 {
		return errors.New("listen-client-http-urls would be served without authentication being on; use listen-client-urls")
	}
	grpc.EnableTracing = false
	if err := awaitFirst(ctx, config); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	// etcd calls this for each client listener after it has joined the cluster and before it accepts a connection;
	// early clients wait in the listener's queue.
	open := make(chan struct{})
	config.ServiceRegister = func(*grpc.Server) { <-open }
	server, err := embed.StartEtcd(config)
	if err != nil {
		return err
	}
	config.SetupGlobalLoggers()

	// Before the port is open nobody is served, so leaving needs no farewell; embed's Close would wait for the port.
	if err := authenticate(ctx, server.Server, rootPassword); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	close(open)

	defer server.Close()
	select {
	case <-ctx.Done():
		return nil
	case err := <-server.Err():
		return err
	case <-server.Server.StopNotify():
		return errors.New("the server ended by itself")
	}
}

// memberName is the name by which members know each other: the first DNS name of the certificate they share, since
// their addresses are not known when it is made. Without a DNS name, addresses are checked.
func memberName(certFile string) (string, error) {
	if certFile == "" {
		return "", nil
	}
	text, err := os.ReadFile(certFile)
	if err != nil {
		return "", err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return "", fmt.Errorf("%s holds no certificate", certFile)
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "", fmt.Errorf("%s: %w", certFile, err)
	}
	if len(certificate.DNSNames) == 0 {
		return "", nil
	}
	if domain, ok := strings.CutPrefix(certificate.DNSNames[0], "*."); ok {
		return "member." + domain, nil
	}
	return certificate.DNSNames[0], nil
}

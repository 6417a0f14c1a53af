// Package etcdserver is the etcd server that our etcd BOSH package holds: etcd whose client port answers only after
// authentication is on.
package etcdserver

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"go.etcd.io/etcd/api/v3/version"
	"go.etcd.io/etcd/server/v3/embed"
	"google.golang.org/grpc"
)

// Main runs `etcd --config-file FILE --root-password-file FILE [--ca-key-file FILE]` until SIGTERM or SIGINT, or
// until the server ends by itself, and returns the exit code; with --await it only waits until that server serves. args are the arguments after the program's name. The
// first file is etcd's own YAML configuration, the second holds the password of user root. With the key of the
// authority that peers trust, the client port gets a certificate for its own addresses, made at each start.
func Main(args []string) int {
	flags := flag.NewFlagSet("etcd", flag.ContinueOnError)
	configFile := flags.String("config-file", "", "etcd's configuration, YAML")
	passwordFile := flags.String("root-password-file", "", "file with the password of user root")
	authorityKeyFile := flags.String("ca-key-file", "", "private key of the members' authority, to certify the client port's addresses")
	await := flags.Bool("await", false, "wait at most a minute until the member with that configuration serves")
	showVersion := flags.Bool("version", false, "print the version of etcd")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if *showVersion {
		fmt.Println("etcd Version:", version.Version)
		return 0
	}
	if *configFile == "" || *passwordFile == "" && !*await || flags.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "usage: etcd --config-file FILE (--root-password-file FILE [--ca-key-file FILE] | --await)")
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if *await {
		if err := awaitHealth(ctx, *configFile); err != nil {
			fmt.Fprintln(os.Stderr, "etcd:", err)
			return 1
		}
		return 0
	}
	if err := run(ctx, *configFile, *passwordFile, *authorityKeyFile); err != nil {
		fmt.Fprintln(os.Stderr, "etcd:", err)
		return 1
	}
	return 0
}

func run(ctx context.Context, configFile, passwordFile, authorityKeyFile string) error {
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
	if authorityKeyFile != "" {
		if err := certify(config, authorityKeyFile); err != nil {
			return fmt.Errorf("make the client port's certificate: %w", err)
		}
	}
	return serve(ctx, config, string(password))
}

// serve runs the server with its client port shut until authentication is on.
func serve(ctx context.Context, config *embed.Config, rootPassword string) error {
	if len(config.ListenClientHttpUrls) > 0 {
		return errors.New("listen-client-http-urls would be served without authentication being on; use listen-client-urls")
	}
	grpc.EnableTracing = false
	for _, prepare := range []func() error{
		func() error { return join(ctx, config, rootPassword) },
		func() error { return awaitFirst(ctx, config) },
	} {
		if err := prepare(); err != nil {
			return unlessEnded(ctx, err)
		}
	}
	// etcd calls this for each client listener after it has joined the cluster and before it accepts a connection;
	// early clients wait in the listener's queue.
	open := make(chan struct{})
	config.ServiceRegister = func(*grpc.Server) { <-open }
	config.SetupGlobalLoggers() // before anything logs through them
	server, err := embed.StartEtcd(config)
	if err != nil {
		return err
	}

	// Before the port is open nobody is served, so leaving needs no farewell; embed's Close would wait for the port.
	err = authenticate(ctx, server.Server, rootPassword)
	if err == nil {
		err = promote(ctx, config, server.Server, rootPassword)
	}
	if err != nil {
		return unlessEnded(ctx, err)
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

// unlessEnded drops an error of a server that was asked to end.
func unlessEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

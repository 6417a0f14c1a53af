// Package localbosh is an embedded BOSH-compatible director: it speaks the
// director's HTTP API over TLS and runs unmodified BOSH jobs as sandboxes on
// one Linux machine.
package localbosh

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
)

// Options is what a director is made of. State and Program are required,
// every other zero value is usable.
type Options struct {
	// State is the folder that holds everything the director keeps. It is
	// created when missing and locked while the director runs.
	State string
	// Listen is the HOST:PORT of the API; the default is "127.0.0.1:0", a free
	// port.
	Listen string
	// Network is a part of 127.0.0.0/8 in CIDR form; the VMs of the default
	// cloud config get their addresses out of it. The default is 127.244.0.0/16.
	Network string
	// Program is the absolute path of the installed serviceforge binary, which
	// supervisors and render children run.
	Program string
	// User and Password are the director's client and secret. An empty User is
	// "admin"; an empty Password is generated once and kept in the state folder.
	User, Password string
	// ConfigServer answers `variables:` and ((references)) of manifests.
	ConfigServer bool
	// LocalDNS is told in /info; names are always in the VMs' hosts files.
	LocalDNS bool
	// Workers is how many tasks run at once; the default is 3.
	Workers int
	// OrphanDisks keeps the persistent disks of deleted instances, as a real
	// director does for 5 days. Without it they are removed with the instance.
	OrphanDisks bool
	// Name is the director's name in /info; the default is "serviceforge".
	Name string
	// Cache is the folder for what several state folders may share (the
	// compiled ERB renderer); the default is serviceforge/ in the user's cache
	// folder.
	Cache string
	// Log receives the director's log; nil discards it.
	Log *slog.Logger
}

// Director is an embedded director. Its methods are safe for concurrent use.
type Director struct{}

// New checks the options. It does no I/O.
func New(o Options) (*Director, error) { return nil, errors.New("localbosh: being written") }

// Start locks and opens the state folder, takes over the VMs that run in it,
// and serves the API until Stop. It returns when the API answers.
func (d *Director) Start(ctx context.Context) error { return errors.New("localbosh: being written") }

// Stop ends the API and the running tasks and waits for them; the VMs go on
// running. The next Start on the same folder takes them over.
func (d *Director) Stop(ctx context.Context) error { return errors.New("localbosh: being written") }

// DestroyAll ends and removes every VM of a started director, with their
// disks. It is for folders that are thrown away; call it before Stop.
func (d *Director) DestroyAll(ctx context.Context) error {
	return errors.New("localbosh: being written")
}

// Addr is the HOST:PORT on which the API listens, known after Start.
func (d *Director) Addr() string { return "" }

// URL is https:// and Addr.
func (d *Director) URL() string { return "" }

// CA is the certificate in PEM form that clients of the API must trust, known
// after Start.
func (d *Director) CA() []byte { return nil }

// CAFile is the path of a file that holds CA.
func (d *Director) CAFile() string { return "" }

// Credentials are the client and secret of the API, known after Start.
func (d *Director) Credentials() (user, password string) { return "", "" }

// EnsureCloudConfig stores the default cloud config if the director has none:
// availability zones z1 to z3 on one manual network "default" over
// Options.Network, vm_types and disk_types small, medium and large.
func (d *Director) EnsureCloudConfig(ctx context.Context) error {
	return errors.New("localbosh: being written")
}

// EnsureRelease registers the release tarball at path if the director does not
// have its name and version yet. References maps "package/file" to a file of
// this machine which takes the place of that (empty or missing) source file by
// a hard link, so that big binaries are neither packed nor copied.
func (d *Director) EnsureRelease(ctx context.Context, path string, references map[string]string) error {
	return errors.New("localbosh: being written")
}

// Network is the network of the default cloud config.
func (d *Director) Network() netip.Prefix { return netip.Prefix{} }

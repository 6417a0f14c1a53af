// Package localbosh is an embedded BOSH-compatible director: it speaks the
// director's HTTP API over TLS and runs unmodified BOSH jobs as sandboxes on
// one Linux machine.
package localbosh

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
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
	// director does. Without it they are removed with the instance.
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

// loopback is where every VM has its address: any process may bind any of it.
var loopback = netip.MustParsePrefix("127.0.0.0/8")

// validate fills in defaults and returns the network.
func (o *Options) validate() (netip.Prefix, error) {
	if o.State == "" || o.Program == "" {
		return netip.Prefix{}, errors.New("localbosh: State and Program are required")
	}
	if !filepath.IsAbs(o.Program) {
		return netip.Prefix{}, fmt.Errorf("localbosh: the program %q is not an absolute path", o.Program)
	}
	state, err := filepath.Abs(o.State)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("localbosh: state folder: %w", err)
	}
	o.State = state
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	if _, _, err := net.SplitHostPort(o.Listen); err != nil {
		return netip.Prefix{}, fmt.Errorf("localbosh: %q is not HOST:PORT", o.Listen)
	}
	if o.Network == "" {
		o.Network = "127.244.0.0/16"
	}
	network, err := netip.ParsePrefix(o.Network)
	if err != nil || !loopback.Contains(network.Addr()) || network.Bits() < loopback.Bits() || network.Bits() > 28 {
		return netip.Prefix{}, fmt.Errorf("localbosh: the network %q is not a part of 127.0.0.0/8 with at least 16 addresses", o.Network)
	}
	if o.User == "" {
		o.User = "admin"
	}
	if o.Name == "" {
		o.Name = "serviceforge"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return network.Masked(), nil
}

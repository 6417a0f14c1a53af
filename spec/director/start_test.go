package director_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge/localbosh"
)

// TestOptions: what cannot work is refused before anything is touched.
func TestOptions(t *testing.T) {
	good := localbosh.Options{State: "/nonexistent", Program: "/bin/true"}
	for _, c := range []struct {
		name   string
		change func(*localbosh.Options)
		want   string
	}{
		{"no state", func(o *localbosh.Options) { o.State = "" }, "State and Program are required"},
		{"no program", func(o *localbosh.Options) { o.Program = "" }, "State and Program are required"},
		{"relative program", func(o *localbosh.Options) { o.Program = "bin/x" }, "not an absolute path"},
		{"no port", func(o *localbosh.Options) { o.Listen = "localhost" }, "not HOST:PORT"},
		{"network elsewhere", func(o *localbosh.Options) { o.Network = "10.0.0.0/24" }, "not a part of 127.0.0.0/8"},
		{"network too wide", func(o *localbosh.Options) { o.Network = "127.0.0.0/4" }, "not a part of 127.0.0.0/8"},
		{"network too small", func(o *localbosh.Options) { o.Network = "127.0.0.0/30" }, "with at least 16 addresses"},
		{"no network", func(o *localbosh.Options) { o.Network = "x" }, "not a part of 127.0.0.0/8"},
	} {
		o := good
		c.change(&o)
		if _, err := localbosh.New(o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	if _, err := localbosh.New(good); err != nil {
		t.Errorf("good options: %v", err)
	}
}

// TestCannotStart: each obstacle is told in one line that says what to do.
func TestCannotStart(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	noFolder := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(noFolder, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		options localbosh.Options
		want    string
	}{
		{"address", localbosh.Options{State: t.TempDir(), Listen: taken.Addr().String()},
			"the director's address " + taken.Addr().String() + " is taken; choose another with --bosh-listen"},
		{"folder", localbosh.Options{State: noFolder}, "the state folder cannot be used"},
	} {
		c.options.Program = program
		d, err := localbosh.New(c.options)
		if err != nil {
			t.Fatal(err)
		}
		err = d.Start(context.Background())
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if err := d.EnsureCloudConfig(context.Background()); err == nil {
			t.Errorf("%s: a director that did not start takes a cloud config", c.name)
		}
		if err := d.Stop(context.Background()); err != nil {
			t.Errorf("%s: stop: %v", c.name, err)
		}
	}
}

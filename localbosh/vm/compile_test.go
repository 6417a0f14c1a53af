package vm_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge/localbosh/vm"
)

// source makes a package's source with a packaging script.
func source(t *testing.T, packaging string) string {
	t.Helper()
	dir := t.TempDir()
	if err := errors.Join(os.WriteFile(dir+"/packaging", []byte(packaging), 0o644), os.WriteFile(dir+"/file", []byte("content"), 0o644)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestCompile(t *testing.T) {
	h := newHost(t)
	dep := filepath.Join(h.Packages, "dep")
	if err := errors.Join(os.MkdirAll(dep, 0o755), os.WriteFile(dep+"/tool", []byte("#!/bin/sh\necho made by tool\n"), 0o755)); err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(h.Packages, "result")
	out, err := h.Compile(t.Context(), vm.Compile{
		Name: "thing", Version: "12ab", Target: target, Dependencies: map[string]string{"tools": dep},
		Source: source(t, `
test "$PWD" = "$BOSH_COMPILE_TARGET" || exit 1
test "$BOSH_INSTALL_TARGET" = /var/vcap/packages/thing || exit 2
mkdir -p $BOSH_INSTALL_TARGET/lib
cp file $BOSH_INSTALL_TARGET/lib/$BOSH_PACKAGE_NAME-$BOSH_PACKAGE_VERSION
/var/vcap/packages/tools/tool > $BOSH_INSTALL_TARGET/lib/made
touch /var/vcap/packages/tools/x && echo may write a dependency
ls -d `+h.State+`/compiled && echo sees the state folder
mkdir -p $BOSH_COMPILE_TARGET/cache && chmod 0555 $BOSH_COMPILE_TARGET/cache
sleep 1000 &
echo $SERVICEFORGE_STATE
`),
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for file, want := range map[string]string{"lib/thing-12ab": "content", "lib/made": "made by tool\n"} {
		if b, err := os.ReadFile(filepath.Join(target, file)); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", file, b, err)
		}
	}
	if !strings.Contains(out, "+ cp file /var/vcap/packages/thing/lib") || !strings.Contains(out, "\n"+h.State+"\n") {
		t.Errorf("output: %s", out)
	}
	if strings.Contains(out, "\nmay write") || strings.Contains(out, "\nsees") {
		t.Errorf("output: %s", out)
	}
	nothingLeft(t, h)
}

func TestCompileFails(t *testing.T) {
	h := newHost(t)
	out, err := h.Compile(t.Context(), vm.Compile{Name: "bad", Source: source(t, "echo no >&2; exit 3"), Target: h.Packages + "/bad"})
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(out, "no\n") {
		t.Errorf("%v, %q", err, out)
	}
	ctx, cancel := context.WithCancel(t.Context())
	src := source(t, "echo x > $BOSH_INSTALL_TARGET/began; sleep 1000")
	go func() {
		for {
			if _, err := os.Stat(h.Packages + "/slow/began"); err == nil || ctx.Err() != nil {
				cancel()
				return
			}
		}
	}()
	if _, err := h.Compile(ctx, vm.Compile{Name: "slow", Source: src, Target: h.Packages + "/slow"}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	nothingLeft(t, h)
}

func TestLogs(t *testing.T) {
	h := newHost(t)
	v := started(t, h, vm.Spec{CID: "vm-1"}, vm.State{Jobs: []vm.Job{{Name: "bpm"},
		bpmJob("talk", "processes: [{name: talk, executable: /bin/sh, args: [-c, echo hello; exec sleep 1000]}]", "talk")}})
	read(t, v, "/var/vcap/sys/log/talk/talk.stdout.log", "hello")
	var archive bytes.Buffer
	if err := v.Logs(t.Context(), &archive); err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(&archive)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for r := tar.NewReader(z); ; {
		hdr, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(r)
		files[hdr.Name] = string(b)
	}
	if files["./talk/talk.stdout.log"] != "hello\n" {
		t.Errorf("%q", files)
	}
}

func TestRotationKeepsTheWritersFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.log")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, text := range []string{"one", "two", "three", "four", "five"} {
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		if text == "five" {
			break
		}
		if err := vm.RotateFile(path); err != nil {
			t.Fatal(err)
		}
	}
	for suffix, want := range map[string]string{"": "five", ".1": "four", ".2": "three", ".3": "two"} {
		if b, err := os.ReadFile(path + suffix); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", suffix, b, err)
		}
	}
	if _, err := os.Stat(path + ".4"); err == nil {
		t.Error("too many are kept")
	}
}

package releases_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/releases"
	"github.com/serviceforge/serviceforge/releases/spiff"
)

// bombs end the process that evaluates them.
var bombs = map[string]string{
	"a huge range":      `a: (( [1..2000000000] ))`,
	"endless recursion": "f: (( |x|->_(x + 1) ))\nv: (( .f(1) ))",
}

func TestBombsEndTheChildOnly(t *testing.T) {
	s := renderer(t)
	for name, template := range bombs {
		_, err := load(t, small(template)).Manifest(limited(t), s, smallInput(t, ""))
		if serviceforge.CodeOf(err) != serviceforge.Internal || !strings.Contains(serviceforge.DetailOf(err), "spiff ended without a result") {
			t.Errorf("%s: got %v", name, serviceforge.DetailOf(err))
		}
	}
	if _, err := load(t, small("a: 1")).Manifest(limited(t), s, smallInput(t, "")); err != nil {
		t.Errorf("the next render: %v", serviceforge.DetailOf(err))
	}
}

// TestProcessorTimeEndsTheChild waits for nothing but the child's own limit of
// five seconds of processor time.
func TestProcessorTimeEndsTheChild(t *testing.T) {
	if testing.Short() {
		t.Skip("takes five seconds of a processor")
	}
	slow := "f: (( |x|->x == 0 ? 0 :_(x - 1) + _(x - 1) ))\nv: (( .f(40) ))"
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	_, err := load(t, small(slow)).Manifest(ctx, renderer(t), smallInput(t, ""))
	if serviceforge.CodeOf(err) != serviceforge.Internal || !strings.Contains(serviceforge.DetailOf(err), "spiff ended without a result") {
		t.Errorf("got %v", serviceforge.DetailOf(orNone(err)))
	}
}

func TestContextKillsTheChild(t *testing.T) {
	slow := "f: (( |x|->x == 0 ? 0 :_(x - 1) + _(x - 1) ))\nv: (( .f(40) ))"
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	s := renderer(t)
	_, err := load(t, small(slow)).Manifest(ctx, s, smallInput(t, ""))
	if serviceforge.CodeOf(err) != serviceforge.Unavailable || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", serviceforge.DetailOf(err))
	}
}

func TestEnvironmentFilesAndCommandsAreOutOfReach(t *testing.T) {
	t.Setenv("SECRET_OF_THE_PARENT", "s3cr3t")
	// Load refuses these functions; Spiff's own mode must do it, too.
	for _, template := range []string{
		`a: (( env("SECRET_OF_THE_PARENT") ))`, `a: (( env("SERVICEFORGE_STATE") ))`, `a: (( read("/etc/hostname") ))`,
		`a: (( exec("id") ))`, `a: (( pipe("x", "cat") ))`, `a: (( write("/tmp/x", "y") ))`, `a: (( list_files("/") ))`,
		`a: (( eval("env( \"SECRET_OF_THE_PARENT\" )") ))`,
	} {
		result, err := renderer(t).Render(limited(t), []spiff.Document{{Name: "t", Data: template}}, nil)
		if err == nil {
			t.Errorf("%s: got %v", template, result)
		}
		if _, err := releases.Load(small(template)); serviceforge.CodeOf(err) != serviceforge.Invalid || !strings.Contains(err.Error(), "t.yml line 1") {
			t.Errorf("%s: loaded, %v", template, err)
		}
	}
}

func TestRendererThatCannotStart(t *testing.T) {
	s := spiff.New("/nonexistent", nil)
	_, err := load(t, small("a: 1")).Manifest(limited(t), s, smallInput(t, ""))
	if serviceforge.CodeOf(err) != serviceforge.Unavailable {
		t.Errorf("got %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := load(t, small("a: 1")).Manifest(limited(t), s, smallInput(t, "")); serviceforge.CodeOf(err) != serviceforge.Unavailable {
		t.Errorf("closed: got %v", err)
	}
}

func TestAnIdleChildThatDiedIsReplaced(t *testing.T) {
	dir := t.TempDir()
	program, err := filepath.Abs(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	// The first child closes its ear and ends, the others are real.
	script := "#!/bin/sh\nif [ ! -e " + dir + "/first ]; then exec 0<&-; : > " + dir + "/first; exit 0; fi\nexec " + program + " \"$@\"\n"
	wrapper := filepath.Join(dir, "wrapper")
	if err := os.WriteFile(wrapper, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	s := spiff.New(wrapper, nil)
	defer s.Close()
	s.Warm()
	for ctx := limited(t); ctx.Err() == nil; {
		if _, err := os.Stat(filepath.Join(dir, "first")); err == nil {
			break
		}
		runtime.Gosched()
	}
	if _, err := load(t, small("a: 1")).Manifest(limited(t), s, smallInput(t, "")); err != nil {
		t.Error(serviceforge.DetailOf(err))
	}
}

func TestErrorsNameTheFileAndHideSecrets(t *testing.T) {
	in := smallInput(t, "")
	in.Instance.Secrets = serviceforge.NewSecret(`{"password":"very-secret-word"}`)
	template := "a: (( sf.pool.vm_types.[sf.secrets.password] ))\nb: (( nowhere.to.be.found ))"
	_, err := load(t, small(template)).Manifest(limited(t), renderer(t), in)
	if err == nil {
		t.Fatal("it was rendered")
	}
	detail := serviceforge.DetailOf(err)
	if strings.Contains(detail, "very-secret-word") || !strings.Contains(detail, "nowhere.to.be.found") {
		t.Errorf("got %s", detail)
	}
	if strings.Contains(err.Error(), "nowhere") {
		t.Errorf("the user reads %s", err)
	}
}

func BenchmarkManifest(b *testing.B) {
	r, s, in := load(b, releases.Etcd()), renderer(b), etcdInput(b, threeServer)
	for b.Loop() {
		if _, err := r.Manifest(context.Background(), s, in); err != nil {
			b.Fatal(serviceforge.DetailOf(err))
		}
	}
}

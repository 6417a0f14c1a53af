package render_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/serviceforge/serviceforge/localbosh/render"
	"github.com/serviceforge/serviceforge/spec/unraced"
)

// marked gives options whose children can be found by children.
func marked(t *testing.T) (render.Options, func() []int) {
	t.Helper()
	mark := "SERVICEFORGE_STATE=" + t.TempDir()
	return render.Options{Env: []string{mark}}, func() []int {
		var found []int
		folders, _ := filepath.Glob("/proc/[0-9]*")
		for _, folder := range folders {
			environment, _ := os.ReadFile(filepath.Join(folder, "environ"))
			if bytes.Equal(bytes.TrimRight(environment, "\x00"), []byte(mark)) {
				pid, _ := strconv.Atoi(filepath.Base(folder))
				found = append(found, pid)
			}
		}
		return found
	}
}

// eventually polls until condition holds.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !condition(); {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		<-time.Tick(5 * time.Millisecond)
	}
}

func TestRubyHasNoMachine(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("s3cret"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SECRET", "s3cret")
	options, _ := marked(t)
	r := newRenderer(t, options)
	attempts := []string{
		"File.read('" + secret + "')", "File.read('/proc/self/environ')", "Dir.children('/')", "Dir.children('/tmp')",
		"File.write('" + secret + "', 'x')", "File.open('/tmp/x', 'w')", "IO.read('/etc/passwd')", "require '" + secret + "'",
		"system('id')", "`id`", "%x(id)", "exec('id')", "spawn('id')", "fork", "IO.popen('id')", "Kernel.system('id')",
		"Process.spawn('id')", "open('|id')", "require 'socket'; TCPSocket.new('127.0.0.1', 1)", "require 'net/http'; Net::HTTP.get(URI('http://127.0.0.1/'))",
		"Process.kill(9, 1)", "ENV.fetch('SECRET')", "ENV.fetch('SERVICEFORGE_STATE')", "ENV.fetch('HOME')", "ENV.fetch('PATH')",
		"$stdin.read(1).size",
	}
	var instances []render.Instance
	for _, attempt := range attempts {
		instance := one("<%= "+attempt+" %>", nil)[0]
		instance.Group = attempt
		instances = append(instances, instance)
	}
	_, err := r.Render(t.Context(), instances)
	if err == nil {
		t.Fatal("no error at all")
	}
	for _, attempt := range attempts {
		if !strings.Contains(err.Error(), "for instance group '"+attempt+"'.") {
			t.Errorf("a template succeeded with %s", attempt)
		}
	}
	if _, err := r.Render(t.Context(), one("<%= require 'js'; JS.eval('1') %>", nil)); err == nil {
		t.Error("a template has JavaScript")
	}
	results, err := r.Render(t.Context(), one("<%= ENV.to_h %>", nil))
	if err != nil || string(results[0].Jobs[0].Files[0].Data) != "{}" {
		t.Errorf("environment: %v %v", results, err)
	}
	if kept, _ := os.ReadFile(secret); string(kept) != "s3cret" {
		t.Errorf("a template wrote a file")
	}
}

func TestATemplateCannotHoldTheDirector(t *testing.T) {
	for _, template := range []string{"<% loop {} %>", "<% sleep %>", "<% begin; loop {}; rescue Exception; retry; end %>"} {
		t.Run(template, func(t *testing.T) {
			options, children := marked(t)
			r := newRenderer(t, options)
			ctx, cancel := context.WithCancelCause(t.Context())
			reason := errors.New("task cancelled")
			done := make(chan error, 1)
			go func() {
				_, err := r.Render(ctx, one(template, nil))
				done <- err
			}()
			eventually(t, "a child", func() bool { return len(children()) == 1 })
			cancel(reason)
			if err := <-done; !errors.Is(err, reason) {
				t.Errorf("got %v", err)
			}
			if results, err := r.Render(t.Context(), one("<%= 1 %>", nil)); err != nil || len(results) != 1 {
				t.Errorf("the next render: %v", err)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			if left := children(); len(left) != 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

func TestATemplateThatEndsRubyFailsOnlyItsDeployment(t *testing.T) {
	r := newRenderer(t, render.Options{})
	for _, template := range []string{"<% exit! 0 %>", "<% exit! 1 %>", "<% a = 'x' * 1_000_000; loop { a += a } %>"} {
		if _, err := r.Render(t.Context(), one(template, nil)); err == nil {
			t.Errorf("%s: no error", template)
		}
		if _, err := r.Render(t.Context(), one("<%= 1 %>", nil)); err != nil {
			t.Errorf("after %s: %v", template, err)
		}
	}
}

func TestNothingLeaksBetweenTemplatesAndDeployments(t *testing.T) {
	r := newRenderer(t, render.Options{})
	spec := map[string]any{"properties": map[string]any{"list": []any{"a"}, "h": map[string]any{"k": "v"}}}
	job := render.Job{Name: "web", Spec: spec, Templates: []render.Template{
		{Source: "1", Dest: "1", Body: []byte("<% p('list') << 'b'; p('h')['k'] = 'w'; @x = 1; $y = 1; class String; def size = 42; end %>")},
		{Source: "2", Dest: "2", Body: []byte("<%= p('list').inspect %> <%= p('h.k') %> <%= @x.inspect %>")},
	}}
	results, err := r.Render(t.Context(), []render.Instance{{Group: "g", Jobs: []render.Job{job}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := string(results[0].Jobs[0].Files[1].Data); got != `["a"] v nil` {
		t.Errorf("a template changed the next one's document: %q", got)
	}
	results, err = r.Render(t.Context(), one("<%= $y.inspect %> <%= 'ab'.size %>", nil))
	if err != nil || string(results[0].Jobs[0].Files[0].Data) != "nil 2" {
		t.Errorf("a deployment changed the next one's Ruby: %v %v", results, err)
	}
}

func TestConcurrentRenders(t *testing.T) {
	options, children := marked(t)
	r := newRenderer(t, options)
	r.Warm(t.Context())
	var wait sync.WaitGroup
	for i := range 6 {
		wait.Go(func() {
			results, err := r.Render(t.Context(), one("<%= p('n') * 2 %>", map[string]any{"properties": map[string]any{"n": i}}))
			if err != nil {
				t.Error(err)
				return
			}
			if got := string(results[0].Jobs[0].Files[0].Data); got != strconv.Itoa(2*i) {
				t.Errorf("render %d gave %s", i, got)
			}
			if n := len(children()); n > 3 {
				t.Errorf("%d children at once", n)
			}
		})
	}
	wait.Wait()
	eventually(t, "exactly one child held ready", func() bool { return len(children()) == 1 })
}

// What was rendered is deployed now, and wants the processor that the next child would take.
func TestTheNextChildWaits(t *testing.T) {
	options, children := marked(t)
	options.Pause = time.Hour
	r := newRenderer(t, options)
	if _, err := r.Render(t.Context(), one("<%= 1 %>", nil)); err != nil {
		t.Fatal(err)
	}
	if left := children(); len(left) > 0 {
		t.Errorf("children right after a render: %v", left)
	}
	r.Warm(t.Context())
	eventually(t, "a child", func() bool { return len(children()) == 1 })
}

func TestChildrenEnd(t *testing.T) {
	t.Run("idle", func(t *testing.T) {
		options, children := marked(t)
		options.Idle = 50 * time.Millisecond
		r := newRenderer(t, options)
		r.Warm(t.Context())
		eventually(t, "no child", func() bool { return len(children()) == 0 })
		if _, err := r.Render(t.Context(), one("<%= 1 %>", nil)); err != nil {
			t.Error(err)
		}
	})
	t.Run("context of Warm", func(t *testing.T) {
		options, children := marked(t)
		ctx, cancel := context.WithCancel(t.Context())
		newRenderer(t, options).Warm(ctx)
		eventually(t, "a child", func() bool { return len(children()) == 1 })
		cancel()
		eventually(t, "no child", func() bool { return len(children()) == 0 })
	})
	t.Run("killed by somebody", func(t *testing.T) {
		options, children := marked(t)
		r := newRenderer(t, options)
		r.Warm(t.Context())
		eventually(t, "a child", func() bool { return len(children()) == 1 })
		first := children()[0]
		child, err := os.FindProcess(first)
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Kill(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "no child", func() bool { return len(children()) == 0 })
		if _, err := r.Render(t.Context(), one("<%= 1 %>", nil)); err != nil {
			t.Error(err)
		}
	})
	t.Run("close during a render", func(t *testing.T) {
		options, children := marked(t)
		r := newRenderer(t, options)
		done := make(chan error, 1)
		go func() {
			_, err := r.Render(t.Context(), one("<% loop {} %>", nil))
			done <- err
		}()
		eventually(t, "a child", func() bool { return len(children()) == 1 })
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; err == nil || len(children()) != 0 {
			t.Errorf("%v, left: %v", err, children())
		}
	})
}

func TestACacheThatCannotBeWritten(t *testing.T) {
	if testing.Short() || unraced.On {
		t.Skip("compiles Ruby")
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRenderer(t, render.Options{CacheDir: filepath.Join(file, "cache")})
	if _, err := r.Render(t.Context(), one("<%= 1 %>", nil)); err != nil {
		t.Error(err)
	}
}

func TestAFreshCacheSharedByTwo(t *testing.T) {
	if testing.Short() || unraced.On {
		t.Skip("compiles Ruby")
	}
	folder := filepath.Join(t.TempDir(), "cache")
	a, b := newRenderer(t, render.Options{CacheDir: folder}), newRenderer(t, render.Options{CacheDir: folder})
	a.Warm(t.Context())
	b.Warm(t.Context())
	for _, r := range []*render.Renderer{a, b} {
		if _, err := r.Render(t.Context(), one("<%= 1 %>", nil)); err != nil {
			t.Error(err)
		}
	}
	// A damaged entry costs time once, not the render.
	entries, err := filepath.Glob(filepath.Join(folder, "wazero-*", "*"))
	if err != nil || len(entries) != 1 {
		t.Fatalf("%v %v", entries, err)
	}
	whole, err := os.Stat(entries[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(entries[0], whole.Size()/2); err != nil {
		t.Fatal(err)
	}
	if _, err := newRenderer(t, render.Options{CacheDir: folder}).Render(t.Context(), one("<%= 1 %>", nil)); err != nil {
		t.Error(err)
	}
	if healed, err := os.Stat(entries[0]); err != nil || healed.Size() != whole.Size() {
		t.Errorf("%v %v", healed, err)
	}
}

func BenchmarkRenderThreeInstancesOfThreeTemplates(b *testing.B) {
	r := render.New(render.Options{Program: program})
	defer r.Close()
	template := "<% l = link('peers'); if_p('port') do |x| %><%= x %><% end -%>\n" + strings.Repeat("line <%= spec.networks.default.ip %> <%= p('tls.ca') %>\n", 20) +
		"<%= JSON.dump(l.instances.map { |i| { i.name => i.address } }) %>"
	var instances []render.Instance
	for i := range 3 {
		job := render.Job{Name: "web", Spec: document()}
		for n := range 3 {
			job.Templates = append(job.Templates, render.Template{Source: fmt.Sprint(n), Dest: fmt.Sprint(n), Body: []byte(template)})
		}
		instances = append(instances, render.Instance{Group: "g", Index: i, Jobs: []render.Job{job}})
	}
	for b.Loop() {
		if _, err := r.Render(b.Context(), instances); err != nil {
			b.Fatal(err)
		}
	}
}

package render_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge/localbosh/render"
	"github.com/serviceforge/serviceforge/spec/unraced"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "__erb" {
		os.Exit(render.ErbMain(os.Args[2:]))
	}
	unraced.Main("github.com/serviceforge/serviceforge/spec/children", &program, m.Run)
}

// program is what the renderers' children run.
var program string

func newRenderer(t *testing.T, options render.Options) *render.Renderer {
	t.Helper()
	options.Program = program
	r := render.New(options)
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// one makes an instance with one job `web` of one template.
func one(body string, spec map[string]any) []render.Instance {
	return []render.Instance{{Group: "g", ID: "id-0", Jobs: []render.Job{{
		Name: "web", Spec: spec,
		Templates: []render.Template{{Source: "a.erb", Dest: "config/a", Body: []byte(body)}},
	}}}}
}

func document() map[string]any {
	return map[string]any{
		"deployment": "etcd-1", "name": "g", "index": 2, "id": "id-2", "az": "z1", "bootstrap": false,
		"address": "127.0.1.3", "ip": "127.0.1.3",
		"job":      map[string]any{"name": "web"},
		"release":  map[string]any{"name": "etcd-service", "version": "1.0.0"},
		"networks": map[string]any{"default": map[string]any{"ip": "127.0.1.3", "netmask": "255.255.255.0", "dns": []any{"a", "b"}}},
		"properties": map[string]any{
			"port": 2379, "ratio": 1.0, "empty": "", "off": false, "unset": nil,
			"tls":  map[string]any{"ca": "CA\nline 2\n", "deep": map[string]any{"er": []any{1, map[any]any{"k": "v"}}}},
			"utf8": "grüß ✓",
		},
		"links": map[string]any{"peers": map[string]any{
			"address":    "q-s0.g.default.etcd-1.bosh",
			"properties": map[string]any{"port": 2380, "a": map[string]any{"b": "c"}},
			"instances": []any{
				map[string]any{"name": "g", "id": "id-0", "index": 0, "az": "z1", "address": "127.0.1.1", "bootstrap": true, "properties": map[string]any{"weight": 7}},
				map[string]any{"name": "g", "id": "id-1", "index": 1, "az": "z2", "address": "127.0.1.2", "bootstrap": false},
			},
		}},
	}
}

func TestWhatTemplatesMayUse(t *testing.T) {
	cases := []struct{ name, template, want string }{
		{"p", `<%= p("port") %> <%= p("tls.ca").lines.last %>`, "2379 line 2\n"},
		{"p default", `<%= p("nope", 5) %> <%= p("unset", "d") %> <%= p("nope", nil).inspect %> <%= p("off", true) %> [<%= p("empty", "d") %>]`, "5 d nil false []"},
		{"p of several names", `<%= p(["nope", "tls.deep.er"]).inspect %> <%= p(%w[x y], 1) %>`, `[1, {"k" => "v"}] 1`},
		{"types", `<%= p("ratio") %> <%= p("ratio").class %> <%= p("port").class %> <%= p("off").class %>`, "1.0 Float Integer FalseClass"},
		{"if_p", `<% if_p("port", "tls.ca") do |port, ca| %><%= port %><% end.else do %>no<% end %>`, "2379"},
		{"if_p else", `<% if_p("port", "nope") do |port, x| %><%= port %><% end.else do %>no<% end %>`, "no"},
		{"if_p else_if_p", `<% if_p("nope") do %>1<% end.else_if_p("port") do |v| %><%= v %><% end.else do %>3<% end %>`, "2379"},
		{"if_p else_if_p else", `<% if_p("nope") do %>1<% end.else_if_p("nada") do |v| %><%= v %><% end.else do %>3<% end %>`, "3"},
		{"if_p taken, rest not", `<% if_p("port") do %>1<% end.else_if_p("port") do |v| %><%= v %><% end.else do %>3<% end %>`, "1"},
		{"link", `<% l = link("peers") %><%= l.p("port") %> <%= l.p("a.b") %> <%= l.p("x", 9) %> <%= l.address %> <%= l.properties["port"] %>`, "2380 c 9 q-s0.g.default.etcd-1.bosh 2380"},
		{"link address with criteria", `<%= link("peers").address(azs: ["z1"], status: "healthy") %>`, "q-s0.g.default.etcd-1.bosh"},
		{"link instances", `<%= link("peers").instances.map { |i| "#{i.name}/#{i.index}=#{i.id}@#{i.address},#{i.az},#{i.bootstrap}" }.join(" ") %>`, "g/0=id-0@127.0.1.1,z1,true g/1=id-1@127.0.1.2,z2,false"},
		{"link instance properties", `<% i = link("peers").instances %><%= i[0].p("weight") %> <%= i[1].p("weight", 0) %> <% i[1].if_p("weight") { |w| %>w<% }.else { %>none<% } %>`, "7 0 none"},
		{"link if_p", `<% link("peers").if_p("port") do |x| %><%= x %><% end %>`, "2380"},
		{"if_link", `<% if_link("peers") do |l| %><%= l.instances.size %><% end.else do %>none<% end %>`, "2"},
		{"if_link else", `<% if_link("others") do |l| %>x<% end.else_if_link("peers") do |l| %><%= l.p("port") %><% end.else do %>none<% end %>`, "2380"},
		{"own names", `<%= name %> <%= index %> <%= spec.id %> <%= spec.az %> <%= spec.bootstrap %> <%= spec.address %> <%= spec.ip %> <%= spec.deployment %> <%= spec.name %> <%= spec.job.name %> <%= spec.release.version %>`, "web 2 id-2 z1 false 127.0.1.3 127.0.1.3 etcd-1 g web 1.0.0"},
		{"networks", `<%= spec.networks.default.ip %> <%= spec.networks.send("default").netmask %> <%= spec.networks.methods(false).inspect %> <%= spec.networks.default.dns.last %>`, "127.0.1.3 255.255.255.0 [:default] b"},
		{"absent in spec", `<%= spec.nope.inspect %>`, "nil"},
		{"properties", `<%= properties.tls.deep.er[1].k %> <%= properties.port %> <%= properties.nope.inspect %> <%= raw_properties["tls"]["deep"]["er"][0] %>`, "v 2379 nil 1"},
		{"json", `<%= JSON.dump(p("tls.deep")) %> <%= p("tls.ca").to_json %>`, `{"er":[1,{"k":"v"}]} "CA\nline 2\n"`},
		{"json pretty", `<%= JSON.pretty_generate("a" => [1]) %>`, "{\n  \"a\": [\n    1\n  ]\n}"},
		{"yaml", `<%= YAML.dump("a" => p("tls.deep"), "t" => "12:30:00") %>`, "---\na:\n  er:\n  - 1\n  - k: v\nt: '12:30:00'\n"},
		{"yaml load", `<%= YAML.load("a: [1, 2]")["a"].sum %><%= {"x" => nil}.to_yaml %>`, "3---\nx:\n"},
		{"shellwords, ostruct", `<%= Shellwords.escape("a b") %> <%= OpenStruct.new(a: 1).a %> <%= ["a b", "c"].shelljoin %>`, `a\ b 1 a\ b c`},
		{"trim", "a\n<% [1,2].each do |i| -%>\n  <%= i -%>\n.\n<%- end -%>\nb\n", "a\n  1.\n  2.\nb\n"},
		{"no trim", "a\n<% if true %>\nb\n<% end %>\n", "a\n\nb\n\n"},
		{"literal tags", "<%% x %%> <%= 1 %>", "<% x %%> 1"},
		{"comment", "a<%# nothing %>b", "ab"},
		{"heredoc and bytes", "<%= p('utf8') %> \xff\x00", "grüß ✓ \xff\x00"},
		{"libraries of the director", `<% require "base64"; require "ipaddr" %><%= Base64.strict_encode64("ab") %> <%= IPAddr.new("10.0.0.0/8").include?("10.1.1.1") %> <%= Digest::SHA256.hexdigest("")[0, 6] %> <%= SecureRandom.hex(4).size %> <%= URI("http://h:1/").port %> <%= Base64.urlsafe_decode64(Base64.urlsafe_encode64("\xff\xfe?", padding: false)).bytes.inspect %>`, "YWI= true e3b0c4 8 1 [255, 254, 63]"},
		{"rescued", `<% begin; p("nope"); rescue Bosh::Template::UnknownProperty => e %><%= e.name.inspect %><% end %>`, `["nope"]`},
		{"printing goes nowhere", `a<% puts "x"; STDOUT.puts "y"; $stderr.puts "z"; warn "w"; print 1 %>b`, "ab"},
		{"private method of the template", "<% def twice(x) = x * 2 %><%= twice(4) %>", "8"},
	}
	r := newRenderer(t, render.Options{})
	var instances []render.Instance
	for _, c := range cases {
		instances = append(instances, one(c.template, document())...)
	}
	results, err := r.Render(t.Context(), instances)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := string(results[i].Jobs[0].Files[0].Data); got != c.want {
				t.Errorf("%s\n got %q\nwant %q", c.template, got, c.want)
			}
		})
	}
}

func TestErrorsSayWhatADirectorSays(t *testing.T) {
	cases := []struct{ name, template, want string }{
		{"property", "\n<%= p('x') %>", `(line 2: Can't find property '["x"]')`},
		{"properties", "<%= p(['x', 'y.z']) %>", `(line 1: Can't find property '["x", "y.z"]')`},
		{"link", "\n\n<%= link('db') %>", `(line 3: Can't find link 'db')`},
		{"property of a link", "<%= link('peers').p('no') %>", `(line 1: Can't find property '["no"]')`},
		{"variable", "<%= nope %>", "(line 1: undefined local variable or method 'nope' for an instance of Bosh::Common::Template::EvaluationContext)"},
		{"nil", "<%= spec.nope.more %>", "(line 1: undefined method 'more' for nil)"},
		{"own exception", "<% raise 'port must be set' %>", "(line 1: port must be set)"},
		{"exit", "<% exit 3 %>", "(line 1: exit)"},
		{"abort", "<% abort 'gone' %>", "(line 1: gone)"},
		{"recursion", "<% def f(x) = f(x + 1) + 1; f(1) %>", "(line 1: stack level too deep)"},
		{"library", "<% require 'nokogiri' %>", "(line 1: cannot load such file -- nokogiri)"},
		{"syntax", "a\n<% if %>\n", "syntax error"},
	}
	r := newRenderer(t, render.Options{})
	var instances []render.Instance
	for _, c := range cases {
		instance := one(c.template, document())[0]
		instance.Group = c.name
		instances = append(instances, instance)
	}
	_, err := r.Render(t.Context(), instances)
	if _, ok := errors.AsType[*render.Error](err); !ok {
		t.Fatalf("got %v", err)
	}
	t.Log(err)
	parts := strings.Split(err.Error(), "\n  - Unable to render jobs for instance group ")
	if len(parts) != len(cases)+1 {
		t.Fatalf("%d parts for %d cases:\n%v", len(parts), len(cases), err)
	}
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(parts[i+1], "- Error filling in template 'a.erb' ") || !strings.Contains(parts[i+1], c.want) {
				t.Errorf("want %s in\n%s", c.want, parts[i+1])
			}
		})
	}
}

func TestAllErrorsOfADeploymentAreCollected(t *testing.T) {
	bad := func(source string) render.Template {
		return render.Template{Source: source, Dest: source, Body: []byte("\n<%= p('x') %>")}
	}
	good := render.Template{Source: "ok.erb", Dest: "ok", Body: []byte("<%= 1 %>")}
	monit := render.Template{Source: "monit", Dest: "monit", Body: []byte("<%= nope %>")}
	jobs := []render.Job{
		{Name: "first", Templates: []render.Template{bad("a.erb"), good, bad("b.erb")}},
		{Name: "fine", Templates: []render.Template{good}},
		{Name: "second", Templates: []render.Template{bad("c.erb")}},
	}
	instances := []render.Instance{
		{Group: "g", Index: 0, Jobs: jobs}, {Group: "g", Index: 1, Jobs: jobs},
		{Group: "h", Jobs: []render.Job{{Name: "watch", Templates: []render.Template{bad("d.erb"), monit}}}},
	}
	_, err := newRenderer(t, render.Options{}).Render(t.Context(), instances)
	want := strings.TrimSpace(`
Unable to render instance groups for deployment. Errors are:
  - Unable to render jobs for instance group 'g'. Errors are:
    - Unable to render templates for job 'first'. Errors are:
      - Error filling in template 'a.erb' (line 2: Can't find property '["x"]')
      - Error filling in template 'b.erb' (line 2: Can't find property '["x"]')
    - Unable to render templates for job 'second'. Errors are:
      - Error filling in template 'c.erb' (line 2: Can't find property '["x"]')
  - Unable to render jobs for instance group 'h'. Errors are:
    Error filling in template 'monit' (line 1: undefined local variable or method 'nope' for an instance of Bosh::Common::Template::EvaluationContext)`)
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestFilesModesAndDigests(t *testing.T) {
	job := render.Job{Name: "web", Spec: map[string]any{"properties": map[string]any{"a": "1"}}, Templates: []render.Template{
		{Source: "ctl.erb", Dest: "bin/ctl", Body: []byte("x<%= p('a') %>")},
		{Source: "b.erb", Dest: "config/b.yml", Body: []byte("no tags % > \x00\xff")},
		{Source: "sbin", Dest: "sbin/tool", Body: nil},
		{Source: "monit", Dest: "monit", Body: []byte("check <%= p('a') %>")},
	}}
	render1 := func(job render.Job) render.JobResult {
		t.Helper()
		results, err := newRenderer(t, render.Options{}).Render(t.Context(), []render.Instance{{Group: "g", Index: 4, ID: "i", Jobs: []render.Job{job}}})
		if err != nil {
			t.Fatal(err)
		}
		if r := results[0]; r.Group != "g" || r.Index != 4 || r.ID != "i" {
			t.Errorf("whose result is %+v?", r)
		}
		return results[0].Jobs[0]
	}
	got := render1(job)
	if string(got.Monit) != "check 1" {
		t.Errorf("monit %q", got.Monit)
	}
	want := []render.File{{Path: "bin/ctl", Mode: 0o750, Data: []byte("x1")},
		{Path: "config/b.yml", Mode: 0o640, Data: []byte("no tags % > \x00\xff")}, {Path: "sbin/tool", Mode: 0o640}}
	if len(got.Files) != len(want) {
		t.Fatalf("%d files", len(got.Files))
	}
	for i, file := range got.Files {
		if file.Path != want[i].Path || file.Mode != want[i].Mode || string(file.Data) != string(want[i].Data) {
			t.Errorf("got %+v, want %+v", file, want[i])
		}
	}
	if again := render1(job); again.Digest != got.Digest {
		t.Error("the same render has another digest")
	}
	job.Spec = map[string]any{"properties": map[string]any{"a": "2"}}
	if other := render1(job); other.Digest == got.Digest {
		t.Error("another render has the same digest")
	}
}

func TestCopyingNeedsNoChild(t *testing.T) {
	r := render.New(render.Options{Program: "/nonexistent"})
	results, err := r.Render(t.Context(), one("no tag", nil))
	if err != nil || string(results[0].Jobs[0].Files[0].Data) != "no tag" {
		t.Errorf("%v %v", results, err)
	}
	if _, err := r.Render(t.Context(), one("<%= 1 %>", nil)); err == nil || !strings.Contains(err.Error(), "ERB") {
		t.Errorf("a renderer without program: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if _, err := r.Render(context.Background(), one("<%= 1 %>", nil)); err == nil {
		t.Error("a closed renderer renders")
	}
}

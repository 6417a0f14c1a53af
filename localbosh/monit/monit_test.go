package monit_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/serviceforge/serviceforge/localbosh/monit"
)

const classic = `# a comment with "quotes
check process redis-server
  with pidfile /var/vcap/sys/run/redis/redis.pid
  start program "/var/vcap/jobs/redis/bin/ctl start 'a b'" as uid vcap and gid vcap with timeout 60 seconds
  stop program = '/var/vcap/jobs/redis/bin/ctl stop'
  group vcap
  depends on sentinel, "exporter"
  if totalmem > 500 MB for 5 cycles then restart
  if failed host 127.0.0.1 port 6379 protocol redis then alert else if recovered then exec "/bin/true"
  if 5 restarts within 5 cycles then unmonitor
Check File log With Path /var/vcap/sys/log/x
  IF changed timestamp THEN exec "/bin/x y"
`

func TestParseClassic(t *testing.T) {
	got, err := monit.Parse([]byte("set daemon 10\n" + classic))
	if err != nil {
		t.Fatal(err)
	}
	want := []monit.Check{{
		Kind: "process", Name: "redis-server", Line: 3, Pidfile: "/var/vcap/sys/run/redis/redis.pid",
		Start:   monit.Program{Command: "/var/vcap/jobs/redis/bin/ctl start 'a b'", UID: "vcap", GID: "vcap", Timeout: time.Minute},
		Stop:    monit.Program{Command: "/var/vcap/jobs/redis/bin/ctl stop", Timeout: 30 * time.Second},
		Group:   "vcap",
		Depends: []string{"sentinel", "exporter"},
		Rules: []monit.Rule{
			{Condition: "totalmem > 500 MB for 5 cycles", Action: "restart", Line: 9},
			{Condition: "failed host 127.0.0.1 port 6379 protocol redis", Action: "alert", Line: 10},
			{Condition: "5 restarts within 5 cycles", Action: "unmonitor", Line: 11},
		},
	}, {
		Kind: "file", Name: "log", Line: 12, Target: "/var/vcap/sys/log/x",
		Rules: []monit.Rule{{Condition: "changed timestamp", Action: "exec", Argument: "/bin/x y", Line: 13}},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestParseEmpty(t *testing.T) {
	for _, src := range []string{"", "\n\n", "# nothing runs\n", "set logfile syslog"} {
		if got, err := monit.Parse([]byte(src)); err != nil || len(got) != 0 {
			t.Errorf("%q: %v, %v", src, got, err)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for src, want := range map[string]string{
		"hello":                                                  `line 1: "hello" where check is expected`,
		"\ncheck":                                                "line 2: the kind of the check is missing",
		"check process":                                          "line 1: the name of the check is missing",
		"check process a\n with nothing":                         `line 2: "nothing" where pidfile is expected`,
		"check wolf a":                                           `line 1: there is no check of kind "wolf"`,
		"check process a pidfile b\nstart":                       "line 2: the program is missing",
		"check process a pidfile b\n\nstart \"x":                 "line 3: the string that begins with",
		"check process a pidfile b\nif x":                        "line 2: the file ends where then",
		"check process a pidfile b\nif x then fly":               `line 2: "fly" where an action is expected`,
		"check process a pidfile b\ndance":                       `line 2: "dance" where a clause of check a`,
		"check process a pidfile b start c timeout soon":         `line 1: the timeout is a number, not "soon"`,
		"check process a pidfile b start c as root":              `line 1: "root" where uid or gid`,
		"check process a pidfile b\ncheck process a pidfile b":   "line 2: the service name a is used twice",
		"check process a pidfile b depends on":                   "line 1: the name of a check is missing",
		"check process a pidfile b if x then alert else fly off": `"fly" where an action`,
	} {
		_, err := monit.Parse([]byte(src))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", src, err, want)
		}
	}
}

func TestBPM(t *testing.T) {
	const bpm = "/var/vcap/jobs/bpm/bin/bpm "
	for command, want := range map[string][2]string{
		bpm + "start etcd":                  {"etcd", "etcd"},
		bpm + "start etcd -p proxy":         {"etcd", "proxy"},
		bpm + "start -p proxy etcd":         {"etcd", "proxy"},
		bpm + "start etcd --process=proxy":  {"etcd", "proxy"},
		bpm + "start etcd -p":               {},
		bpm + "start etcd --fast":           {},
		bpm + "start":                       {},
		bpm + "stop etcd":                   {},
		"/var/vcap/jobs/etcd/bin/ctl start": {},
	} {
		job, process, ok := monit.BPM(command)
		if ok != (want[0] != "") || ok && (job != want[0] || process != want[1]) {
			t.Errorf("%q: %q %q %v", command, job, process, ok)
		}
	}
}

func TestParseBPM(t *testing.T) {
	got, err := monit.ParseBPM([]byte(`
processes:
- name: etcd
  executable: /var/vcap/packages/etcd/bin/etcd
  args: [--name, a, "--n=1"]
  env: {A: b, N: 1}
  hooks: {pre_start: /var/vcap/jobs/etcd/bin/hook}
  limits: {memory: 1G, open_files: 100, processes: 10}
  shutdown_signal: INT
  persistent_disk: true
  additional_volumes: [{path: /var/vcap/data/shared, writable: true}]
`))
	if err != nil {
		t.Fatal(err)
	}
	p := got[0]
	if p.Name != "etcd" || len(p.Args) != 3 || p.Env["N"] != "1" || p.Limits.OpenFiles != 100 ||
		p.Hooks.PreStart != "/var/vcap/jobs/etcd/bin/hook" || !p.PersistentDisk || p.ShutdownSignal != "INT" {
		t.Errorf("%+v", p)
	}
	for src, want := range map[string]string{
		"processes: [{name: a, executable: b, arg: [c]}]": "field arg not found",
		"process: []":                                                                       "field process not found",
		"processes: [{executable: b}]":                                                      "invalid config: name",
		"processes: [{name: ../../x, executable: b}]":                                       "invalid config: name",
		"processes: [{name: a}]":                                                            "invalid config: executable",
		"processes: [{name: a, executable: b, shutdown_signal: HUP}]":                       "neither TERM nor INT",
		"processes: [{name: a, executable: b, additional_volumes: [{path: /etc}]}]":         "must be within",
		"processes: [{name: a, executable: b, additional_volumes: [{path: /var/vcap//x}]}]": "canonical",
	} {
		if _, err := monit.ParseBPM([]byte(src)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", src, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(classic))
	f.Add([]byte("check host h address 1.2.3.4 every 2 cycles mode manual"))
	f.Fuzz(func(t *testing.T, src []byte) {
		checks, err := monit.Parse(src)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "line ") {
				t.Errorf("no line in %q", err)
			}
			return
		}
		for _, c := range checks {
			if c.Name == "" || c.Kind == "process" && c.Pidfile == "" && c.Matching == "" || c.Line < 1 {
				t.Errorf("half a check: %+v", c)
			}
		}
	})
}

func FuzzParseBPM(f *testing.F) {
	f.Add([]byte("processes: [{name: a, executable: b}]"))
	f.Fuzz(func(t *testing.T, src []byte) {
		processes, err := monit.ParseBPM(src)
		for _, p := range processes {
			if err == nil && (p.Name == "" || p.Executable == "") {
				t.Errorf("half a process: %+v", p)
			}
		}
	})
}

func TestSplit(t *testing.T) {
	for command, want := range map[string][]string{
		"/bin/ctl start":                 {"/bin/ctl", "start"},
		` /bin/sh  -c 'a "b" && c' "" x`: {"/bin/sh", "-c", `a "b" && c`, "", "x"},
		`a"b c"d`:                        {"ab cd"},
		"":                               nil,
		"a 'b":                           nil,
	} {
		got, err := monit.Split(command)
		if (err != nil) != (want == nil) || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %q, %v", command, got, err)
		}
	}
}

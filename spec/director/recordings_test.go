package director_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/serviceforge/serviceforge/localbosh"
)

// exchange is one recorded request of a BOSH client and the real director's
// answer.
type exchange struct {
	Method         string            `json:"method"`
	Path           string            `json:"path"`
	Query          string            `json:"query"`
	RequestHeaders map[string]string `json:"request_headers"`
	RequestBody    string            `json:"request_body"`
	Status         int               `json:"status"`
	Headers        map[string]string `json:"headers"`
	Body           string            `json:"body"`
}

// uploads are the files that stand behind request bodies recorded as "(N bytes)".
var uploads = map[string]string{
	"020": "bosh-stemcell-1.506-dummy.tgz", "022": "bosh-stemcell-1.506-dummy.tgz", "024": "bosh-stemcell-1.571-dummy.tgz",
	"030": "tiny-service-1.0.0.tgz", "031": "tiny-service-1.0.0.tgz",
}

// TestRecordings plays the recorded requests in their order and compares what
// became of them: status, headers that matter, the ended task and every line of
// its events.
func TestRecordings(t *testing.T) {
	d := start(t, func(o *localbosh.Options) { o.Name = "LabDirector" })
	files, err := filepath.Glob("testdata/recordings/*.jsonl")
	if err != nil || len(files) == 0 {
		t.Fatal("no recordings", err)
	}
	slices.Sort(files)
	for _, file := range files {
		step, _, _ := strings.Cut(filepath.Base(file), ".")
		t.Run(step, func(t *testing.T) {
			r := replay{d: d, t: t, step: step[:3], recorded: readRecording(t, file)}
			d.t = t
			r.play()
		})
	}
	d.t = t
}

func readRecording(t *testing.T, file string) []exchange {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []exchange
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 8<<20)
	for lines.Scan() {
		var x exchange
		if err := json.Unmarshal(lines.Bytes(), &x); err != nil {
			t.Fatal(err)
		}
		out = append(out, x)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

type replay struct {
	d        *director
	t        *testing.T
	step     string
	recorded []exchange
}

// skipped are exchanges that say nothing about the director's behaviour here:
// the lab's own values, polls, and diffs of deployments with the lab's history.
func skipped(x exchange) bool {
	diff := strings.HasPrefix(x.Path, "/deployments/") && strings.HasSuffix(x.Path, "/diff")
	return diff && !strings.Contains(x.Body, `"diff":[["instance_groups:",null]`) || strings.HasPrefix(x.Path, "/tasks/") && x.Path != "/tasks/99999" ||
		x.Path == "/info" || strings.HasPrefix(x.Path, "/resources/")
}

func (r *replay) play() {
	for _, x := range r.recorded {
		if skipped(x) {
			continue
		}
		got := r.send(x)
		if got.status != x.Status {
			r.t.Fatalf("%s %s?%s: status %d, the real one answered %d; body %s", x.Method, x.Path, x.Query, got.status, x.Status, got.body)
		}
		if want := x.Headers["Content-Type"]; want != got.header.Get("Content-Type") {
			r.t.Errorf("%s %s: Content-Type %q, the real one %q", x.Method, x.Path, got.header.Get("Content-Type"), want)
		}
		if x.Status == http.StatusFound {
			r.compareTask(x, got.header.Get("Location"))
			continue
		}
		if strings.HasSuffix(x.Path, "/diff") {
			r.compareDiff(x.Body, got.body)
		}
		if want := canonical(x.Body); x.Status >= 400 && want != canonical(got.body) {
			r.t.Errorf("%s %s: %s, the real one %s", x.Method, x.Path, got.body, x.Body)
		}
	}
}

// send sends a recorded request; a recorded instance is one of ours by its place.
func (r *replay) send(x exchange) answer {
	body := x.RequestBody
	if strings.HasSuffix(body, " bytes)") && strings.HasPrefix(body, "(") {
		data, err := os.ReadFile(filepath.Join("testdata", uploads[r.step]))
		if err != nil {
			r.t.Fatal(err)
		}
		body = string(data)
	}
	header := map[string]string{}
	for k, v := range x.RequestHeaders {
		if k == "Content-Type" || k == "X-Bosh-Context-Id" {
			header[k] = v
		}
	}
	path := x.Path
	if q := contextIDs.ReplaceAllString(x.Query, ""); q != "" {
		path += "?" + strings.TrimPrefix(q, "&")
	}
	if x.RequestHeaders["Authorization"] == "" && x.Path != "/info" {
		user := r.d.user
		defer func() { r.d.user = user }()
		r.d.user = "nobody"
	}
	return r.d.send(x.Method, path, strings.NewReader(body), header)
}

// contextIDs names configs of the lab by their ids; ours are the current ones.
var contextIDs = regexp.MustCompile(`&?context=[^&]*`)

// compareDiff compares the lines of two diffs.
func (r *replay) compareDiff(want, got string) {
	var real, ours struct{ Diff [][2]any }
	if err := json.Unmarshal([]byte(want), &real); err != nil {
		r.t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(got), &ours); err != nil {
		r.t.Fatal(err)
	}
	if diff := cmp.Diff(real, ours); diff != "" {
		r.t.Errorf("diff differs (-real +ours):\n%s", diff)
	}
}

// compareTask compares the task of a request and its events with the recorded.
func (r *replay) compareTask(x exchange, location string) {
	id := x.Headers["Location"][strings.LastIndex(x.Headers["Location"], "/")+1:]
	got := r.d.wait(location)
	var want task
	var events strings.Builder
	for _, o := range r.recorded {
		switch {
		case o.Path == "/tasks/"+id && o.Status == http.StatusOK:
			if err := json.Unmarshal([]byte(o.Body), &want); err != nil {
				r.t.Fatal(err)
			}
		case o.Path == "/tasks/"+id+"/output" && strings.Contains(o.Query, "event") && o.Status == http.StatusPartialContent:
			events.WriteString(o.Body)
		}
	}
	if want.State == "" || want.State == "processing" || want.State == "queued" {
		return // the recording does not hold the end
	}
	ours := r.d.get(fmt.Sprintf("/tasks/%d/output?type=event", got.ID)).body
	if got.State != want.State || got.Description != want.Description || canonical(*got.Result) != canonical(*want.Result) {
		r.t.Errorf("task %s is\n%s %q %q\nthe real one\n%s %q %q\n%s", location, got.State, got.Description, *got.Result, want.State, want.Description, *want.Result,
			r.d.get(fmt.Sprintf("/tasks/%d/output?type=debug", got.ID)).body)
	}
	real := eventLines(r.t, events.String())
	if r.step == "204" {
		// Here packages are compiled for the machine, so that another stemcell version needs no compilation.
		real = slices.DeleteFunc(real, func(l string) bool { return strings.Contains(l, `"Compiling packages"`) })
	}
	if diff := cmp.Diff(real, eventLines(r.t, ours)); diff != "" {
		r.t.Errorf("events of %q differ (-real +ours):\n%s", want.Description, diff)
	}
}

// eventLines brings event lines into a form that can be compared: ids and times
// are gone; instances deleted at the same time come in any order.
func eventLines(t *testing.T, text string) []string {
	t.Helper()
	var out []string
	for line := range strings.Lines(text) {
		var e map[string]any
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("event line %q: %v", line, err)
		}
		delete(e, "time")
		if e["stage"] == "Deleting instances" {
			delete(e, "index")
		}
		data, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, canonical(string(data)))
	}
	for i := 0; i < len(out); i++ {
		j := i
		for j < len(out) && strings.Contains(out[j], `"Deleting instances"`) {
			j++
		}
		slices.Sort(out[i:j])
		i = max(i, j-1)
	}
	return out
}

var (
	uuids  = regexp.MustCompile(`local:[^)]+|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	users  = regexp.MustCompile(`is still in use by: [-\w, .]*`)
	rubies = regexp.MustCompile(`Required property '(\w+)' was not specified in object \([\s\S]*`)
)

// canonical takes out of a text what no two directors share: ids, and objects
// printed by one version of Ruby or another.
func canonical(s string) string {
	s = uuids.ReplaceAllString(s, "UUID")
	s = users.ReplaceAllString(s, "is still in use by: DEPLOYMENTS") // the lab had more of them
	s = rubies.ReplaceAllStringFunc(s, func(m string) string { return m[:min(len(m), len("Required property '' was not specified")+8)] })
	return s
}

// TestRanges proves the byte ranges of task outputs, which every client polls.
func TestRanges(t *testing.T) {
	d := start(t)
	got := d.run("POST", "/cleanup", `{"config":{"remove_all":false}}`, map[string]string{"Content-Type": "application/json"})
	if got.State != "done" {
		t.Fatal(got)
	}
	path := "/tasks/" + strconv.Itoa(got.ID) + "/output?type="
	debug := d.get(path + "debug")
	size := len(debug.body)
	if debug.status != 200 || size == 0 || debug.header.Get("Last-Modified") == "" || debug.header.Get("Content-Type") != "text/plain;charset=utf-8" {
		t.Errorf("debug output: %+v", debug)
	}
	for _, c := range []struct {
		kind, header, contentRange string
		status, length             int
	}{
		{"debug", "bytes=0-", fmt.Sprintf("bytes 0-%d/%d", size-1, size), 206, size},
		{"debug", "bytes=5-", fmt.Sprintf("bytes 5-%d/%d", size-1, size), 206, size - 5},
		{"debug", "bytes=0-3", fmt.Sprintf("bytes 0-3/%d", size), 206, 4},
		{"debug", fmt.Sprintf("bytes=%d-", size), fmt.Sprintf("bytes */%d", size), 416, len("Byte range unsatisfiable")},
		{"debug", "nonsense", "", 200, size},
		{"result", "bytes=0-", "", 200, 0},
		{"cpi", "", "", 204, 0},
		{"bogus", "", "", 401, len(`{"code":600000,"description":"Unknown type bogus"}`)},
	} {
		a := d.send("GET", path+c.kind, nil, map[string]string{"Range": c.header})
		if a.status != c.status || len(a.body) != c.length || a.header.Get("Content-Range") != c.contentRange {
			t.Errorf("%s with Range %q: %d, %d bytes, Content-Range %q; want %+v", c.kind, c.header, a.status, len(a.body), a.header.Get("Content-Range"), c)
		}
	}
}

package api

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/serviceforge/serviceforge/localbosh/bosherr"
	"github.com/serviceforge/serviceforge/localbosh/tasks"
)

// hold is how long GET /tasks/N of a running task is held: clients poll every
// 500 ms, and learn of its end at once this way.
const hold = 450 * time.Millisecond

func (s *server) taskRoutes(r chi.Router) {
	r.Get("/tasks", s.listTasks)
	r.Get("/tasks/{id}", s.getTask)
	r.Get("/tasks/{id}/output", s.taskOutput)
	r.Delete("/task/{id}", s.cancelTask)
	r.Post("/tasks/cancel", consumes("application/json", s.cancelTasks))
}

// taskID reads the id of the path. What is no number is a task that does not
// exist.
func taskID(r *http.Request) (int, error) {
	id, err := strconv.Atoi(chi.URLParam(r, "id"))
	if err != nil {
		return 0, bosherr.New(bosherr.TaskNotFound, "Task %s not found", chi.URLParam(r, "id"))
	}
	return id, nil
}

// getTask holds the answer while the task runs: as long as `Prefer: wait` says,
// else for a moment (hold), which spares the bosh CLI its pause.
func (s *server) getTask(w http.ResponseWriter, r *http.Request) {
	id, err := taskID(r)
	if err == nil {
		wait, ok := preferredWait(r)
		if !ok {
			wait = hold
		}
		var t tasks.Task
		if t, err = s.tasks.Wait(r.Context(), id, wait); err == nil {
			writeJSON(w, http.StatusOK, jsonType, t)
			return
		}
	}
	s.fail(w, r, err)
}

// listTasks is GET /tasks. With the header `Prefer: wait=SECONDS` (RFC 7240,
// not known to a real director, which ignores it) the answer is held until one
// of the listed tasks starts or ends; `If-None-Match` with the ETag of the last
// answer also tells of what happened between the two requests.
func (s *server) listTasks(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	f := tasks.Filter{ReadOnly: q.Get("verbose") == "2"}
	for state := range strings.SplitSeq(q.Get("state"), ",") {
		if state != "" {
			f.States = append(f.States, tasks.State(state))
		}
	}
	if q.Has("deployment") {
		name := q.Get("deployment")
		f.Deployment = &name
	}
	if q.Has("context_id") {
		id := q.Get("context_id")
		f.ContextID = &id
	}
	f.Limit, _ = strconv.Atoi(q.Get("limit")) // the director takes what is no number as none
	wait, ok := preferredWait(r)
	if !ok {
		writeJSON(w, http.StatusOK, jsonType, s.tasks.List(f))
		return
	}
	since := strings.Trim(r.Header.Get("If-None-Match"), `"`)
	list, mark := s.tasks.WaitList(r.Context(), f, since, wait)
	w.Header().Set("Preference-Applied", fmt.Sprintf("wait=%d", int(wait.Seconds())))
	w.Header().Set("Etag", `"`+mark+`"`)
	writeJSON(w, http.StatusOK, jsonType, list)
}

// maxWait bounds what a client may ask for.
const maxWait = 10 * time.Minute

// preferredWait reads `Prefer: wait=N`.
func preferredWait(r *http.Request) (time.Duration, bool) {
	for _, header := range r.Header.Values("Prefer") {
		for p := range strings.FieldsFuncSeq(header, func(c rune) bool { return c == ',' || c == ';' || c == ' ' }) {
			value, ok := strings.CutPrefix(strings.ToLower(p), "wait=")
			n, err := strconv.Atoi(strings.Trim(value, `"`))
			if ok && err == nil && n >= 0 {
				return min(time.Duration(n)*time.Second, maxWait), true
			}
		}
	}
	return 0, false
}

func (s *server) cancelTask(w http.ResponseWriter, r *http.Request) {
	id, err := taskID(r)
	if err == nil {
		err = s.tasks.Cancel(id)
	}
	switch {
	case bosherr.Is(err, bosherr.TaskBadState):
		text(w, http.StatusBadRequest, htmlType, err.Error())
	case err != nil:
		s.fail(w, r, err)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

func (s *server) cancelTasks(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Deployment string
		States     []tasks.State
	}
	if err := decode(w, r, &in); err != nil {
		s.fail(w, r, err)
		return
	}
	f := tasks.Filter{ReadOnly: true, States: in.States}
	if len(f.States) == 0 {
		f.States = []tasks.State{tasks.Queued, tasks.Processing}
	}
	if in.Deployment != "" {
		f.Deployment = &in.Deployment
	}
	for _, t := range s.tasks.List(f) {
		_ = s.tasks.Cancel(t.ID) // it may have ended meanwhile
	}
	w.WriteHeader(http.StatusNoContent)
}

// taskOutput is GET /tasks/N/output.
func (s *server) taskOutput(w http.ResponseWriter, r *http.Request) {
	id, err := taskID(r)
	if err == nil {
		_, err = s.tasks.Get(id)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	kind := r.URL.Query().Get("type")
	switch kind {
	case "":
		kind = "debug"
	case "event", "result", "debug":
	case "cpi":
		w.WriteHeader(http.StatusNoContent)
		return
	default:
		s.fail(w, r, bosherr.New(bosherr.Unauthorized, "Unknown type %s", kind))
		return
	}
	out, err := s.tasks.Open(id, kind)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	if out == nil {
		if kind == "debug" {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		text(w, http.StatusOK, htmlType, "")
		return
	}
	defer out.Close()
	mime := htmlType
	if kind == "debug" {
		mime = "text/plain;charset=utf-8"
		w.Header().Set("Last-Modified", out.Modified.UTC().Format(http.TimeFormat))
	}
	writeRange(w, r, out.SectionReader, mime)
}

// writeRange answers with the part that Range asks for, as nginx and the
// director do together: nothing there is 200 with nothing, nothing new is 416.
func writeRange(w http.ResponseWriter, r *http.Request, src *io.SectionReader, mime string) {
	total := src.Size()
	w.Header().Set("Content-Type", mime)
	from, to, ok := byteRange(r.Header.Get("Range"), total)
	if !ok || total == 0 {
		w.Header().Set("Content-Length", strconv.FormatInt(total, 10))
		_, _ = io.Copy(w, src)
		return
	}
	if from >= total {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", total))
		text(w, http.StatusRequestedRangeNotSatisfiable, htmlType, "Byte range unsatisfiable")
		return
	}
	w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, total))
	w.Header().Set("Content-Length", strconv.FormatInt(to-from+1, 10))
	w.WriteHeader(http.StatusPartialContent)
	_, _ = io.Copy(w, io.NewSectionReader(src, from, to-from+1))
}

// byteRange reads a Range of one part; ok is false when there is none to obey.
// from may lie at or beyond total: then there is nothing to send.
func byteRange(header string, total int64) (from, to int64, ok bool) {
	spec, found := strings.CutPrefix(header, "bytes=")
	a, b, two := strings.Cut(spec, "-")
	if !found || !two {
		return 0, 0, false
	}
	if a == "" { // the last b bytes
		n, err := strconv.ParseUint(b, 10, 62)
		return max(total-int64(n), 0), total - 1, err == nil && n > 0
	}
	first, err := strconv.ParseUint(a, 10, 62)
	if err != nil {
		return 0, 0, false
	}
	if b == "" {
		return int64(first), total - 1, true
	}
	last, err := strconv.ParseUint(b, 10, 62)
	return int64(first), min(int64(last), total-1), err == nil && last >= first
}

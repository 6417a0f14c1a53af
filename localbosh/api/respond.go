package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/serviceforge/serviceforge/localbosh/bosherr"
	"github.com/serviceforge/serviceforge/localbosh/tasks"
)

// The content types of the director. Almost every JSON answer of it is labelled
// as HTML; only a few say what they are.
const (
	htmlType = "text/html;charset=utf-8"
	jsonType = "application/json"
)

func text(w http.ResponseWriter, status int, mime, body string) {
	w.Header().Set("Content-Type", mime)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func writeJSON(w http.ResponseWriter, status int, mime string, v any) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		text(w, http.StatusInternalServerError, htmlType, "")
		return
	}
	text(w, status, mime, string(bytes.TrimRight(b.Bytes(), "\n")))
}

// answer is a JSON body labelled as the director labels most of them.
func answer(w http.ResponseWriter, v any) { writeJSON(w, http.StatusOK, htmlType, v) }

// fail answers with the director's error.
func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := bosherr.Of(err)
	if e.HTTPStatus() == http.StatusInternalServerError {
		s.Log.Error("request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	writeJSON(w, e.HTTPStatus(), htmlType, map[string]any{"code": e.Code, "description": e.Description})
}

// body reads a whole small body.
func body(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxText))
	var tooBig *http.MaxBytesError
	if errors.As(err, &tooBig) {
		return nil, bosherr.New(bosherr.BadManifest, "The document is larger than %d bytes", tooBig.Limit)
	}
	return data, err
}

// decode reads a JSON body into v.
func decode(w http.ResponseWriter, r *http.Request, v any) error {
	data, err := body(w, r)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return bosherr.New(bosherr.BadManifest, "Malformed JSON: %v", err)
	}
	return nil
}

// enqueue queues a task for the request and redirects to it.
func (s *server) enqueue(w http.ResponseWriter, r *http.Request, spec tasks.Spec) {
	spec.User = s.User
	spec.ContextID = r.Header.Get("X-Bosh-Context-Id")
	if len(spec.ContextID) > 64 {
		s.fail(w, r, bosherr.New(bosherr.ValidationViolatedMax, "X-Bosh-Context-Id cannot be more than 64 characters in length"))
		return
	}
	t, err := s.tasks.Enqueue(spec)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	w.Header().Set("Location", fmt.Sprintf("https://%s/tasks/%d", r.Host, t.ID))
	text(w, http.StatusFound, htmlType, "")
}

package broker

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"code.cloudfoundry.org/lager/v3"
	"github.com/go-chi/chi/v5"
)

// recorder remembers the status for the log, and can replace an answer or add
// to it.
type recorder struct {
	http.ResponseWriter
	status  int
	replace func(http.ResponseWriter) // writes instead of what comes
	mute    bool
	extra   map[string]any // fields for the JSON object that comes, which brokerapi does not know
}

// add puts a field into the answer's JSON object.
func (w *recorder) add(name string, value any) {
	if w.extra == nil {
		w.extra = map[string]any{}
	}
	w.extra[name] = value
}

// completed returns the JSON object with what was added to it.
func (w *recorder) completed(content []byte) []byte {
	var told map[string]json.RawMessage
	if len(w.extra) == 0 || json.Unmarshal(content, &told) != nil {
		return content
	}
	for name, value := range w.extra {
		encoded, err := json.Marshal(value)
		if err != nil {
			return content
		}
		told[name] = encoded
	}
	w.extra = nil
	complete, err := json.Marshal(told)
	if err != nil {
		return content
	}
	return append(complete, '\n')
}

// WriteHeader keeps the status.
func (w *recorder) WriteHeader(status int) {
	if w.mute {
		return
	}
	if replace := w.replace; replace != nil {
		w.replace = nil
		replace(w)
		w.mute = true
		return
	}
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write passes on, unless the answer was replaced. brokerapi writes an answer
// at once.
func (w *recorder) Write(content []byte) (int, error) {
	if w.mute {
		return len(content), nil
	}
	if w.status == 0 {
		w.status = http.StatusOK
	}
	if _, err := w.ResponseWriter.Write(w.completed(content)); err != nil {
		return 0, err
	}
	return len(content), nil
}

// logRequest writes the one line per request.
func (b *Broker) logRequest(r *http.Request, c *call, route *chi.Context, took time.Duration) {
	pattern := route.RoutePattern()
	if pattern == "" && r.URL.Path == catalogPath {
		pattern = catalogPath
	}
	if b.observe != nil {
		b.observe(r.Method, pattern, c.answer.status, took)
	}
	if !b.log.Enabled(r.Context(), slog.LevelInfo) {
		return
	}
	attributes := []slog.Attr{
		slog.String("method", r.Method),
		slog.String("route", pattern),
		slog.Int("status", c.answer.status),
		slog.Duration("duration", took),
		slog.String("request_id", c.requestID),
	}
	if c.caller.Platform != "" {
		attributes = append(attributes, slog.String("platform", c.caller.Platform))
	}
	for _, name := range []string{"instance_id", "binding_id"} {
		if escaped := route.URLParam(name); escaped != "" {
			attributes = append(attributes, slog.String(name, shortID(escaped)))
		}
	}
	b.log.LogAttrs(r.Context(), slog.LevelInfo, "request", attributes...)
}

// shortID makes an id of any length and any escaping fit for a log line.
func shortID(escaped string) string {
	id, err := url.PathUnescape(escaped)
	if err != nil {
		id = escaped
	}
	if len(id) > 255 {
		id = id[:255]
	}
	return id
}

// lagerSink forwards brokerapi's log lines to slog. It passes on only what is
// named in loggedKeys: brokerapi logs request details with the user's
// parameters, and error texts that may quote them.
type lagerSink struct{ log *slog.Logger }

var loggedKeys = []string{"instance-id", "binding-id", "correlation-id", "state", "status"}

func newLager(log *slog.Logger) lager.Logger {
	logger := lager.NewLogger("brokerapi")
	logger.RegisterSink(lagerSink{log})
	return logger
}

// Log implements lager.Sink. All lines go to the debug level: the access line
// has the result of every request, and logCause the reasons of server errors.
func (s lagerSink) Log(line lager.LogFormat) {
	if !s.log.Enabled(context.Background(), slog.LevelDebug) { // lager has no context
		return
	}
	attributes := make([]any, 0, 2*len(loggedKeys))
	for _, key := range loggedKeys {
		if value, ok := line.Data[key]; ok {
			attributes = append(attributes, slog.Any(key, value))
		}
	}
	s.log.Debug(line.Message, attributes...)
}

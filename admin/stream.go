package admin

import (
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/serviceforge/serviceforge"
)

// streamType is of an answer that tells how far it is: JSON lines, of which the
// last one is the result or the failure.
const streamType = "application/x-ndjson"

const (
	// silent is how long a stream may be without a line before the server gives
	// the connection up, and repeat after which its last line is said again.
	silent = 2 * time.Minute
	repeat = 15 * time.Second
)

// streamed is an answer that takes long: it tells steps on the way.
type streamed func(tell func(step any)) (result any, err error)

// Line is one line of a stream.
type Line[S, R any] struct {
	Step    *S       `json:"step,omitempty"`
	Result  *R       `json:"result,omitempty"`
	Failure *Failure `json:"failure,omitempty"`
}

// stream answers with the lines of do.
func (a *API) stream(w http.ResponseWriter, do streamed) {
	w.Header().Set("Content-Type", streamType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	lines := &lineWriter{w: w}
	over := make(chan struct{})
	var repeating sync.WaitGroup
	repeating.Go(func() {
		again := time.NewTicker(repeat)
		defer again.Stop()
		for {
			select {
			case <-over:
				return
			case <-again.C:
				lines.again()
			}
		}
	})
	result, err := do(func(step any) { lines.put(Line[any, any]{Step: &step}, false) })
	close(over)
	repeating.Wait()
	end := Line[any, any]{Result: &result}
	if err != nil {
		if code := serviceforge.CodeOf(err); statusOf(code) >= http.StatusInternalServerError {
			a.log.Error("an admin request failed", "cause", serviceforge.DetailOf(err))
		}
		end = Line[any, any]{Failure: &Failure{Code: serviceforge.CodeOf(err), Message: serviceforge.MessageOf(err)}}
	}
	lines.put(end, true)
}

// lineWriter writes lines, one at a time, until the last one.
type lineWriter struct {
	mu   sync.Mutex
	w    http.ResponseWriter
	last []byte
	over bool // a step that is told late is not told
}

func (l *lineWriter) put(line any, last bool) {
	encoded, err := json.Marshal(line)
	if err != nil {
		encoded = []byte(`{"failure":{"code":"internal","message":"internal error"}}`)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return
	}
	l.last, l.over = append(encoded, '\n'), last
	l.write()
}

// again says the last line once more, so that nobody between here and the
// operator thinks that nothing goes on.
func (l *lineWriter) again() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last != nil && !l.over {
		l.write()
	}
}

func (l *lineWriter) write() {
	control := http.NewResponseController(l.w)
	_ = control.SetWriteDeadline(time.Now().Add(silent)) // where it cannot be set, it is the server's
	_, _ = l.w.Write(l.last)
	_ = control.Flush()
}

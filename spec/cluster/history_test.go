package cluster_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/serviceforge/serviceforge/spec"
)

// call is what a platform asks of an instance.
type call struct {
	verb string // PUT, DELETE, POLL or GET; BIND is none of the model's
	id   string
	op   string // of a poll: which operation it is about
}

func (c call) String() string { return fmt.Sprintf("%s %s %s", c.verb, c.id, c.op) }

// answer is what it was told.
type answer struct {
	status int    // 0 = nobody knows: no answer, or 503
	op     string // of PUT and DELETE
	state  string // of a poll that was answered with 200
	why    string // for people
}

// history is what all clients asked and were told, by instance.
type history struct {
	began time.Time

	mu    sync.Mutex
	calls map[string][]porcupine.Operation
}

func newHistory() *history {
	return &history{began: time.Now(), calls: map[string][]porcupine.Operation{}}
}

// client asks brokers and writes the history.
type client struct {
	*history
	t       testing.TB
	number  int
	timeout time.Duration // of a request
}

// ask sends a call to a broker and notes it.
func (c *client) ask(r *replica, in call) answer {
	asked := time.Since(c.began)
	out, err := send(r.URL(), in, c.timeout)
	if err != nil {
		c.t.Error(err)
	}
	told := time.Since(c.began)
	if out.status == 0 {
		if in.verb == "GET" || in.verb == "POLL" {
			return out // a question that was not answered says nothing
		}
		told = 1 << 62 // it may still take effect
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls[in.id] = append(c.calls[in.id], porcupine.Operation{ClientId: c.number, Input: in, Output: out, Call: int64(asked), Return: int64(told)})
	return out
}

// wire has no memory: brokers come back on other ports.
var wire = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// send makes a call. The error is about answers that nobody should give.
func send(broker string, in call, timeout time.Duration) (answer, error) {
	method, path, body := in.verb, broker+"/v2/service_instances/"+in.id, ""
	ids := "service_id=" + spec.Service + "&plan_id=" + spec.OneServer
	switch in.verb {
	case "PUT":
		path += "?accepts_incomplete=true"
		body = `{"service_id":"` + spec.Service + `","plan_id":"` + spec.OneServer + `","organization_guid":"o","space_guid":"s"}`
	case "BIND":
		method, path = "PUT", path+"/service_bindings/b"
		body = `{"service_id":"` + spec.Service + `","plan_id":"` + spec.OneServer + `"}`
	case "DELETE":
		path += "?accepts_incomplete=true&" + ids
	case "POLL":
		method, path = "GET", path+"/last_operation?operation="+url.QueryEscape(in.op)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, path, bytes.NewBufferString(body))
	if err != nil {
		return answer{}, err
	}
	request.SetBasicAuth("cc", "secret")
	request.Header.Set("X-Broker-API-Version", "2.17")
	request.Header.Set("Content-Type", "application/json")
	response, err := wire.Do(request)
	if err != nil {
		return answer{why: err.Error()}, nil
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return answer{why: err.Error()}, nil
	}
	return read(in, response, text)
}

func read(in call, response *http.Response, text []byte) (answer, error) {
	out := answer{status: response.StatusCode, why: response.Status + " " + string(text)}
	switch {
	case out.status == http.StatusServiceUnavailable:
		out.status = 0
		if response.Header.Get("Retry-After") == "" {
			return out, fmt.Errorf("%s: 503 without Retry-After", in)
		}
		return out, nil
	case out.status >= 500:
		return out, fmt.Errorf("%s: %s: %s", in, response.Status, text)
	}
	var told struct{ Operation, State string }
	if err := json.Unmarshal(text, &told); err != nil {
		return out, fmt.Errorf("%s: %s: %q: %w", in, response.Status, text, err)
	}
	out.op, out.state = told.Operation, told.State
	return out, nil
}

// check says whether some order of what happened to each instance explains
// everything that the clients were told.
func (h *history) check(t testing.TB) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, calls := range h.calls {
		result := porcupine.CheckOperationsTimeout(record.ToModel(), calls, time.Minute)
		switch result {
		case porcupine.Illegal:
			t.Errorf("the answers about %s contradict each other:\n%s", id, transcript(calls))
		case porcupine.Unknown:
			t.Errorf("%d calls about %s are too many to check", len(calls), id)
		}
	}
}

// transcript shows a history to people.
func transcript(calls []porcupine.Operation) string {
	var text bytes.Buffer
	for n, c := range calls {
		if poll, again := c.Input.(call).verb == "POLL", n > 0 && n < len(calls)-1; again && poll && slices.ContainsFunc(calls[max(0, n-3):n], func(o porcupine.Operation) bool {
			return o.Input == c.Input && o.Output.(answer).state == c.Output.(answer).state
		}) {
			continue // as before
		}
		told := "never"
		if c.Return < 1<<62 {
			told = time.Duration(c.Return).Round(time.Millisecond).String()
		}
		fmt.Fprintf(&text, "%8s .. %-8s client %d  %v -> %+v\n", time.Duration(c.Call).Round(time.Millisecond), told, c.ClientId, c.Input, c.Output)
	}
	return text.String()
}

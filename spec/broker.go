package spec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"
)

// The ids of 2014.
const (
	Service      = "b9698740-4810-4dc5-8da6-54581f5108c4"
	OneServer    = "6e8ece8c-4fe6-4d58-9aeb-497d6aeba113"
	ThreeServers = "1a448d0e-bc54-4a16-8d2f-ab701be20c40"
)

// Broker is a broker as a platform sees it.
type Broker struct {
	URL string
	t   testing.TB
}

// NewBroker is the broker at a URL.
func NewBroker(t testing.TB, url string) Broker { return Broker{URL: url, t: t} }

// Call sends an OSB request as platform cc and decodes the answer into answer
// unless that is nil.
func (b *Broker) Call(method, path string, body, answer any) (status int) {
	b.t.Helper()
	status, err := b.TryCall(method, path, body, answer)
	if err != nil {
		b.t.Fatalf("%s %s: %v", method, path, err)
	}
	return status
}

// TryCall is Call for a broker that may be away.
func (b *Broker) TryCall(method, path string, body, answer any) (status int, err error) {
	var content bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&content).Encode(body); err != nil {
			return 0, err
		}
	}
	request, err := http.NewRequest(method, b.URL+path, &content)
	if err != nil {
		return 0, err
	}
	request.SetBasicAuth("cc", "secret")
	request.Header.Set("X-Broker-API-Version", "2.17")
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && answer != nil {
		err = json.Unmarshal(text, answer)
	}
	return response.StatusCode, err
}

// Create asks for an instance and returns its operation.
func (b *Broker) Create(id, plan string) string {
	b.t.Helper()
	var accepted struct{ Operation string }
	status := b.Call("PUT", instance(id)+"?accepts_incomplete=true", map[string]any{
		"service_id": Service, "plan_id": plan, "organization_guid": "o", "space_guid": "s"}, &accepted)
	if status != http.StatusAccepted {
		b.t.Fatalf("create %s: %d", id, status)
	}
	return accepted.Operation
}

// Delete asks for the end of an instance of OneServer and returns its operation.
func (b *Broker) Delete(id string) string {
	return b.DeletePlan(id, OneServer)
}

// DeletePlan asks for the end of an instance of that plan.
func (b *Broker) DeletePlan(id, plan string) string {
	b.t.Helper()
	var accepted struct{ Operation string }
	if status := b.Call("DELETE", instance(id)+"?accepts_incomplete=true&service_id="+Service+"&plan_id="+plan, nil, &accepted); status != http.StatusAccepted {
		b.t.Fatalf("delete %s: %d", id, status)
	}
	return accepted.Operation
}

// Await polls until the operation has succeeded. The broker may be away meanwhile.
func (b *Broker) Await(id, operation string) {
	b.t.Helper()
	Eventually(b.t, "the operation on "+id+" succeeds", func() error {
		var last struct{ State, Description string }
		if _, err := b.TryCall("GET", instance(id)+"/last_operation?operation="+url.QueryEscape(operation), nil, &last); err != nil {
			return err
		}
		switch last.State {
		case "succeeded":
			return nil
		case "failed":
			b.t.Fatalf("%s failed: %s", id, last.Description)
		}
		return fmt.Errorf("%s: %s", last.State, last.Description)
	})
}

func instance(id string) string { return "/v2/service_instances/" + url.PathEscape(id) }

package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// platform is as much of a platform as the demo needs: it speaks OSB.
type platform struct{ url, username, password string }

// call sends one request and decodes the answer. Any status above 202 is an error.
func (p platform) call(ctx context.Context, method, path string, body, answer any) (status int, err error) {
	var content bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&content).Encode(body); err != nil {
			return 0, err
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, p.url+path, &content)
	if err != nil {
		return 0, err
	}
	request.SetBasicAuth(p.username, p.password)
	request.Header.Set("X-Broker-API-Version", "2.17")
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode > http.StatusAccepted {
		var problem struct {
			Description string `json:"description"`
		}
		_ = json.NewDecoder(response.Body).Decode(&problem)
		return response.StatusCode, fmt.Errorf("%s %s: %s %s", method, path, response.Status, problem.Description)
	}
	if answer == nil {
		return response.StatusCode, nil
	}
	return response.StatusCode, json.NewDecoder(response.Body).Decode(answer)
}

// wait polls the operation until it has succeeded.
func (p platform) wait(ctx context.Context, path, operation string, progress func(string)) error {
	for {
		var last struct {
			State       string `json:"state"`
			Description string `json:"description"`
		}
		if _, err := p.call(ctx, "GET", path+"/last_operation?operation="+url.QueryEscape(operation), nil, &last); err != nil {
			return err
		}
		switch last.State {
		case "succeeded":
			return nil
		case "failed":
			return fmt.Errorf("the broker says: %s", last.Description)
		}
		progress(last.Description)
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// pause waits a moment; an error says that the step took too long.
func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return fmt.Errorf("not within %s", patience)
	case <-time.After(lookAgain):
		return nil
	}
}

// Package demo is an app team's session with a running broker, told line by
// line: catalog, create, bind, use, survive a crash, unbind, delete. It knows
// the broker's URL and password only, as a platform would.
package demo

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"
)

// The offering and plan that the demo orders; the ids are those of 2014.
const (
	serviceID  = "b9698740-4810-4dc5-8da6-54581f5108c4"
	planID     = "1a448d0e-bc54-4a16-8d2f-ab701be20c40"
	servers    = 3
	instanceID = "demo-etcd"
	bindingID  = "demo-app"
	// patience is how long any one step may take.
	patience  = 2 * time.Minute
	lookAgain = 25 * time.Millisecond
)

// Options say which broker is shown, and where.
type Options struct {
	URL, Username, Password string // of the broker
	// State is the folder of the broker's local director: the demo looks there
	// for what must be gone at the end, and for a process to kill.
	State    string
	Out      io.Writer
	Terminal bool // Out is a terminal: progress is one line that changes
	Keep     bool // stop before unbinding; the instance stays
}

// Times is what the steps took.
type Times map[string]time.Duration

// session is one run of the demo.
type session struct {
	Options
	platform platform
	binding  credentials
	times    Times
	shown    string // the progress shown last
}

// Run plays the whole session. It ends at the first step that does not hold.
func Run(ctx context.Context, o Options) (Times, error) {
	s := &session{Options: o, platform: platform{url: o.URL, username: o.Username, password: o.Password}, times: Times{}}
	steps := []step{
		{"catalog", s.catalog},
		{"create", s.create},
		{"bind", s.bind},
		{"use", s.use},
		{"crash", s.crash},
	}
	if !o.Keep {
		steps = append(steps, step{"unbind", s.unbind}, step{"delete", s.remove}, step{"nothing left", s.nothingLeft})
	}
	for _, step := range steps {
		if err := s.play(ctx, step); err != nil {
			return s.times, err
		}
	}
	return s.times, nil
}

type step struct {
	name string
	do   func(context.Context) (said string, err error)
}

// play does one step and says how it went.
func (s *session) play(ctx context.Context, step step) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	began := time.Now()
	said, err := step.do(ctx)
	took := time.Since(began)
	s.times[step.name], s.shown = took, ""
	if err != nil {
		s.Clear()
		return fmt.Errorf("%s: %w", step.name, err)
	}
	s.Say(step.name, took, said)
	return nil
}

// Say prints the line of a finished step, in place of what Doing showed.
func (o *Options) Say(name string, took time.Duration, said string) {
	o.Clear()
	_, _ = fmt.Fprintf(o.Out, "  %-13s %8s   %s\n", name, took.Round(time.Millisecond), said)
}

// Doing shows what a step is at: on a terminal in a line that the next one
// replaces.
func (o *Options) Doing(text string) {
	o.Clear()
	end := "\n"
	if o.Terminal {
		end = ""
	}
	_, _ = fmt.Fprintf(o.Out, "    … %s%s", text, end)
}

// Clear removes a line of Doing from the terminal.
func (o *Options) Clear() {
	if o.Terminal {
		_, _ = fmt.Fprint(o.Out, "\r\033[K")
	}
}

// progress shows how far the step is, if it is news.
func (s *session) progress(text string) {
	if text != s.shown {
		s.shown = text
		s.Doing(text)
	}
}

func (s *session) catalog(ctx context.Context) (string, error) {
	var answer struct {
		Services []struct {
			Name  string `json:"name"`
			Plans []struct {
				Name string `json:"name"`
			} `json:"plans"`
		} `json:"services"`
	}
	if _, err := s.platform.call(ctx, "GET", "/v2/catalog", nil, &answer); err != nil {
		return "", err
	}
	var offered []string
	for _, service := range answer.Services {
		var plans []string
		for _, plan := range service.Plans {
			plans = append(plans, plan.Name)
		}
		offered = append(offered, service.Name+" ("+strings.Join(plans, ", ")+")")
	}
	return strings.Join(offered, "; "), nil
}

func (s *session) create(ctx context.Context) (string, error) {
	order := map[string]any{
		"service_id": serviceID, "plan_id": planID, "organization_guid": "demo-org", "space_guid": "demo-space",
	}
	path := "/v2/service_instances/" + instanceID
	var accepted struct {
		Operation string `json:"operation"`
	}
	if _, err := s.platform.call(ctx, "PUT", path+"?accepts_incomplete=true", order, &accepted); err != nil {
		return "", err
	}
	if err := s.platform.wait(ctx, path, accepted.Operation, s.progress); err != nil {
		return "", err
	}
	return fmt.Sprintf("PUT %s: a %d-server etcd cluster runs", path, servers), nil
}

func (s *session) bind(ctx context.Context) (string, error) {
	order := map[string]any{"service_id": serviceID, "plan_id": planID}
	var answer struct {
		Credentials credentials `json:"credentials"`
	}
	path := "/v2/service_instances/" + instanceID + "/service_bindings/" + bindingID
	if _, err := s.platform.call(ctx, "PUT", path, order, &answer); err != nil {
		return "", err
	}
	s.binding = answer.Credentials
	return fmt.Sprintf("user %s at %s", s.binding.Username, strings.Join(s.binding.Hosts, ", ")), nil
}

func (s *session) unbind(ctx context.Context) (string, error) {
	query := "?service_id=" + serviceID + "&plan_id=" + planID
	path := "/v2/service_instances/" + instanceID + "/service_bindings/" + bindingID
	if _, err := s.platform.call(ctx, "DELETE", path+query, nil, nil); err != nil {
		return "", err
	}
	if err := s.binding.refused(ctx); err != nil {
		return "", err
	}
	return "the user is gone: the old password is refused", nil
}

func (s *session) remove(ctx context.Context) (string, error) {
	query := "?accepts_incomplete=true&service_id=" + serviceID + "&plan_id=" + planID
	path := "/v2/service_instances/" + instanceID
	var accepted struct {
		Operation string `json:"operation"`
	}
	if _, err := s.platform.call(ctx, "DELETE", path+query, nil, &accepted); err != nil {
		return "", err
	}
	if err := s.platform.wait(ctx, path, accepted.Operation, s.progress); err != nil {
		return "", err
	}
	return "the deployment is deleted", nil
}

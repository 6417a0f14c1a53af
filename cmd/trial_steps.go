package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/admin"
)

// The instance and the bindings that a trial makes.
const (
	trialInstance = "test"
	trialApp      = "app"
	trialOther    = "other-app"
)

// trying is a trial that is under way.
type trying struct {
	*trial
	tests      *tests
	parameters json.RawMessage
	client     *admin.Client
	state      string
	out, side  io.Writer
}

// say prints the line of a finished step.
func (s *trying) say(step string, began time.Time, said string) {
	_, _ = fmt.Fprintf(s.out, "  %-12s %8s   %s\n", step, time.Since(began).Round(time.Millisecond), said)
}

// step does one and says how it went.
func (s *trying) step(ctx context.Context, name string, do func(context.Context) (said string, err error)) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	began := time.Now()
	said, err := do(ctx)
	if err != nil {
		return serviceforge.Wrap(err, serviceforge.CodeOf(err), "%s: %s", name, serviceforge.MessageOf(err))
	}
	s.say(name, began, said)
	return nil
}

// install gives the broker the release, as it is packed.
func (s *trying) install(ctx context.Context, name string) (string, error) {
	installed, err := installFrom(ctx, s.client, name, newProgress(s.side))
	if err == nil && len(installed.Without) > 0 {
		err = serviceforge.Errorf(serviceforge.Unprocessable, "%s", strings.Join(installed.Without, "; "))
	}
	return installed.Release, err
}

// one tests one plan, as an app and its platform would.
func (s *trying) one(ctx context.Context, p tried, last bool) error {
	var credentials, others json.RawMessage
	type step struct {
		name string
		do   func(context.Context) (string, error)
	}
	use := step{"test", func(ctx context.Context) (string, error) { return s.use(ctx, p, credentials) }}
	steps := []step{{"create", func(ctx context.Context) (string, error) { return s.create(ctx, p) }}}
	if p.bindable() {
		steps = append(steps, step{"bind", func(ctx context.Context) (said string, err error) {
			credentials, said, err = s.bind(ctx, trialApp)
			return said, err
		}}, use)
	}
	if p.next != nil {
		steps = append(steps, step{"update", func(ctx context.Context) (string, error) { return s.update(ctx, p) }})
		if p.bindable() {
			steps = append(steps, use)
		}
	}
	if s.keep && last {
		steps = append(steps, step{"keep", func(context.Context) (string, error) {
			return "the instance " + trialInstance + " stays until Ctrl-C", nil
		}})
	} else {
		if p.bindable() {
			steps = append(steps, step{"bind another", func(ctx context.Context) (said string, err error) {
				others, said, err = s.bind(ctx, trialOther)
				return said, err
			}}, step{"unbind", func(ctx context.Context) (string, error) {
				return s.unbind(ctx, p, credentials, others)
			}})
		}
		steps = append(steps, step{"delete", s.remove})
	}
	for _, step := range steps {
		if err := s.step(ctx, step.name, step.do); err != nil {
			return err
		}
	}
	return nil
}

func (p tried) bindable() bool {
	if p.plan.Bindable != nil {
		return *p.plan.Bindable
	}
	return p.offering.Bindable
}

// wait waits for the end of an operation.
func (s *trying) wait(ctx context.Context, accepted admin.Accepted, kind serviceforge.Kind) error {
	if accepted.Done {
		return nil
	}
	w := &waiting{client: s.client, id: trialInstance, operation: accepted.Operation, kind: kind, progress: newProgress(s.side)}
	err := w.wait(ctx)
	if instance, asked := s.client.Instance(ctx, trialInstance); err != nil && asked == nil && instance.Cause != "" {
		return serviceforge.Wrap(err, serviceforge.CodeOf(err), "%s (%s)", serviceforge.MessageOf(err), instance.Cause)
	}
	return err
}

func (s *trying) create(ctx context.Context, p tried) (string, error) {
	accepted, err := s.client.Create(ctx, trialInstance, admin.Order{
		ServiceID: p.offering.ID, PlanID: p.plan.ID, Name: trialInstance, Parameters: s.parameters})
	if err == nil {
		err = s.wait(ctx, accepted, serviceforge.Provision)
	}
	return p.offering.Name + " " + p.plan.Name, err
}

func (s *trying) bind(ctx context.Context, id string) (json.RawMessage, string, error) {
	binding, err := s.client.Bind(ctx, trialInstance, id, admin.BindingOrder{})
	return binding.Credentials, "credentials of " + id, err
}

// use runs the tests of the release.
func (s *trying) use(ctx context.Context, p tried, credentials json.RawMessage) (string, error) {
	with, err := environment(p, credentials)
	if err != nil {
		return "", err
	}
	if len(s.tests.names) == 0 {
		return "the release has no tests: nothing was used", nil
	}
	for _, name := range s.tests.names {
		if said, err := s.tests.run(ctx, name, with); err != nil {
			return "", serviceforge.Wrap(err, serviceforge.Unprocessable, "test/%s: %v\n%s", name, err, said)
		}
	}
	return fmt.Sprintf("%d of test/ passed", len(s.tests.names)), nil
}

func (s *trying) update(ctx context.Context, p tried) (string, error) {
	accepted, err := s.client.Update(ctx, trialInstance, admin.UpdateOrder{PlanID: p.next.ID})
	if err == nil {
		err = s.wait(ctx, accepted, serviceforge.Update)
	}
	return "to " + p.next.Name, err
}

// unbind ends one of two bindings. Where each has credentials of its own, those
// of the first must be refused from now on, and the others be as good as before.
func (s *trying) unbind(ctx context.Context, p tried, credentials, others json.RawMessage) (string, error) {
	unbound, err := s.client.Unbind(ctx, trialInstance, trialApp)
	if err != nil {
		return "", err
	}
	said := "the release has no tests: whether credentials are refused was not tried"
	switch {
	case unbound.UserStays:
		said = "its user goes later, with an update or when the service answers: not looked at"
	case bytes.Equal(credentials, others):
		said = "credentials are the same for all bindings: nothing to revoke"
	case len(s.tests.names) > 0:
		if _, err := s.use(ctx, p, credentials); err == nil {
			return "", serviceforge.Errorf(serviceforge.Unprocessable, "the credentials of an unbound app still work")
		} else if ctx.Err() != nil {
			return "", err
		}
		if _, err := s.use(ctx, p, others); err != nil {
			return "", serviceforge.Wrap(err, serviceforge.CodeOf(err), "the end of one binding disturbs another: %s", serviceforge.MessageOf(err))
		}
		said = "its credentials are refused, those of another app are not"
	}
	_, err = s.client.Unbind(ctx, trialInstance, trialOther)
	return said, err
}

func (s *trying) remove(ctx context.Context) (string, error) {
	accepted, err := s.client.Delete(ctx, trialInstance)
	if err == nil {
		err = s.wait(ctx, accepted, serviceforge.Deprovision)
	}
	return "with its data", err
}

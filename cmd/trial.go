package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/admin"
	"github.com/serviceforge/serviceforge/catalog"
	"github.com/serviceforge/serviceforge/config"
	"github.com/serviceforge/serviceforge/demo"
)

// trial is a run of `serviceforge test`: a service release on a director and a
// broker of its own, which are gone at the end.
type trial struct {
	plans      []string
	all, keep  bool
	parameters string
	timeout    time.Duration
}

func newTestCommand() *cobra.Command {
	t := &trial{}
	command := &cobra.Command{
		Use:   "test DIR|FILE",
		Short: "Deploy a service release on this machine, use it by its own tests, and remove it",
		Long: `Start a broker and a director for nobody else, with no feature that the release
does not ask for in requires_pool, install the release, and for its first plan:
create an instance, bind it, run every file in test/ with the credentials in the
environment, update it to another plan where one may follow, run test/ again,
unbind, see that the credentials are refused where each binding has its own, and
delete. Everything is removed at the end, also by Ctrl-C. Ends with 1 if a step fails.

A test is an executable file; it ends with 0 if the service is as it should be.
It finds VCAP_SERVICES as apps do, CREDENTIALS (the credentials as JSON), each of
them that is a text, number or boolean by itself (CREDENTIALS_URI,
CREDENTIALS_HOST…), and PLAN.`,
		Example: `  serviceforge test .
  serviceforge test . --plan small -c '{"greeting": "good day"}'
  serviceforge test serviceforge-kv-1.0.0.tgz --all-plans`,
		Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			return t.run(command.Context(), args[0], command.OutOrStdout(), command.ErrOrStderr())
		},
	}
	flags := command.Flags()
	flags.StringArrayVar(&t.plans, "plan", nil, "`PLAN`, or SERVICE/PLAN, to test; may be given several times (default: the first)")
	flags.BoolVar(&t.all, "all-plans", false, "test every plan")
	flags.StringVarP(&t.parameters, "parameters", "c", "", "parameters of the create: a `JSON` object, or @FILE")
	flags.DurationVar(&t.timeout, "timeout", 10*time.Minute, "how long one step may take")
	flags.BoolVar(&t.keep, "keep", false, "stop before unbinding, or where a step fails, and leave all of it running until Ctrl-C")
	return command
}

// tried is a plan that is tested.
type tried struct {
	offering catalog.Offering
	plan     catalog.Plan
	next     *catalog.Plan // the one that it is updated to; nil = none
}

// both are the plans that an instance has.
func (p tried) both() []catalog.Plan {
	if p.next == nil {
		return []catalog.Plan{p.plan}
	}
	return []catalog.Plan{p.plan, *p.next}
}

func (t *trial) run(ctx context.Context, name string, out, side io.Writer) error {
	began := time.Now()
	parameters, err := parametersFlag(t.parameters)
	if err != nil {
		return err
	}
	release, err := openRelease(ctx, name)
	if err != nil {
		return err
	}
	defer release.close()
	plans, err := t.choose(release.Offerings())
	if err != nil {
		return serviceforge.Wrap(err, serviceforge.CodeOf(err), "%s; it has %s", serviceforge.MessageOf(err), strings.Join(release.Plans(), ", "))
	}
	tests, err := copyTests(release.files)
	if err != nil {
		return err
	}
	defer tests.remove()
	c := demoDefaults()
	c.BOSH.Network = freeNetwork()
	c.BOSH.ConfigServer, c.BOSH.LocalDNS = release.RequiresPool()
	if c.Pools, err = trialPools(tests.dir, plans); err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler) // what fails is told by the step
	if t.keep {
		log = c.Log.Logger(side)
	}
	app := New(c, Parts{Etcd: true, BOSH: true, Web: true}, log)
	if err := app.Start(ctx); err != nil {
		return err
	}
	s := &trying{trial: t, tests: tests, parameters: parameters, state: app.config.State, out: out, side: side}
	err = s.all(ctx, app, name, plans, began)
	if t.keep && ctx.Err() == nil {
		if err != nil {
			_, _ = fmt.Fprintln(out, err)
		}
		app.greet(out, time.Since(began))
		err = errors.Join(err, app.Wait(ctx))
	}
	if err := s.clean(ctx, app, err); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "%s is fine: %d of %d plans tested in %s.\n", release.Ref(), len(plans), len(release.Plans()),
		time.Since(began).Round(10*time.Millisecond))
	return nil
}

// clean removes everything, whatever err came before, and makes sure of it.
func (s *trying) clean(ctx context.Context, app *App, err error) error {
	began := time.Now()
	err = errors.Join(err, app.Stop(context.WithoutCancel(ctx)), demo.Gone(s.state))
	if err == nil {
		s.say("clean up", began, "everything is stopped and removed")
	}
	return err
}

// choose finds the plans to test. Errors: NotFound.
func (t *trial) choose(offerings []catalog.Offering) (out []tried, err error) {
	var all []tried
	for _, o := range offerings {
		for i, p := range o.Plans {
			all = append(all, tried{o, p, successor(o, i)})
		}
	}
	switch {
	case t.all:
		return all, nil
	case len(t.plans) == 0:
		return all[:1], nil
	}
	for _, name := range t.plans {
		i := slices.IndexFunc(all, func(p tried) bool { return name == p.plan.Name || name == p.offering.Name+"/"+p.plan.Name })
		if i < 0 {
			return nil, serviceforge.Errorf(serviceforge.NotFound, "the release has no plan %q", name)
		}
		out = append(out, all[i])
	}
	return out, nil
}

// successor is the plan that the i-th may be updated to: the first that its
// update_to names, or the one behind it.
func successor(o catalog.Offering, i int) *catalog.Plan {
	p := o.Plans[i]
	if p.PlanUpdateable != nil && !*p.PlanUpdateable || p.PlanUpdateable == nil && !o.PlanUpdateable {
		return nil
	}
	for n := range o.Plans {
		if n != i && (p.UpdateTo == nil && n == i+1 || len(p.UpdateTo) > 0 && o.Plans[n].ID == p.UpdateTo[0]) {
			return &o.Plans[n]
		}
	}
	return nil
}

// all tests plan after plan, to the first that fails.
func (s *trying) all(ctx context.Context, app *App, name string, plans []tried, began time.Time) error {
	url, token, err := readEndpoint(s.state)
	if err != nil {
		return err
	}
	s.client = &admin.Client{URL: url, Token: token}
	s.say("start", began, "a broker and a director"+features(app.config))
	err = s.step(ctx, "install", func(ctx context.Context) (string, error) { return s.install(ctx, name) })
	if err == nil && app.warming(ctx) {
		_, _ = fmt.Fprintln(s.side, rubyIsCompiled)
	}
	if err == nil {
		err = app.director.AwaitRenderer(ctx)
	}
	for n, p := range plans {
		if err != nil {
			break
		}
		if err = s.one(ctx, p, n == len(plans)-1); err != nil {
			showLogs(s.out, s.state)
			err = serviceforge.Wrap(err, serviceforge.CodeOf(err), "plan %s: %s", p.plan.Name, serviceforge.MessageOf(err))
		}
	}
	if ctx.Err() != nil {
		return serviceforge.Wrap(ctx.Err(), serviceforge.Unavailable, "the test was given up")
	}
	return err
}

func features(c config.Config) string {
	var have []string
	if c.BOSH.ConfigServer {
		have = append(have, "config server")
	}
	if c.BOSH.LocalDNS {
		have = append(have, "local DNS")
	}
	if len(have) == 0 {
		return " without extras"
	}
	return " with " + strings.Join(have, " and ")
}

// environment is what tests are run with.
func environment(p tried, credentials json.RawMessage) ([]string, error) {
	var values map[string]any
	dec := json.NewDecoder(strings.NewReader(string(credentials)))
	dec.UseNumber()
	if err := dec.Decode(&values); err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Internal, "the credentials cannot be read")
	}
	services, err := json.Marshal(map[string]any{p.offering.Name: []any{map[string]any{
		"name": trialInstance, "instance_name": trialInstance, "binding_name": nil, "label": p.offering.Name, "plan": p.plan.Name,
		"tags": p.offering.Tags, "credentials": credentials,
	}}})
	if err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Internal, "the credentials cannot be written")
	}
	out := []string{"VCAP_SERVICES=" + string(services), "CREDENTIALS=" + string(credentials), "PLAN=" + p.plan.Name}
	for name, value := range values {
		switch value := value.(type) {
		case string, json.Number, bool:
			out = append(out, fmt.Sprintf("CREDENTIALS_%s=%v", variableName(name), value))
		}
	}
	return out, nil
}

// variableName writes a name as shells want those of variables.
func variableName(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToUpper(name))
}

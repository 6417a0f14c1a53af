package cmd

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/serviceforge/serviceforge"
	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
	"github.com/serviceforge/serviceforge/releases"
	"github.com/serviceforge/serviceforge/releases/archive"
	"github.com/serviceforge/serviceforge/releases/authoring"
	"github.com/serviceforge/serviceforge/releases/spiff"
	"github.com/serviceforge/serviceforge/releases/validate"
)

// authored is a service release that a command for authors works on, offline.
type authored struct {
	*releases.Release
	files *archive.Opened
	spiff *spiff.Renderer
}

// openRelease opens a folder or a packed release; call close behind it.
func openRelease(ctx context.Context, name string) (*authored, error) {
	files, err := archive.Open(ctx, name, "")
	if err != nil {
		return nil, err
	}
	release, err := releases.Load(files)
	if err != nil {
		_ = files.Close()
		return nil, err
	}
	return &authored{Release: release, files: files, spiff: spiff.New("/proc/self/exe", nil)}, nil
}

func (a *authored) close() {
	_ = a.spiff.Close()
	_ = a.files.Close()
}

// readPools reads pool files; a password in them may be missing.
func readPools(names []string) (out []pools.Pool, err error) {
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, serviceforge.Wrap(err, serviceforge.NotFound, "the pool file %s cannot be read", name)
		}
		pool, err := pools.Parse(text)
		if err != nil {
			return nil, serviceforge.Wrap(err, serviceforge.Invalid, "%s: %s", name, serviceforge.MessageOf(err))
		}
		out = append(out, pool)
	}
	return out, nil
}

// authoringCommand makes a command that opens the release named first.
func authoringCommand(command *cobra.Command, run func(command *cobra.Command, a *authored, args []string) error) *cobra.Command {
	command.RunE = func(command *cobra.Command, args []string) error {
		a, err := openRelease(command.Context(), args[0])
		if err != nil {
			return err
		}
		defer a.close()
		return run(command, a, args[1:])
	}
	return command
}

func newValidateCommand() *cobra.Command {
	var asJSON bool
	var poolFiles []string
	command := authoringCommand(&cobra.Command{
		Use:   "validate DIR|FILE",
		Short: "Look for mistakes in a service release, offline",
		Long: `Look for what BOSH would not tell: unknown keys, properties that no job knows,
links that nothing provides, stub keys that are dropped, values that YAML 1.1
reads otherwise, parameters that are not used; and whether the BOSH releases can
be built: packages and properties that job templates use, files of packages. Every plan is rendered twice on
every pool; without --pool, on one that has all sizes and stemcells asked for.
Ends with 1 if there is an error.`,
		Example: `  serviceforge validate .
  serviceforge validate serviceforge-redis-1.0.0.tgz --pool lab.yml --pool aws.yml --json`,
		Args: cobra.ExactArgs(1),
	}, func(command *cobra.Command, a *authored, _ []string) error {
		on, err := readPools(poolFiles)
		if err != nil {
			return err
		}
		findings, err := validate.Release(command.Context(), a.spiff, a.Release, a.files, on)
		if err != nil {
			return err
		}
		if err := authoring.Buildable(command.Context(), a.files, a.Release); err != nil {
			findings = append(findings, validate.Finding{Level: "error", Where: "source", Message: serviceforge.MessageOf(err)})
		}
		return showFindings(command, a, findings, asJSON)
	})
	command.Flags().StringArrayVar(&poolFiles, "pool", nil, "pool `FILE` to render for; may be given several times")
	command.Flags().BoolVar(&asJSON, "json", false, "print the findings as JSON")
	return command
}

func showFindings(command *cobra.Command, a *authored, findings []validate.Finding, asJSON bool) error {
	out := command.OutOrStdout()
	errors := 0
	table := newTable("level", "where", "what")
	for _, f := range merged(findings) {
		colour := yellow
		if f.Level == "error" {
			colour, errors = red, errors+1
		}
		table.add(cell{f.Level, colour}, text(f.Where), text(f.Message))
	}
	if asJSON {
		if findings == nil {
			findings = []validate.Finding{}
		}
		if err := writeJSON(out, findings); err != nil {
			return err
		}
	} else {
		if len(findings) > 0 {
			if err := table.write(out, (&clientEnv{}).colourful(out)); err != nil {
				return err
			}
		}
		if errors == 0 {
			command.Printf("%s is valid: %d plans, %d warnings\n", a.Ref(), len(a.Plans()), len(findings))
		}
	}
	if errors > 0 {
		return errShown
	}
	return nil
}

// merged says once what is found in several places, for example in each plan.
func merged(findings []validate.Finding) (out []validate.Finding) {
	places := map[string]int{}
	for _, f := range findings {
		places[f.Level+f.Message]++
	}
	for _, f := range findings {
		n := places[f.Level+f.Message]
		if n == 0 {
			continue
		}
		places[f.Level+f.Message] = 0
		if n > 1 {
			f.Where += fmt.Sprintf(" and %d more", n-1)
		}
		out = append(out, f)
	}
	return out
}

func newRenderCommand() *cobra.Command {
	var plan, poolFile, params, format string
	command := authoringCommand(&cobra.Command{
		Use:   "render DIR|FILE --plan PLAN",
		Short: "Show the manifest of a plan on a pool, offline",
		Long: `Show what would be deployed for a plan, on a pool, with parameters. Secrets are
redacted; with --format bosh they are ((references)) with variables:, and the
manifest can be deployed with bosh deploy. A block of 2014 shows its v1 manifest.`,
		Example: `  serviceforge render . --plan 3-servers --pool lab.yml --params '{"prefix":"/mine"}'
  serviceforge render . --plan 3-servers --pool lab.yml --format bosh | bosh -d etcd-sample deploy -`,
		Args: cobra.ExactArgs(1),
	}, func(command *cobra.Command, a *authored, _ []string) error {
		if format != "yaml" && format != "bosh" {
			return serviceforge.Errorf(serviceforge.Invalid, "--format is yaml or bosh")
		}
		if plans := a.Plans(); plan == "" && len(plans) == 1 {
			plan = plans[0]
		} else if plan == "" {
			return serviceforge.Errorf(serviceforge.Invalid, "which plan? Name it with --plan: %s", strings.Join(plans, ", "))
		}
		pool, err := poolOrLocal(poolFile)
		if err != nil {
			return err
		}
		in, err := a.Sample(plan, pool, []byte(params))
		if err != nil {
			return err
		}
		manifest, err := a.Offline(command.Context(), a.spiff, in, format == "bosh")
		if err != nil {
			return withDetail(err)
		}
		_, err = command.OutOrStdout().Write(manifest)
		return err
	})
	command.Flags().StringVar(&plan, "plan", "", "`PLAN`, or SERVICE/PLAN; needed where there are several")
	command.Flags().StringVar(&poolFile, "pool", "", "pool `FILE` (default: the pool of serviceforge dev)")
	command.Flags().StringVar(&params, "params", "", "parameters, as a `JSON` object")
	command.Flags().StringVar(&format, "format", "yaml", "yaml, or bosh for a manifest to deploy by hand")
	return command
}

// withDetail shows an author the cause, which is theirs.
func withDetail(err error) error {
	return serviceforge.Wrap(err, serviceforge.CodeOf(err), "%s", serviceforge.DetailOf(err))
}

func poolOrLocal(name string) (pools.Pool, error) {
	if name == "" {
		return pools.Local()
	}
	read, err := readPools([]string{name})
	if err != nil {
		return pools.Pool{}, err
	}
	return read[0], nil
}

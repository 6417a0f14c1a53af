package cmd

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/serviceforge/serviceforge/config"
)

func newEnvCommand() *cobra.Command {
	var state string
	command := &cobra.Command{
		Use:   "env",
		Short: "Print shell exports for the bosh CLI, eden and serviceforge itself",
		Example: `  eval "$(serviceforge env)"
  eval "$(serviceforge env --state DIR)" && bosh deployments`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return printEnv(command.OutOrStdout(), state)
		},
	}
	command.Flags().StringVar(&state, "state", config.DefaultState(), "state folder `DIR` of a dev")
	return command
}

func printEnv(out io.Writer, state string) error {
	var b brokerEndpoint
	if err := readEndpointFile(state, brokerFile, &b); err != nil {
		return err
	}
	var d directorEndpoint
	if err := readEndpointFile(state, directorFile, &d); err != nil {
		return err
	}
	token, err := os.ReadFile(filepath.Join(state, tokenFile))
	if err != nil {
		return err
	}
	for _, v := range [][2]string{
		{"BOSH_ENVIRONMENT", d.URL}, {"BOSH_CA_CERT", d.CAFile}, {"BOSH_CLIENT", d.Client}, {"BOSH_CLIENT_SECRET", d.Secret},
		{"SB_BROKER_URL", b.URL}, {"SB_BROKER_USERNAME", b.Username}, {"SB_BROKER_PASSWORD", b.Password},
		{"SERVICEFORGE_TOKEN", strings.TrimSpace(string(token))},
	} {
		if _, err := fmt.Fprintf(out, "export %s=%s\n", v[0], quoted(v[1])); err != nil {
			return err
		}
	}
	return nil
}

// quoted makes one word of a shell.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

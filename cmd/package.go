package cmd

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/releases"
	"github.com/serviceforge/serviceforge/releases/authoring"
)

func newPackageCommand() *cobra.Command {
	var output string
	command := &cobra.Command{
		Use:   "package [DIR]",
		Short: "Pack a service release for a real director",
		Long: `Pack a service release, with its BOSH releases, into one file. Without DIR it is
the etcd release that comes with ServiceForge: its package holds this very
program, which therefore must be statically linked.`,
		Example: `  serviceforge package -o serviceforge-etcd-1.0.0.tgz`,
		Args:    cobra.MaximumNArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			files := releases.Etcd()
			if len(args) == 1 {
				files = os.DirFS(args[0])
			}
			release, err := releases.Load(files)
			if err != nil {
				return err
			}
			if output == "" {
				output = "serviceforge-" + strings.ReplaceAll(release.Ref(), "/", "-") + ".tgz"
			}
			if err := writePackage(command.Context(), files, output); err != nil {
				return err
			}
			_, err = fmt.Fprintln(command.OutOrStdout(), "wrote", output)
			return err
		},
	}
	command.Flags().StringVarP(&output, "output", "o", "", "`FILE` to write (default serviceforge-NAME-VERSION.tgz)")
	return command
}

// writePackage writes the file completely or not at all.
func writePackage(ctx context.Context, files fs.FS, output string) error {
	unwritable := func(err error) error {
		return serviceforge.Wrap(err, serviceforge.Unprocessable, "%s cannot be written: %v", output, reason(err))
	}
	file, err := os.CreateTemp(filepath.Dir(output), ".package-*")
	if err != nil {
		return unwritable(err)
	}
	defer func() { _ = os.Remove(file.Name()) }()
	err = authoring.Package(ctx, files, "/proc/self/exe", file)
	if closing := file.Close(); err == nil && closing != nil {
		err = unwritable(closing)
	}
	if err != nil {
		return err
	}
	if err := os.Rename(file.Name(), output); err != nil {
		return unwritable(err)
	}
	return nil
}

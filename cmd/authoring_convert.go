package cmd

import (
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/releases/authoring"
)

func newConvertCommand() *cobra.Command {
	var network string
	var versions map[string]string
	command := authoringCommand(&cobra.Command{
		Use:   "convert DIR NEW-DIR",
		Short: "Write a service release of 2014 in the form of today",
		Long: `Write a block of 2014, whose v1 manifests no director takes any more, in the form
of today: jobs become instance groups, templates jobs; resource pools, networks
and compilation go to a cloud config beside it. What a person has to look at is
told. Blocks with static networks need the network file of one of their pools.`,
		Example: `  serviceforge convert old/ new/ --network infrastructure_pools/warden/10.244.2.0.yml --release etcd=2.0.0`,
		Args:    cobra.ExactArgs(2),
	}, func(command *cobra.Command, a *authored, args []string) error {
		var text []byte
		if network != "" {
			var err error
			if text, err = os.ReadFile(network); err != nil {
				return serviceforge.Wrap(err, serviceforge.NotFound, "%s cannot be read", network)
			}
		}
		converted, err := authoring.Convert(command.Context(), a.spiff, a.Release, a.files, text, versions)
		if err != nil {
			return err
		}
		if err := writeNew(args[0], converted.Files); err != nil {
			return err
		}
		for _, note := range converted.Notes {
			command.Println("note:", note)
		}
		command.Printf("wrote %d files to %s; check them with: serviceforge validate %s\n", len(converted.Files), args[0], args[0])
		return nil
	})
	command.Flags().StringVar(&network, "network", "", "network `FILE` of a pool of that time")
	command.Flags().StringToStringVar(&versions, "release", nil, "`NAME=VERSION` of a BOSH release that had none")
	return command
}

// writeNew writes files into a folder that has nothing yet.
func writeNew(dir string, files map[string][]byte) error {
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return serviceforge.Errorf(serviceforge.Conflict, "%s is not empty: name another folder", dir)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path, mode := filepath.Join(dir, name), os.FileMode(0o644)
		if filepath.Dir(name) == "test" {
			mode = 0o755
		}
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if err == nil {
			err = os.WriteFile(path, files[name], mode)
		}
		if err != nil {
			return serviceforge.Wrap(err, serviceforge.Unprocessable, "%s cannot be written: %v", path, reason(err))
		}
	}
	return nil
}

func newDiffCommand() *cobra.Command {
	var poolFile string
	var asJSON bool
	command := authoringCommand(&cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Show what an upgrade from one service release to another changes",
		Long: `Show what differs between two service releases (folders or files): the catalog,
and the manifest of every plan on a pool. Secrets are redacted.`,
		Example: `  serviceforge diff serviceforge-redis-1.0.0.tgz . --pool lab.yml`,
		Args:    cobra.ExactArgs(2),
	}, func(command *cobra.Command, before *authored, args []string) error {
		after, err := openRelease(command.Context(), args[0])
		if err != nil {
			return err
		}
		defer after.close()
		pool, err := poolOrLocal(poolFile)
		if err != nil {
			return err
		}
		changes, err := authoring.Diff(command.Context(), before.spiff, before.Release, after.Release, pool)
		if err != nil {
			return withDetail(err)
		}
		out := command.OutOrStdout()
		if asJSON {
			return writeJSON(out, changes)
		}
		table := newTable("what", "old", "new")
		for _, c := range changes {
			table.add(text(c.What), cell{c.Old, red}, cell{c.New, green})
		}
		if len(changes) == 0 {
			command.Println("nothing differs")
			return nil
		}
		return table.write(out, (&clientEnv{}).colourful(out))
	})
	command.Flags().StringVar(&poolFile, "pool", "", "pool `FILE` (default: the pool of serviceforge dev)")
	command.Flags().BoolVar(&asJSON, "json", false, "print the changes as JSON")
	return command
}

func newGenerateCommand() *cobra.Command {
	group := &cobra.Command{
		Use:     "generate",
		Short:   "Write something new to begin with",
		Example: "  serviceforge generate service kv",
	}
	var dir string
	service := &cobra.Command{
		Use:   "service NAME",
		Short: "Write a complete service release to begin with",
		Long: `Write a complete service release: service.yml, templates, a BOSH release with one
job, and a test. It is valid as it is; put your server into it.`,
		Example: "  serviceforge generate service kv\n  serviceforge validate kv",
		Args:    cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			files, err := authoring.Generate(args[0])
			if err != nil {
				return err
			}
			if dir == "" {
				dir = args[0]
			}
			if err := writeNew(dir, files); err != nil {
				return err
			}
			command.Printf("wrote %d files to %s; next: serviceforge validate %s\n", len(files), dir, dir)
			return nil
		},
	}
	service.Flags().StringVar(&dir, "dir", "", "`FOLDER` to write to (default: NAME)")
	group.AddCommand(service)
	return group
}

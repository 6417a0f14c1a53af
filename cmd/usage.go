package cmd

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/serviceforge/serviceforge"
)

// groups are the parts of the program's help, in the order of the days on which
// somebody needs them. A command that is in none is a mistake, which panics.
var groups = []struct{ title, commands string }{
	{"Try it", "demo dev env"},
	{"Service instances", "catalog create-service services service bind unbind update-service upgrade delete-service"},
	{"Write a service release", "generate validate render diff test package convert"},
	{"Operate a broker", "serve bosh etcd install releases uninstall explain history repair pools cordon uncordon drain quota engine orphans sweep token keys"},
}

// arrange puts the commands below root into groups, in their order.
func arrange(root *cobra.Command) {
	cobra.EnableCommandSorting = false
	commands := map[string]*cobra.Command{}
	for _, command := range root.Commands() {
		commands[command.Name()] = command
		root.RemoveCommand(command)
	}
	for _, g := range groups {
		root.AddGroup(&cobra.Group{ID: g.title, Title: g.title + ":"})
		for name := range strings.FieldsSeq(g.commands) {
			command := commands[name]
			delete(commands, name)
			command.GroupID = g.title
			root.AddCommand(command)
		}
	}
	for name := range commands {
		panic("the command " + name + " is in no group")
	}
	root.SetHelpCommandGroupID(groups[0].title)
}

// sayUsage has command, and those below it, answer wrong arguments and flags
// with what they take.
func sayUsage(command *cobra.Command) {
	command.SetFlagErrorFunc(func(command *cobra.Command, err error) error {
		if command.HasSubCommands() { // a wrong command with flags that the right one would have
			if err := unknown(command, command.Flags().Args()); err != nil {
				return err
			}
		}
		return serviceforge.Wrap(err, serviceforge.Invalid, "%v (`%s --help` shows the flags)", err, command.CommandPath())
	})
	for _, sub := range command.Commands() {
		sayUsage(sub)
	}
	if command.HasSubCommands() {
		if !command.Runnable() { // else cobra takes a wrong subcommand for a question
			command.RunE, command.DisableFlagsInUseLine = func(command *cobra.Command, _ []string) error { return command.Help() }, true
		}
		command.Args = func(command *cobra.Command, args []string) error { return unknown(command, args) }
		return
	}
	check := command.Args
	if check == nil {
		return
	}
	command.Args = func(command *cobra.Command, args []string) error {
		if check(command, args) == nil {
			return nil
		}
		return serviceforge.Errorf(serviceforge.Invalid, "%s takes %s, and %s given (`%s --help` shows examples)",
			command.Name(), wanted(command), count(len(args)), command.CommandPath())
	}
}

// unknown is the error of a subcommand that there is not; nil without args.
func unknown(command *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	command.SuggestionsMinimumDistance = 2 // letters
	if similar := command.SuggestionsFor(args[0]); len(similar) > 0 {
		hint = "; did you mean " + strings.Join(similar, " or ") + "?"
	}
	return serviceforge.Errorf(serviceforge.Invalid, "there is no command %q of %s%s (`%s --help` lists them)", args[0], command.CommandPath(), hint, command.CommandPath())
}

// wanted are the words behind the name in command's usage, without flags.
func wanted(command *cobra.Command) string {
	_, words, _ := strings.Cut(command.Use, " ")
	words, _, _ = strings.Cut(words, " --")
	if words == "" {
		return "no argument"
	}
	return words
}

func count(n int) string {
	switch n {
	case 0:
		return "none was"
	case 1:
		return "one was"
	}
	return fmt.Sprintf("%d were", n)
}

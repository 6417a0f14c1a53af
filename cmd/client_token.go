package cmd

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jdxcode/netrc"
	"github.com/spf13/cobra"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/admin"
)

func newTokenCommand(env *clientEnv) *cobra.Command {
	group := &cobra.Command{
		Use:   "token",
		Short: "Make, list and revoke operator tokens",
		Long: "Make, list and revoke operator tokens. Each has a role:\n\n" +
			"  viewer    looks, at everything but credentials\n" +
			"  operator  changes instances, bindings and pools\n" +
			"  admin     hands out tokens and keys, and answers for what is not ours\n\n" +
			"The first one is made by `serviceforge dev`, or by `serviceforge serve --bootstrap`, in the file token of the state folder.\n" +
			"A token is taken from --token, $" + tokenVariable + ", the password in ~/.netrc for the broker's host, or that file.",
		Example:       "  serviceforge token create \"Ada's laptop\" --role operator --expires 90d\n  serviceforge token list\n  serviceforge token revoke 3",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	group.AddCommand(newTokenCreateCommand(env), newTokenListCommand(env), newTokenRevokeCommand(env))
	return group
}

func newTokenCreateCommand(env *clientEnv) *cobra.Command {
	var role, expires string
	command := showing(env, &cobra.Command{
		Use:     "create DESCRIPTION",
		Short:   "Make a token and print it; it is shown this once only",
		Example: "  serviceforge token create \"Ada's laptop\" --role operator --expires 90d\n  serviceforge token create prometheus --role viewer --expires never",
		Args:    cobra.ExactArgs(1),
	}, func(ctx context.Context, client *admin.Client, args []string) (admin.NewToken, error) {
		life, err := lifeOf(expires)
		if err != nil {
			return admin.NewToken{}, err
		}
		return client.CreateToken(ctx, admin.TokenOrder{Description: args[0], Role: serviceforge.Role(role), Expires: life})
	}, func(_ context.Context, r reader, made admin.NewToken) error {
		_, err := fmt.Fprintln(r.out, printable(made.Secret))
		return err
	})
	command.Flags().StringVar(&role, "role", string(serviceforge.Viewer), "viewer, operator or admin")
	command.Flags().StringVar(&expires, "expires", "90d", "how long it is valid, such as 12h or 90d, or never")
	return command
}

// lifeOf turns what people write ("90d", "12h", "never") into what the broker
// takes: a Go duration, "" for never.
func lifeOf(expires string) (string, error) {
	if expires == "never" {
		return "", nil
	}
	if days, found := strings.CutSuffix(expires, "d"); found {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil && n > 0 {
			return (time.Duration(n) * 24 * time.Hour).String(), nil
		}
	}
	if life, err := time.ParseDuration(expires); err == nil && life > 0 {
		return life.String(), nil
	}
	return "", serviceforge.Errorf(serviceforge.Invalid, "--expires %s: say 12h, 90d or never", expires)
}

func newTokenListCommand(env *clientEnv) *cobra.Command {
	return showing(env, &cobra.Command{
		Use:     "list",
		Short:   "List the tokens: role, end, last use",
		Example: "  serviceforge token list\n  serviceforge token list --json",
		Args:    cobra.NoArgs,
	}, func(ctx context.Context, client *admin.Client, _ []string) ([]admin.Token, error) {
		return client.Tokens(ctx)
	}, func(_ context.Context, r reader, all []admin.Token) error {
		table := newTable("number", "role", "description", "made", "by", "expires", "last used")
		for i := range all {
			t := &all[i]
			end := cell{dayOf(t.ExpiresAt, "never"), plain}
			if t.Expired {
				end = cell{end.text + " (expired)", red}
			}
			table.add(text(strconv.Itoa(t.Number)), text(string(t.Role)), text(t.Description), text(dayOf(t.CreatedAt, "")), text(t.CreatedBy),
				end, text(dayOf(t.LastUsed, "never")))
		}
		return table.write(r.out, r.colour)
	})
}

func dayOf(t time.Time, none string) string {
	if t.IsZero() {
		return none
	}
	return t.Local().Format("2006-01-02 15:04")
}

func newTokenRevokeCommand(env *clientEnv) *cobra.Command {
	command := &cobra.Command{
		Use:           "revoke NUMBER",
		Short:         "End a token: every broker refuses it within seconds",
		Example:       "  serviceforge token revoke 3",
		Args:          cobra.ExactArgs(1),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	connection := connectionFlags(command, env)
	command.RunE = func(command *cobra.Command, args []string) error {
		name, _, _ := strings.Cut(args[0], "-") // who pastes the whole token means its number
		number, err := strconv.Atoi(name)
		if err != nil {
			return serviceforge.Errorf(serviceforge.Invalid, "name the token by its number (`serviceforge token list`)")
		}
		client, err := connection.client()
		if err != nil {
			return err
		}
		if err := client.RevokeToken(command.Context(), number); err != nil {
			if serviceforge.CodeOf(err) == serviceforge.NotFound {
				return serviceforge.Wrap(err, serviceforge.NotFound, "%s (`serviceforge token list` shows them)", err.Error())
			}
			return connection.explain(client, err)
		}
		_, err = fmt.Fprintf(command.OutOrStdout(), "token %d is revoked\n", number)
		return err
	}
	return command
}

// netrcToken is the password that $NETRC, else ~/.netrc, has for the broker's
// host (with port, else without); empty if there is none.
func (e *clientEnv) netrcToken(broker string) (serviceforge.Secret, error) {
	address, err := url.Parse(broker)
	if err != nil || address.Host == "" {
		return serviceforge.Secret{}, nil // what is wrong with the URL is told when it is used
	}
	path := e.env("NETRC")
	if path == "" {
		path = filepath.Join(e.env("HOME"), ".netrc")
	}
	if _, err := os.Stat(path); err != nil {
		return serviceforge.Secret{}, nil
	}
	file, err := netrc.Parse(path)
	if err != nil {
		return serviceforge.Secret{}, serviceforge.Wrap(err, serviceforge.Invalid, "%s cannot be read as a netrc file", path)
	}
	for _, host := range []string{address.Host, address.Hostname()} {
		if machine := file.Machine(host); machine != nil {
			return serviceforge.NewSecret(machine.Get("password")), nil
		}
	}
	return serviceforge.Secret{}, nil
}

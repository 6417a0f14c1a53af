package cmd

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/admin"
	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
)

// The environment variables that are looked at; `serviceforge env` exports the
// first two.
const (
	urlVariable   = "SB_BROKER_URL"
	tokenVariable = "SERVICEFORGE_TOKEN"
	caVariable    = "SERVICEFORGE_CA_CERT"
	certVariable  = "SERVICEFORGE_CLIENT_CERT"
	keyVariable   = "SERVICEFORGE_CLIENT_KEY"
	stateVariable = "SERVICEFORGE_STATE"
)

// clientEnv is what the commands that talk to a running broker need from
// outside. They never open etcd.
type clientEnv struct {
	getenv func(string) string // nil = os.Getenv
	// readEndpoint finds the broker of a running `serviceforge dev` by its state folder.
	readEndpoint func(stateDir string) (url string, token serviceforge.Secret, err error)
	// defaultState is the state folder where none is named.
	defaultState func() string
	stdin        io.Reader // for confirmations; nil = os.Stdin
}

// addClientCommands adds the commands that talk to a running broker to root.
func addClientCommands(root *cobra.Command, env *clientEnv) {
	root.AddCommand(
		newCatalogCommand(env),
		newCreateServiceCommand(env),
		newUpdateServiceCommand(env),
		newInstallCommand(env),
		newReleasesCommand(env),
		newUninstallCommand(env),
		newUpgradeCommand(env),
		newServicesCommand(env),
		newServiceCommand(env),
		newBindCommand(env),
		newUnbindCommand(env),
		newDeleteServiceCommand(env),
		newHistoryCommand(env),
		newPoolsCommand(env),
		newPoolStateCommand(env, "cordon", "Let no new instances into a pool", pools.Cordoned, "takes no new instances"),
		newPoolStateCommand(env, "uncordon", "Let new instances into a pool again", pools.Active, "takes new instances"),
		newPoolStateCommand(env, "drain", "Let no new instances into a pool that is to be emptied", pools.Draining, "takes no new instances; what it has is to leave it"),
		newQuotaCommand(env),
		newOrphansCommand(env),
		newSweepCommand(env),
		newExplainCommand(env),
		newRepairCommand(env),
		newEngineCommand(env),
		newTokenCommand(env),
		newKeysCommand(env),
	)
}

// connection holds the flags that say which broker is meant.
type connection struct {
	env                   *clientEnv
	url, token, state, ca string
}

// connectionFlags adds --url, --token and --state to a command.
func connectionFlags(command *cobra.Command, env *clientEnv) *connection {
	c := &connection{env: env}
	command.Flags().StringVar(&c.url, "url", "", "URL of the broker (default $"+urlVariable+", else the running dev's)")
	command.Flags().StringVar(&c.token, "token", "", "operator token; prefer $"+tokenVariable+", which no process list shows")
	command.Flags().StringVar(&c.state, "state", "", "state folder `DIR` of a running dev")
	command.Flags().StringVar(&c.ca, "ca-cert", "", "PEM `FILE` that the broker's certificate is checked against (default $"+caVariable+", else the system's)")
	return c
}

func (e *clientEnv) env(name string) string {
	if e.getenv == nil {
		return os.Getenv(name)
	}
	return e.getenv(name)
}

// client finds the broker: by --url and --token, by --state, by the
// environment, or by the default state folder, in this order.
func (c *connection) client() (*admin.Client, error) {
	client, err := c.find()
	if err == nil {
		client.HTTP, err = c.transport()
	}
	return client, err
}

// transport is an HTTP client with the certificates that flags and environment
// name; nil where they name none.
func (c *connection) transport() (*http.Client, error) {
	ca, cert, key := cmp.Or(c.ca, c.env.env(caVariable)), c.env.env(certVariable), c.env.env(keyVariable)
	if ca == "" && cert == "" && key == "" {
		return nil, nil
	}
	settings := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		settings.RootCAs = x509.NewCertPool()
		content, err := os.ReadFile(ca)
		if err != nil || !settings.RootCAs.AppendCertsFromPEM(content) {
			return nil, serviceforge.Wrap(err, serviceforge.Invalid, "%s holds no certificate: name a PEM file with --ca-cert or in %s", ca, caVariable)
		}
	}
	if cert != "" || key != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, serviceforge.Wrap(err, serviceforge.Invalid, "%s and %s do not name a certificate and its key", certVariable, keyVariable)
		}
		settings.Certificates = []tls.Certificate{pair}
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: settings, Proxy: http.ProxyFromEnvironment}}, nil
}

func (c *connection) find() (*admin.Client, error) {
	address, token := c.url, serviceforge.NewSecret(c.token)
	if token.Empty() {
		token = serviceforge.NewSecret(c.env.env(tokenVariable))
	}
	if address == "" && c.state == "" {
		address = c.env.env(urlVariable)
	}
	if address == "" {
		return c.running()
	}
	if token.Empty() {
		var err error
		if token, err = c.env.netrcToken(address); err != nil {
			return nil, err
		}
	}
	if token.Empty() {
		return nil, serviceforge.Errorf(serviceforge.Unauthorized,
			"there is no token for %s: set %s, use --token, or give it as the password of that host in ~/.netrc", address, tokenVariable)
	}
	return &admin.Client{URL: address, Token: token}, nil
}

// running finds the broker of a dev on this machine.
func (c *connection) running() (*admin.Client, error) {
	state := c.state
	if state == "" {
		state = c.env.env(stateVariable)
	}
	if state == "" && c.env.defaultState != nil {
		state = c.env.defaultState()
	}
	if c.env.readEndpoint == nil || state == "" {
		return nil, serviceforge.Errorf(serviceforge.Unavailable, "which broker? Set %s and %s", urlVariable, tokenVariable)
	}
	address, token, err := c.env.readEndpoint(state)
	if serviceforge.CodeOf(err) == serviceforge.Unauthorized && c.token != "" {
		err = nil
	}
	if serviceforge.CodeOf(err) == serviceforge.Unauthorized {
		return nil, err
	}
	if err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Unavailable,
			"no broker was started in %s: start one with `serviceforge dev`, or set %s and %s", state, urlVariable, tokenVariable)
	}
	if c.token != "" {
		token = serviceforge.NewSecret(c.token)
	}
	return &admin.Client{URL: address, Token: token}, nil
}

// explain adds what to do to an error of the client.
func (c *connection) explain(client *admin.Client, err error) error {
	switch serviceforge.CodeOf(err) {
	case serviceforge.Unavailable:
		if strings.HasPrefix(err.Error(), "no broker answers") {
			return serviceforge.Wrap(err, serviceforge.Unavailable,
				"no broker answers at %s: start one with `serviceforge dev`, or set %s", client.URL, urlVariable)
		}
	case serviceforge.Unauthorized:
		return serviceforge.Wrap(err, serviceforge.Unauthorized,
			"the broker at %s refuses the token: %s (get a valid one with `eval \"$(serviceforge env)\"`)", client.URL, err.Error())
	case serviceforge.NotFound, serviceforge.Gone:
		switch message := err.Error(); {
		case message == "":
			return serviceforge.Wrap(err, serviceforge.CodeOf(err), "there is no such thing")
		case strings.Contains(message, "service binding"):
			return serviceforge.Wrap(err, serviceforge.CodeOf(err), "%s (`serviceforge services` and `serviceforge service NAME` list what there is)", message)
		case strings.Contains(message, "service instance") && !strings.Contains(message, "`serviceforge "):
			return serviceforge.Wrap(err, serviceforge.CodeOf(err), "%s (`serviceforge services` lists what there is)", message)
		}
	case serviceforge.Exhausted:
		if strings.Contains(err.Error(), "infrastructure pool") {
			return serviceforge.Wrap(err, serviceforge.Exhausted, "%s (`serviceforge pools` shows them)", err.Error())
		}
	case serviceforge.NotReady:
		return serviceforge.Wrap(err, serviceforge.NotReady, "%s (`serviceforge service NAME` shows how far it is)", err.Error())
	}
	return err
}

// parametersFlag reads -c: a JSON object, or @file.
func parametersFlag(value string) (json.RawMessage, error) {
	if value == "" {
		return nil, nil
	}
	content, where := []byte(value), "-c"
	if file, found := strings.CutPrefix(value, "@"); found {
		read, err := os.ReadFile(file)
		if err != nil {
			return nil, serviceforge.Wrap(err, serviceforge.Invalid, "-c: %v", err)
		}
		content, where = read, file
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(content, &object); err != nil || object == nil {
		why := ""
		if err != nil {
			why = ": " + err.Error()
		}
		return nil, serviceforge.Wrap(err, serviceforge.Invalid, `%s is not a JSON object such as '{"key": "value"}'%s`, where, why)
	}
	return content, nil
}

// Package config reads the settings once: one struct, from a file, the
// environment and flags, strict and validated. Dev mode is the same struct
// with other values.
package config

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/serviceforge/serviceforge"
)

// Config is every setting. A key's path, e.g. broker.require_api_version, is
// its name in the file; its flag is --broker-require-api-version (and the
// short one given here), its variable SERVICEFORGE_BROKER_REQUIRE_API_VERSION.
type Config struct {
	State     string `mapstructure:"state" usage:"folder that holds everything ('DIR')"`
	Ephemeral bool   `mapstructure:"ephemeral" usage:"use a temporary folder and remove everything at the end"`
	// Keys is the ring that seals secrets; it is read again when it changes.
	Keys    string `mapstructure:"keys" usage:"'FILE' of the keys that seal secrets (default DIR/broker.key, made at the first start)"`
	LostKey string `mapstructure:"lost_key" usage:"'ID' of the key in use, if nobody has it any more: start without what it sealed"`
	// Bootstrap is harmless to leave on: there is at most one such token per folder.
	Bootstrap bool   `mapstructure:"bootstrap" usage:"make an admin token in DIR/token, unless a valid one is there"`
	Log       Log    `mapstructure:"log"`
	Broker    Broker `mapstructure:"broker"`
	BOSH      BOSH   `mapstructure:"bosh"`
	Etcd      Etcd   `mapstructure:"etcd"`
	Engine    Engine `mapstructure:"engine"`
	// Pools are pool files (YAML). None means the pool of the local director.
	Pools []string `mapstructure:"pools" usage:"infrastructure pool 'FILE's; none = the local director"`
	// Install names service releases, which are installed in the order given.
	Install []string `mapstructure:"install" usage:"service releases to install at start ('DIR|FILE')"`
	// Quotas are limits, as serviceforge.ParseLimit reads them. Those of the replica that leads are in force.
	Quotas []string `mapstructure:"quotas" usage:"limits 'SCOPE[:ID]/RESOURCE=LIMIT', such as organization/instances=10"`
}

// Log says what is logged, to standard error.
type Log struct {
	Level  string `mapstructure:"level" usage:"debug, info, warn or error"`
	Format string `mapstructure:"format" usage:"text or json"`
}

// Broker is the HTTP face.
type Broker struct {
	Listen   string              `mapstructure:"listen" short:"listen" usage:"'HOST:PORT' of the broker"`
	URL      string              `mapstructure:"url" usage:"how others reach the broker, for dashboard_url (default http://LISTEN)"`
	Username string              `mapstructure:"username" usage:"user of the platform \"cc\""`
	Password serviceforge.Secret `mapstructure:"password" usage:"its password; prefer the file or the environment"`
	// Platforms is read again when it changes (ParsePlatforms).
	Platforms string `mapstructure:"platforms" usage:"YAML 'FILE' of the platforms' names, users and passwords"`
	// Cert, Key and ClientCA are read again when they change; new connections use them.
	Cert     string `mapstructure:"cert" usage:"PEM 'FILE' of the certificate to serve HTTPS with"`
	Key      string `mapstructure:"key" usage:"PEM 'FILE' of its key"`
	ClientCA string `mapstructure:"client_ca" usage:"PEM 'FILE': let in only who has a certificate of these CAs"`
	// A platform that asks more often gets 429, except to polls and deletes.
	RateLimit     int           `mapstructure:"rate_limit" usage:"requests a second that each platform credential may make; 0 = any number"`
	HeaderTimeout time.Duration `mapstructure:"header_timeout" usage:"how long a client may take to send a request's header"`
	BodyTimeout   time.Duration `mapstructure:"body_timeout" usage:"how long a client may take to send a whole request"`
	IdleTimeout   time.Duration `mapstructure:"idle_timeout" usage:"how long a connection is kept without a request"`
	Drain         time.Duration `mapstructure:"drain" usage:"how long /readyz says no before the broker stops taking requests"`
	// RequireAPIVersion refuses requests without X-Broker-API-Version, as OSB
	// allows; without it the commands of 2014 work.
	RequireAPIVersion bool `mapstructure:"require_api_version" usage:"refuse requests without X-Broker-API-Version"`
}

// BOSH is the local director.
type BOSH struct {
	Listen       string              `mapstructure:"listen" usage:"'HOST:PORT' of the local BOSH director"`
	Network      string              `mapstructure:"network" short:"network" usage:"'CIDR' within 127.0.0.0/8 for the addresses of VMs"`
	Username     string              `mapstructure:"username" usage:"client of the local director"`
	Password     serviceforge.Secret `mapstructure:"password" usage:"its secret (default: made at the first start)"`
	ConfigServer bool                `mapstructure:"config_server" usage:"the local director resolves ((variables))"`
	LocalDNS     bool                `mapstructure:"local_dns" usage:"the local director reports local DNS"`
	Workers      int                 `mapstructure:"workers" usage:"tasks the local director works on at once"`
}

// Etcd is the broker's store. Without endpoints it is built in.
type Etcd struct {
	Endpoints []string            `mapstructure:"endpoints" short:"etcd" usage:"'URL's of an external etcd cluster (default: built in)"`
	CA        string              `mapstructure:"ca" usage:"PEM 'FILE' that its certificates are checked against"`
	Cert      string              `mapstructure:"cert" usage:"PEM 'FILE' of our certificate"`
	Key       string              `mapstructure:"key" usage:"PEM 'FILE' of our key"`
	Username  string              `mapstructure:"username" usage:"etcd user"`
	Password  serviceforge.Secret `mapstructure:"password" usage:"etcd password; prefer the file or the environment"`
	Listen    string              `mapstructure:"listen" usage:"'HOST:PORT' on which serviceforge etcd serves"`
}

// Engine is how patient the engine is.
type Engine struct {
	Lease           time.Duration `mapstructure:"lease" usage:"how long a leader that went silent still counts as the leader"`
	DirectorTimeout time.Duration `mapstructure:"director_timeout" usage:"how long a director may take for one answer; less than the lease"`
	Sweep           time.Duration `mapstructure:"sweep" usage:"how long a look through all instances of a director takes, at least; 0 = none is made"`
}

// Default returns the settings of production: strict, and without a password.
func Default() Config {
	return Config{
		State: DefaultState(),
		Log:   Log{Level: "info", Format: "text"},
		Broker: Broker{Listen: "127.0.0.1:5000", Username: "cc", RequireAPIVersion: true,
			HeaderTimeout: 10 * time.Second, BodyTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute},
		BOSH: BOSH{Listen: "127.0.0.1:25555", Network: "127.244.0.0/16", Username: "admin",
			ConfigServer: true, Workers: 4},
		Etcd:   Etcd{Listen: "127.0.0.1:2379"},
		Engine: Engine{Lease: 10 * time.Second, DirectorTimeout: 8 * time.Second, Sweep: 10 * time.Minute},
	}
}

// Dev returns the settings of a laptop: the same, with the password everybody
// knows and room for the commands of 2014.
func Dev() Config {
	c := Default()
	c.Log.Level = "warn"
	c.Bootstrap = true
	c.Broker.Password = serviceforge.NewSecret("secret")
	c.Broker.RequireAPIVersion = false
	return c
}

// DefaultState is the folder named by SERVICEFORGE_STATE, else one in the XDG
// state folder of the user; "" where there is no home.
func DefaultState() string {
	if state := os.Getenv("SERVICEFORGE_STATE"); state != "" {
		return state
	}
	base := os.Getenv("XDG_STATE_HOME")
	if base == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "" // Validate asks for one: a folder that others can make before us would not do
		}
		base = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(base, "serviceforge")
}

// Validate says what is wrong with the settings, before anything starts.
func (c *Config) Validate() error {
	loopback := netip.MustParsePrefix("127.0.0.0/8")
	network, err := netip.ParsePrefix(c.BOSH.Network)
	switch {
	case c.State == "" && !c.Ephemeral:
		return invalid("state", "name a folder: there is no HOME for one")
	case err != nil || !loopback.Contains(network.Addr()) || network.Bits() < 8 || network.Bits() > 28:
		return invalid("bosh.network", "%q is not a part of 127.0.0.0/8 with at least 16 addresses, such as 127.244.0.0/16", c.BOSH.Network)
	case c.Log.Format != "text" && c.Log.Format != "json":
		return invalid("log.format", "%q is neither text nor json", c.Log.Format)
	case c.Engine.Lease < time.Second:
		return invalid("engine.lease", "%s is shorter than a second", c.Engine.Lease)
	case c.Engine.DirectorTimeout <= 0 || c.Engine.DirectorTimeout >= c.Engine.Lease:
		return invalid("engine.director_timeout", "%s is not between 0 and engine.lease, %s", c.Engine.DirectorTimeout, c.Engine.Lease)
	case c.Engine.Sweep < 0:
		return invalid("engine.sweep", "%s is less than none", c.Engine.Sweep)
	case c.BOSH.Workers < 1:
		return invalid("bosh.workers", "the local director needs at least one worker")
	}
	if err := c.Broker.validate(); err != nil {
		return err
	}
	if _, err := c.Log.level(); err != nil {
		return invalid("log.level", "%q is none of debug, info, warn and error", c.Log.Level)
	}
	if _, err := c.Limits(); err != nil {
		return err
	}
	for key, address := range map[string]string{"broker.listen": c.Broker.Listen, "bosh.listen": c.BOSH.Listen, "etcd.listen": c.Etcd.Listen} {
		if _, _, err := net.SplitHostPort(address); err != nil {
			return invalid(key, "%q is not HOST:PORT", address)
		}
	}
	return nil
}

func (b *Broker) validate() error {
	switch {
	case b.Username == "":
		return invalid("broker.username", "name the platform's user")
	case b.Password.Empty() && b.Platforms == "":
		return invalid("broker.password", "set a password, e.g. in SERVICEFORGE_BROKER_PASSWORD, or name a file of platforms with --broker-platforms")
	case (b.Cert == "") != (b.Key == ""):
		return invalid("broker.key", "a certificate and its key belong together")
	case b.ClientCA != "" && b.Cert == "":
		return invalid("broker.client_ca", "clients show certificates over HTTPS only: set broker.cert and broker.key")
	case b.RateLimit < 0:
		return invalid("broker.rate_limit", "%d is less than none", b.RateLimit)
	case b.HeaderTimeout <= 0 || b.HeaderTimeout > b.BodyTimeout:
		return invalid("broker.header_timeout", "%s is not between 0 and broker.body_timeout, %s", b.HeaderTimeout, b.BodyTimeout)
	case b.IdleTimeout <= 0:
		return invalid("broker.idle_timeout", "%s is not above 0", b.IdleTimeout)
	case b.Drain < 0:
		return invalid("broker.drain", "%s is less than none", b.Drain)
	}
	return nil
}

// invalid says what is wrong with a setting, and where it may have been given.
func invalid(key, format string, args ...any) error {
	flag := flagName(key)
	for _, s := range settings(Default()) {
		if s.key == key && s.short != "" {
			flag = s.short
		}
	}
	return serviceforge.Errorf(serviceforge.Invalid, "setting "+key+": "+format+" (--"+flag+", "+variable(key)+", or in the file)", args...)
}

func flagName(key string) string { return strings.NewReplacer(".", "-", "_", "-").Replace(key) }

func variable(key string) string {
	return "SERVICEFORGE_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

package releases

import (
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/releases/yamldoc"
)

// Check is what a service that answers is. The zero Check asks it as the driver
// of its users does, and takes the director's word where it has none.
type Check struct {
	// Driver is how the broker asks: tcp and http its endpoints, any other as its
	// users' administrator. "" = as the zero Check.
	Driver  string
	Timeout time.Duration // how long it may stay silent; 0 = as long as the operation may take
	Errand  string        // instead: this errand, run on the first instance, has to succeed
}

// errands is the check as an errand; none where the broker asks.
func (c Check) errands() []Errand {
	if c.Errand == "" {
		return nil
	}
	return []Errand{{Name: c.Errand, Timeout: c.Timeout, Check: true}}
}

// fileCheck is the check as it is written.
type fileCheck struct {
	Via     string `yaml:"via"`
	Driver  string `yaml:"driver"`
	Errand  string `yaml:"errand"`
	Timeout string `yaml:"timeout"`
}

// loadCheck reads what a service that answers is.
func (s *service) loadCheck(f *fileService) (err error) {
	c := f.Check
	s.check = Check{Driver: c.Driver, Errand: c.Errand}
	if s.check.Timeout, err = durationOf(c.Timeout); err != nil {
		return invalid("check: timeout: %s", serviceforge.MessageOf(err))
	}
	plain := c.Driver == "tcp" || c.Driver == "http"
	switch {
	case c.Via == "errand" && (c.Errand == "" || c.Driver != ""):
		return invalid("check: via: errand needs errand, and no driver")
	case c.Via != "errand" && c.Errand != "":
		return invalid("check: an errand needs via: errand")
	case plain && f.Endpoints.IsZero() && !f.Users.has("endpoints"):
		return invalid("check: driver %s needs endpoints, or users with endpoints", c.Driver)
	case c.Driver != "" && !plain && yamldoc.Scalar(f.Users.node, "driver") != c.Driver:
		return invalid("check: driver %s needs users of that driver: it asks as their administrator", c.Driver)
	}
	return nil
}

// Addresses lists where the service answers, as host:port: its endpoints, the
// first port of each range, else those of its users. Errors: Internal.
func Addresses(stored serviceforge.Secret) (addresses []string, err error) {
	a, err := openAccess(stored)
	if err != nil {
		return nil, err
	}
	for _, e := range a.Endpoints {
		for _, ports := range e.Ports {
			port, _, _ := strings.Cut(ports, "-")
			addresses = append(addresses, net.JoinHostPort(e.Host, port))
		}
	}
	if len(addresses) > 0 || a.Users == nil {
		return addresses, nil
	}
	for _, endpoint := range a.Users.Endpoints {
		u, err := url.Parse(endpoint)
		if err != nil || u.Host == "" { // host:port
			addresses = append(addresses, endpoint)
			continue
		}
		addresses = append(addresses, u.Host)
	}
	return addresses, nil
}

// Check returns what a service that answers is.
func (r *Release) Check(serviceID string) Check {
	if n := slices.IndexFunc(r.services, func(s *service) bool { return s.offering.ID == serviceID }); n >= 0 {
		return r.services[n].check
	}
	return Check{}
}

// Package users makes, checks and revokes one user per binding inside a running
// service; one file per kind of service. Every driver proves whom it talks to
// before it changes anything: by the certificate, the administrator's password, or both.
package users

import (
	"crypto/rand"
	"errors"
	"strings"

	"github.com/serviceforge/serviceforge"
)

// Service says where a service instance answers and how to administer it.
type Service struct {
	Driver    string   // "etcd", "http", "postgresql", "redis"
	Endpoints []string // URLs of all its servers
	Admin     Admin
	CA        string // PEM; what the service's certificates are checked against
	// ServerName is the name its certificates are checked for; empty = the
	// host of the endpoint.
	ServerName string
	// Database is what users of postgresql share.
	Database string
	// HTTP is what the driver of that name calls.
	HTTP HTTP
	// Grant says what users may do, in the service's words; empty = all but to
	// administer it. redis: ACL rules.
	Grant []string
}

// Admin is the login that may make users.
type Admin struct {
	Username string
	Password serviceforge.Secret
}

// User is one user of a service.
type User struct {
	Name     string
	Password serviceforge.Secret
}

// ErrForeign is in the chain of every error that says: something answers there,
// but it is not this instance. Trying again does not help.
var ErrForeign = errors.New("the service that answers is not this instance's")

// prefix is what the names of all bindings' users begin with. No other user is
// ever touched.
const prefix = "b-"

// NewUser returns a user with a fresh random name and password (both ASCII
// letters, digits and "-", so that they fit into a URL as they are).
func NewUser() User {
	return User{
		Name:     prefix + strings.ToLower(rand.Text()),
		Password: serviceforge.NewSecret(rand.Text() + rand.Text()),
	}
}

// Check says what is wrong with how a service is described, without asking it.
func (s Service) Check() error {
	k, known := kinds[s.Driver]
	switch {
	case !known:
		return serviceforge.Errorf(serviceforge.Internal, "there is no users driver %q", s.Driver)
	case len(s.Endpoints) == 0:
		return serviceforge.Errorf(serviceforge.Internal, "no endpoint of the service is known")
	case s.Admin.Username == "" || s.Admin.Password.Empty():
		return serviceforge.Errorf(serviceforge.Internal, "the service cannot be told from another without its administrator")
	}
	if err := k.check(s); err != nil {
		return serviceforge.Wrap(err, serviceforge.Internal, "users driver %s: %s", s.Driver, err)
	}
	return nil
}

func (s Service) checkUser(name string) error {
	if !strings.HasPrefix(name, prefix) || name == s.Admin.Username {
		return serviceforge.Errorf(serviceforge.Invalid, "%q is not a name for a binding's user", name)
	}
	return s.Check()
}

// Package users makes, checks and revokes one user per binding inside a running
// service; one file per kind of service.
package users

import (
	"context"
	"errors"
	"log/slog"

	"github.com/serviceforge/serviceforge"
)

// Service says where a service instance answers and how to administer it.
type Service struct {
	Driver    string   // "etcd"
	Endpoints []string // URLs
	Admin     Admin
	CA        string // PEM; what the service's certificates are checked against
	// ServerName is the name its certificates are checked for; empty = the
	// host of the endpoint.
	ServerName string
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

// Drivers makes and revokes users. It keeps idle connections to services that
// were used lately; Close ends them. Methods are safe for concurrent use.
type Drivers struct{}

// New returns drivers that log to log; nil discards.
func New(log *slog.Logger) *Drivers { return &Drivers{} }

// NewUser returns a user with a fresh random name and password (both ASCII
// letters, digits and "-", so that they fit into a URL as they are).
func NewUser() User { return User{} }

// Create makes the user, or sets the password and rights of an existing one.
// Errors: Unavailable (try again), Unprocessable with ErrForeign (final).
func (d *Drivers) Create(ctx context.Context, s Service, u User) error {
	return serviceforge.Errorf(serviceforge.Internal, "being written")
}

// Revoke removes the user; what it had open is refused at its next request. A
// user that is not there is fine. Errors as Create's.
func (d *Drivers) Revoke(ctx context.Context, s Service, name string) error {
	return serviceforge.Errorf(serviceforge.Internal, "being written")
}

// Check says whether the service serves: a read that needs a majority, as the
// administrator. Errors as Create's.
func (d *Drivers) Check(ctx context.Context, s Service) error {
	return serviceforge.Errorf(serviceforge.Internal, "being written")
}

// Forget closes what is kept open for the service; call it when the instance
// goes away.
func (d *Drivers) Forget(s Service) {}

// Close ends all connections; calls after it fail.
func (d *Drivers) Close() error { return nil }

package orchestrator

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/work"
	"github.com/serviceforge/serviceforge/releases"
)

const (
	// answerPause is the pause between looks at a service that is just starting.
	answerPause = 20 * time.Millisecond
	// knockTime bounds one look at one endpoint.
	knockTime = 2 * time.Second
)

// answers waits, for the length of one request, until the service serves, as
// its release defines that. Where an errand says so nobody is asked here.
func (l *leader) answers(ctx context.Context, i *serviceforge.Instance) error {
	look, err := l.lookAt(i)
	if err != nil || look == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, l.PostTimeout)
	defer cancel()
	for {
		err := look(ctx)
		if serviceforge.CodeOf(err) != serviceforge.Unavailable || ctx.Err() != nil {
			return err
		}
		work.Pause(ctx, answerPause)
	}
}

// lookAt says how the service is asked; nil = the director's word is enough.
func (l *leader) lookAt(i *serviceforge.Instance) (func(context.Context) error, error) {
	release, err := l.Shelf.Release(i.Release)
	if err != nil {
		return nil, err
	}
	switch c := release.Check(i.ServiceID); {
	case c.Errand != "":
		return nil, nil
	case c.Driver == "tcp" || c.Driver == "http":
		addresses, err := releases.Addresses(i.Access)
		return func(ctx context.Context) error { return knock(ctx, c.Driver, addresses) }, err
	}
	service, ok, err := releases.UsersOf(i.Access)
	if err != nil || !ok {
		return nil, err
	}
	return func(ctx context.Context) error { return l.Users.Check(ctx, service) }, nil
}

// knock asks every address: whether it can be connected to, and for http also
// whether it answers, with anything but an error of its own.
func knock(ctx context.Context, driver string, addresses []string) error {
	ctx, cancel := context.WithTimeout(ctx, knockTime)
	defer cancel()
	for _, address := range addresses {
		if err := knockAt(ctx, driver, address); err != nil {
			return serviceforge.Wrap(err, serviceforge.Unavailable, "the service does not answer at %s", address)
		}
	}
	return nil
}

func knockAt(ctx context.Context, driver, address string) error {
	if driver == "tcp" {
		connection, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return connection.Close()
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/", nil)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, _ = io.CopyN(io.Discard, answer.Body, 1<<10)
	if answer.StatusCode >= http.StatusInternalServerError {
		return fmt.Errorf("it answers %s", answer.Status)
	}
	return nil
}

// silent makes an error final when the service had the time that its release
// gives it to answer.
func (l *leader) silent(i *serviceforge.Instance, err error) error {
	wished := i.Wished()
	release, lost := l.Shelf.Release(wished.Release)
	if lost != nil || serviceforge.CodeOf(err) != serviceforge.Unavailable {
		return err
	}
	patience := release.Check(i.ServiceID).Timeout
	if patience == 0 || l.Now().Sub(i.Operation.Since) < patience {
		return err
	}
	return serviceforge.Wrap(err, serviceforge.Unprocessable, "The service does not answer within %s", patience)
}

package bosh

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	cli "github.com/cloudfoundry/bosh-cli/v7/director"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/serviceforge/serviceforge"
)

const (
	// grantTimeout bounds one request for a token, within the caller's own time.
	grantTimeout = 10 * time.Second
	// A token is renewed a twentieth of its life before its end, and at most
	// early before it.
	early        = 30 * time.Second
	earlyPart    = 20
	withoutEnd   = time.Hour // the life of a token that does not tell its own
	unprovenLife = time.Minute
)

// UAA says how to get tokens for a director that has a UAA: as a client, by
// the grant type client_credentials.
type UAA struct {
	URL    string // https://host:port; empty = the one that the director names in /info
	CA     string // PEM; empty = the director's
	Client string
	Secret serviceforge.Secret
}

// uaa is a login with tokens. One grant is asked for at a time; who needs one
// meanwhile waits for it, as long as its own ctx lets it.
type uaa struct {
	director string // its endpoint
	options  UAA
	infos    *http.Client // the director's
	http     *http.Client // the UAA's
	now      func() time.Time

	turn    chan struct{} // holds one token while somebody is at the fields below
	address string        // of the UAA, once it is known
	current *grant        // nil = none, or it was dropped
}

func newUAA(c *Client, o Options) (login, error) {
	u := &uaa{director: c.endpoint, infos: c.http, options: o.UAA, now: o.Now, turn: make(chan struct{}, 1)}
	if u.now == nil {
		u.now = time.Now
	}
	if o.UAA.CA == "" {
		o.UAA.CA = o.CA
	}
	var err error
	if u.http, err = newHTTP(o.UAA.CA, "the UAA of director "+c.endpoint); err == nil && o.UAA.URL != "" {
		u.address, err = origin(o.UAA.URL)
	}
	return u, err
}

func (u *uaa) grant(ctx context.Context) (*grant, error) {
	select {
	case u.turn <- struct{}{}:
		defer func() { <-u.turn }()
	case <-ctx.Done():
		return nil, serviceforge.Wrap(ctx.Err(), serviceforge.Unavailable, "the director's UAA does not answer")
	}
	if u.current != nil && u.now().Before(u.current.renewal) {
		return u.current, nil
	}
	g, err := u.ask(ctx)
	if err == nil {
		u.current = g
	}
	return g, err
}

// drop gives a token up that worked before. One that never did is given up
// after a minute only: a director that takes none of them, and tells so as it
// tells of an old one, would cost a grant for each call.
func (u *uaa) drop(ctx context.Context, g *grant) bool {
	select {
	case u.turn <- struct{}{}:
		defer func() { <-u.turn }()
	case <-ctx.Done():
		return false
	}
	if u.current != g {
		return true // somebody else got another one
	}
	if !g.proven.Load() && u.now().Sub(g.made) < unprovenLife {
		return false
	}
	u.current = nil
	return true
}

// ask gets a token from the UAA.
func (u *uaa) ask(ctx context.Context) (*grant, error) {
	ctx, cancel := context.WithTimeout(ctx, grantTimeout)
	defer cancel()
	if err := u.locate(ctx); err != nil {
		return nil, err
	}
	config := clientcredentials.Config{
		ClientID: u.options.Client, ClientSecret: u.options.Secret.Reveal(), TokenURL: u.address + "/oauth/token",
		AuthStyle: oauth2.AuthStyleInParams, // in a header the two standards differ about escaping
	}
	made := u.now()
	token, err := config.Token(context.WithValue(ctx, oauth2.HTTPClient, u.http))
	if err != nil {
		return nil, u.refused(err)
	}
	life := withoutEnd
	if !token.Expiry.IsZero() {
		life = max(time.Until(token.Expiry), time.Second)
	}
	scope, _ := token.Extra("scope").(string)
	return &grant{
		header: serviceforge.NewSecret("Bearer " + token.AccessToken), scopes: strings.Fields(scope),
		made: made, renewal: made.Add(life - min(early, life/earlyPart)),
	}, nil
}

// refused makes our error of oauth2's, which may quote all of an answer.
func (u *uaa) refused(err error) error {
	answer, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		return serviceforge.Wrap(fmt.Errorf("%s: %w", u.address, err), serviceforge.Unavailable, "the director's UAA does not answer")
	}
	cause := fmt.Errorf("%s: %s %s %s", u.address, answer.Response.Status, answer.ErrorCode, answer.ErrorDescription)
	if answer.Response.StatusCode >= http.StatusInternalServerError {
		return serviceforge.Wrap(cause, serviceforge.Unavailable, "the director's UAA does not answer")
	}
	return serviceforge.Wrap(cause, serviceforge.Unavailable, "the director's UAA does not take the client %s", u.options.Client)
}

// locate learns where the UAA is: the director tells everybody.
func (u *uaa) locate(ctx context.Context) error {
	if u.address != "" {
		return nil
	}
	silent := func(err error) error {
		return serviceforge.Wrap(err, serviceforge.Unavailable, "the director does not say where its UAA is")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.director+"/info", nil)
	if err != nil {
		return silent(err)
	}
	response, err := u.infos.Do(request)
	if err != nil {
		return silent(err)
	}
	defer finish(response)
	var told cli.InfoResp
	if response.StatusCode != http.StatusOK {
		return silent(errors.New(response.Status))
	}
	if err := json.NewDecoder(response.Body).Decode(&told); err != nil {
		return silent(err)
	}
	if told.Auth.Type != authUAA {
		return serviceforge.Errorf(serviceforge.Unavailable, "the director has no UAA: its pool needs a username and a password")
	}
	named, _ := told.Auth.Options["url"].(string)
	address, err := origin(named)
	if err != nil {
		return silent(err)
	}
	u.address = address
	return nil
}

// authUAA is what /info calls a director that takes tokens.
const authUAA = "uaa"

// origin is the part of an https URL that requests go to, with its path.
func origin(address string) (string, error) {
	parsed, err := url.Parse(address)
	if err != nil || parsed.Scheme != "https" || parsed.Host == "" {
		return "", serviceforge.Wrap(err, serviceforge.Invalid, "%q does not look like https://host:port", address)
	}
	return "https://" + parsed.Host + strings.TrimSuffix(parsed.Path, "/"), nil
}

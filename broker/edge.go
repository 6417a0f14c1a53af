package broker

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/pivotal-cf/brokerapi/v10/middlewares"

	"github.com/serviceforge/serviceforge"
)

const catalogPath = "/v2/catalog"

// assumedVersion is the API version of a request that names none.
const assumedVersion = "2.17"

// notGiven stands for a service_id or plan_id that a DELETE of 2014 left out;
// brokerapi refuses an empty one. No catalog holds it.
const notGiven = "\x00"

// ServeHTTP answers one request to /v2.
func (b *Broker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{requestID: requestID(r), answer: &recorder{ResponseWriter: w}}
	route := chi.NewRouteContext() // our own: we read it afterwards, and ignore a parent router's
	started := time.Now()
	defer func() {
		if cause := recover(); cause != nil {
			b.log.Error("a request panicked", "request_id", c.requestID, "panic", fmt.Sprint(cause), "stack", string(debug.Stack()))
			b.fail(c, serviceforge.Errorf(serviceforge.Internal, "internal error; the operator's log has the cause"))
		}
		b.logRequest(r, c, route, time.Since(started))
	}()
	b.serve(c, r, route)
}

func (b *Broker) serve(c *call, r *http.Request, route *chi.Context) {
	header := c.answer.Header()
	if identity := r.Header.Get(requestIdentityHeader); identity != "" {
		header.Set(requestIdentityHeader, identity)
	}
	platform := b.platforms.Load().authenticate(r)
	if platform == nil {
		header.Set("WWW-Authenticate", `Basic realm="ServiceForge", charset="UTF-8"`)
		b.fail(c, serviceforge.Errorf(serviceforge.Unauthorized, "wrong or missing user name and password"))
		return
	}
	if err := platform.admit(r); err != nil {
		b.fail(c, err)
		return
	}
	minor, err := b.checkVersion(r)
	if err != nil {
		writeAnswer(c.answer, http.StatusPreconditionFailed, body{Description: err.Error()})
		return
	}
	if r.URL.Path == catalogPath && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		b.serveCatalog(c.answer, r)
		return
	}
	c.minor = minor
	c.caller = serviceforge.Caller{Platform: platform.name, Actor: "platform " + platform.name, Identity: identityOf(r)}
	if err := b.prepare(c, r); err != nil {
		b.fail(c, err)
		return
	}
	ctx := context.WithValue(r.Context(), chi.RouteCtxKey, route)
	ctx = context.WithValue(ctx, callKey{}, c)
	ctx = context.WithValue(ctx, middlewares.CorrelationIDKey, c.requestID)
	ctx = context.WithValue(ctx, middlewares.RequestIdentityKey, r.Header.Get(requestIdentityHeader))
	b.router.ServeHTTP(c.answer, r.WithContext(ctx))
}

var versionForm = regexp.MustCompile(`^([0-9]{1,9})\.([0-9]{1,9})$`)

// checkVersion wants major version 2 of any minor (OSB "API Version Header":
// minors only add), which it returns. The answer to anything else is 412.
func (b *Broker) checkVersion(r *http.Request) (minor int, err error) {
	version := r.Header.Get(apiVersionHeader)
	if version == "" {
		if b.requireAPIVersion {
			return 0, fmt.Errorf("the header %s is missing; this broker speaks version 2.17", apiVersionHeader)
		}
		version = assumedVersion
		r.Header.Set(apiVersionHeader, version)
	}
	parts := versionForm.FindStringSubmatch(version)
	if parts == nil {
		return 0, fmt.Errorf("the header %s must be MAJOR.MINOR; this broker speaks version 2.17", apiVersionHeader)
	}
	if parts[1] != "2" {
		return 0, fmt.Errorf("version %s of the API is not supported; this broker speaks version 2.17", version)
	}
	return strconv.Atoi(parts[2])
}

// prepare turns a request into one that brokerapi answers as OSB says.
func (b *Broker) prepare(c *call, r *http.Request) error {
	r.URL.RawPath = r.URL.EscapedPath() // chi routes by it, so ids stay escaped until pathID
	switch r.Method {
	case http.MethodPut, http.MethodPatch:
		return b.prepareBody(c, r)
	case http.MethodDelete:
		return b.prepareDelete(c, r)
	}
	r.Body = http.NoBody
	return nil
}

// prepareDelete lets a DELETE of 2014 pass, which names neither offering nor
// plan nor accepts_incomplete, or names them in a form.
func (b *Broker) prepareDelete(c *call, r *http.Request) error {
	query := r.URL.Query()
	if isForm(r) {
		fields, err := b.formFields(c, r)
		if err != nil {
			return err
		}
		for name := range fields {
			if !query.Has(name) {
				query.Set(name, fields.Get(name))
			}
		}
	}
	r.Body, r.ContentLength = http.NoBody, 0
	if !b.requireAPIVersion {
		c.async = !query.Has("accepts_incomplete")
		for _, name := range []string{"service_id", "plan_id"} {
			if !query.Has(name) {
				query.Set(name, notGiven)
			}
		}
	}
	r.URL.RawQuery = query.Encode()
	return nil
}

// given undoes prepareDelete's stand-in.
func given(id string) string {
	if id == notGiven {
		return ""
	}
	return id
}

func (b *Broker) noRoute(w http.ResponseWriter, _ *http.Request) {
	writeAnswer(w, http.StatusNotFound, body{Description: "there is no such endpoint"})
}

func (b *Broker) wrongMethod(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		if b.router.Match(chi.NewRouteContext(), method, r.URL.RawPath) {
			allowed = append(allowed, method)
		}
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	writeAnswer(w, http.StatusMethodNotAllowed, body{Description: "this endpoint does not take " + r.Method})
}

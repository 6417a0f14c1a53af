package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/pivotal-cf/brokerapi/v10/domain/apiresponses"

	"github.com/serviceforge/serviceforge"
)

// The sentences that client libraries compare word by word (osb-checklist 22).
const (
	concurrencySentence = "The Service Broker does not support concurrent requests that mutate the same resource."
	appSentence         = "This service supports generation of credentials through binding an application only."
	asyncSentence       = "This service plan requires client support for asynchronous service operations."
)

// defaultRetryAfter is sent with 503 where the error names no time.
const defaultRetryAfter = 5 * time.Second

// body is an OSB error body: error is one CamelCase word, and only where OSB
// defines one for the scenario ("Error Codes").
type body struct {
	Error       string `json:"error,omitempty"`
	Description string `json:"description,omitempty"`
}

// rule is how a code of the engine is told to a platform.
type rule struct {
	status      int
	key         string // OSB error code
	description string // instead of the error's own message
	empty       bool   // the body is {}
	action      string // brokerapi's word for its log
}

var internalRule = rule{
	status:      http.StatusInternalServerError,
	description: "internal error; the operator's log has the cause",
	action:      "internal-error",
}

// ruleFor is the one table from the engine's codes to OSB's statuses.
func ruleFor(code serviceforge.Code) rule {
	switch code {
	case serviceforge.Invalid:
		return rule{status: http.StatusBadRequest, action: "invalid"}
	case serviceforge.Unauthorized:
		return rule{status: http.StatusUnauthorized, action: "unauthorized"}
	case serviceforge.Forbidden:
		return rule{status: http.StatusForbidden, action: "forbidden"}
	case serviceforge.NotFound:
		return rule{status: http.StatusNotFound, action: "not-found"}
	case serviceforge.Conflict:
		return rule{status: http.StatusConflict, action: "conflict"}
	case serviceforge.Gone:
		return rule{status: http.StatusGone, empty: true, action: "gone"}
	case serviceforge.TimedOut:
		return rule{status: http.StatusRequestTimeout, action: "timed-out"}
	case serviceforge.TooLarge:
		return rule{status: http.StatusRequestEntityTooLarge, action: "too-large"}
	case serviceforge.Busy, serviceforge.NotReady:
		return rule{status: http.StatusUnprocessableEntity, key: "ConcurrencyError", description: concurrencySentence, action: "concurrency"}
	case serviceforge.AsyncRequired:
		return rule{status: http.StatusUnprocessableEntity, key: "AsyncRequired", description: asyncSentence, action: "async-required"}
	case serviceforge.AppRequired:
		return rule{status: http.StatusUnprocessableEntity, key: "RequiresApp", description: appSentence, action: "requires-app"}
	case serviceforge.Unprocessable, serviceforge.Exhausted:
		return rule{status: http.StatusUnprocessableEntity, action: "unprocessable"}
	case serviceforge.TooMany:
		return rule{status: http.StatusTooManyRequests, action: "too-many"}
	case serviceforge.Unavailable:
		return rule{status: http.StatusServiceUnavailable, action: "unavailable"}
	}
	return internalRule
}

// describe returns the body for err under rule. Only messages of
// serviceforge.Error are shown; they are made for people, causes are not.
func (t rule) describe(err error) body {
	if t.empty {
		return body{}
	}
	description := t.description
	if description == "" {
		description = serviceforge.MessageOf(err)
	}
	if description == "" {
		description = http.StatusText(t.status)
	}
	return body{Error: t.key, Description: description}
}

// osbError makes of the engine's err what brokerapi answers as OSB says. It
// must be the outermost error: brokerapi looks at the type only, and shows the
// text of any other error to the platform.
func (b *Broker) osbError(ctx context.Context, err error) error {
	c := callOf(ctx)
	t := ruleFor(serviceforge.CodeOf(err))
	b.logCause(ctx, c, t, err)
	setRetryAfter(c, t, err)
	told := t.describe(err)
	failure := apiresponses.NewFailureResponseBuilder(errors.New(told.Description), t.status, t.action)
	if t.empty {
		failure = failure.WithEmptyResponse()
	}
	return failure.WithErrorKey(told.Error).Build()
}

// conflictingMaintenance is the answer to a maintenance_info that is not the
// catalog's, whose version is "" where the plan has none (OSB "Maintenance Info").
func conflictingMaintenance(version string) error {
	says := fmt.Sprintf("maintenance_info.version is %s in the catalog: fetch the catalog again", version)
	if version == "" {
		says = "the plan has no maintenance_info in the catalog: fetch the catalog again"
	}
	return apiresponses.NewFailureResponseBuilder(errors.New(says), http.StatusUnprocessableEntity, "maintenance-info-conflict").
		WithErrorKey("MaintenanceInfoConflict").Build()
}

// notReady2014 answers a bind of the compatibility mode as 2014 did: 403 and
// {"error": "Service Instance not ready for binding; state …"}. brokerapi
// cannot say that, so our recorder replaces what it says.
func notReady2014(c *call, err error) error {
	c.answer.replace = func(w http.ResponseWriter) {
		writeAnswer(w, http.StatusForbidden, body{Error: serviceforge.MessageOf(err)})
	}
	return apiresponses.NewFailureResponse(errors.New("not ready"), http.StatusForbidden, "not-ready")
}

// fail answers err before or after brokerapi; nothing if it already answered.
func (b *Broker) fail(c *call, err error) {
	if c.answer.status != 0 {
		return
	}
	t := ruleFor(serviceforge.CodeOf(err))
	b.logCause(context.Background(), c, t, err)
	setRetryAfter(c, t, err)
	writeAnswer(c.answer, t.status, t.describe(err))
}

// logCause logs why a server error happened. Client errors are not logged:
// their messages may quote a user's parameters.
func (b *Broker) logCause(ctx context.Context, c *call, t rule, err error) {
	if t.status < http.StatusInternalServerError || errors.Is(ctx.Err(), context.Canceled) {
		return
	}
	b.log.Error("a request failed", "request_id", c.requestID, "status", t.status, "cause", serviceforge.DetailOf(err))
}

func setRetryAfter(c *call, t rule, err error) {
	var after time.Duration
	if e, ok := errors.AsType[*serviceforge.Error](err); ok {
		after = e.RetryAfter
	}
	if after == 0 && t.status == http.StatusServiceUnavailable {
		after = defaultRetryAfter
	}
	c.retryAfter(after)
}

// retryAfter sets the header in whole seconds, at least one (OSB recommends a
// duration over a date); nothing for zero.
func (c *call) retryAfter(after time.Duration) {
	if after <= 0 || c.answer == nil {
		return
	}
	seconds := int64((after + time.Second - 1) / time.Second)
	c.answer.Header().Set("Retry-After", strconv.FormatInt(seconds, 10))
}

// writeAnswer writes one JSON answer.
func writeAnswer(w http.ResponseWriter, status int, told body) {
	content, _ := json.Marshal(told) // two strings: cannot fail
	w.Header().Set("Content-Type", jsonType)
	w.WriteHeader(status)
	_, _ = w.Write(append(content, '\n'))
}

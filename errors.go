package serviceforge

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Code says what kind of failure an Error is. The faces (OSB, admin, CLI)
// translate codes; nobody matches on messages.
type Code string

// The codes, with the HTTP status that the faces usually make of them.
const (
	Invalid       Code = "invalid"        // 400: the request is wrong; nothing was changed
	Unauthorized  Code = "unauthorized"   // 401: who are you?
	Forbidden     Code = "forbidden"      // 403: known, but not allowed
	NotFound      Code = "not_found"      // 404: no such thing (a deleted one is Gone)
	Conflict      Code = "conflict"       // 409: exists with other attributes
	Gone          Code = "gone"           // 410: was deleted, or never was; asked by a DELETE
	TimedOut      Code = "timed_out"      // 408: the request did not arrive in time
	TooLarge      Code = "too_large"      // 413
	Busy          Code = "busy"           // 422 ConcurrencyError: another operation is on it
	AsyncRequired Code = "async_required" // 422 AsyncRequired
	AppRequired   Code = "app_required"   // 422 RequiresApp
	NotReady      Code = "not_ready"      // 422 ConcurrencyError; 403 in the compatibility mode of 2014
	Unprocessable Code = "unprocessable"  // 422: understood, but cannot be done
	Exhausted     Code = "exhausted"      // 422: no pool has room, or a quota is used up
	TooMany       Code = "too_many"       // 429 + Retry-After: the caller asks too often
	Unavailable   Code = "unavailable"    // 503 + Retry-After: a part we need does not answer
	Internal      Code = "internal"       // 500: our fault; the message hides the cause
)

// Error is the one error type of ServiceForge: a code for machines, a message
// fit for the person who reads it, and a cause for the log. Error() shows the
// message only: causes may hold what a platform's user must not see.
type Error struct {
	Code    Code
	Message string
	// RetryAfter, when above zero, tells the caller when to try again.
	RetryAfter time.Duration
	// Err is the cause; Unwrap shows it to errors.Is and to the log.
	Err error
}

// Error returns the message for people.
func (e *Error) Error() string { return e.Message }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Detail returns message and causes in one line, for logs and operators.
func (e *Error) Detail() string {
	if e.Err == nil {
		return e.Message
	}
	cause := DetailOf(e.Err)
	if strings.HasPrefix(cause, e.Message) {
		return cause // it says the same, and more
	}
	return e.Message + ": " + cause
}

// Errorf makes an Error without a cause.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Wrap makes an Error with a message for people and err as its cause.
func Wrap(err error, code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Err: err}
}

// CodeOf returns the code of the outermost Error in err's chain, Internal for
// any other error and "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return Internal
}

// MessageOf returns what a person may read of err: the message of an Error,
// else a sentence that gives nothing away.
func MessageOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Message
	}
	return "internal error; the operator's log has the cause"
}

// DetailOf returns everything known of err, for logs and operators only.
func DetailOf(err error) string {
	if e, ok := err.(*Error); ok {
		return e.Detail()
	}
	return err.Error()
}

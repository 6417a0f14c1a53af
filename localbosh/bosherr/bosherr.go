// Package bosherr is the error of the embedded director: a BOSH error code and the director's own words.
package bosherr

import (
	"errors"
	"fmt"
	"net/http"
)

// Error is what a client of the director sees: {"code": Code, "description": Description}.
type Error struct {
	Code        int
	Description string
}

// Error returns the description alone, as the director's event log and task result print it.
func (e *Error) Error() string { return e.Description }

// New makes an Error; format and args are those of fmt.Sprintf.
func New(code int, format string, args ...any) *Error {
	return &Error{Code: code, Description: fmt.Sprintf(format, args...)}
}

// Of returns err as an *Error: the first one in its chain, else a DirectorError (code 100) with err's text.
// It returns nil for nil.
func Of(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Code: DirectorError, Description: err.Error()}
}

// Is says whether err carries the given code.
func Is(err error, code int) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == code
}

// HTTPStatus is the status the director answers with when e ends a request (bosh-director errors.rb).
func (e *Error) HTTPStatus() int {
	switch e.Code {
	case DirectorError, SystemError, NotEnoughDiskSpace:
		return http.StatusInternalServerError
	case TaskNotFound, ReleaseNotFound, ReleaseVersionNotFound, StemcellNotFound, DeploymentNotFound,
		InstanceNotFound, JobNotFound, ResourceNotFound, ConfigNotFound:
		return http.StatusNotFound
	case Unauthorized:
		return http.StatusUnauthorized
	}
	return http.StatusBadRequest
}

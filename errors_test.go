package serviceforge_test

import (
	"errors"
	"testing"

	"github.com/serviceforge/serviceforge"
)

func TestADetailSaysNothingTwice(t *testing.T) {
	cause := errors.New("the service is away: connection refused")
	for message, want := range map[string]string{
		"the service is away":  "the service is away: connection refused",
		"the binding was lost": "the binding was lost: the service is away: connection refused",
	} {
		if got := serviceforge.DetailOf(serviceforge.Wrap(cause, serviceforge.Unavailable, "%s", message)); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

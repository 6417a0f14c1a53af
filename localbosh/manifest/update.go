package manifest

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/serviceforge/serviceforge/localbosh/bosherr"
)

// VM strategies of an update block.
const (
	DeleteCreate     = "delete-create"
	CreateSwapDelete = "create-swap-delete"
)

// parseUpdate reads an update block; with defaults every key may be absent.
func parseUpdate(s *spec, defaults *Update) Update {
	u := Update{Serial: true, VMStrategy: DeleteCreate}
	if defaults != nil {
		u = *defaults
	}
	count := func(key string, to *Count) {
		if defaults == nil || s.has(key) {
			*to = parseCount(s, s.str(key))
		}
	}
	watch := func(key string, to *WatchTime) {
		if defaults == nil || s.has(key) {
			*to = parseWatchTime(s, s.str(key))
		}
	}
	count("canaries", &u.Canaries)
	count("max_in_flight", &u.MaxInFlight)
	watch("canary_watch_time", &u.CanaryWatch)
	watch("update_watch_time", &u.UpdateWatch)
	u.Serial = s.optBool("serial", u.Serial)
	if s.has("vm_strategy") {
		u.VMStrategy = s.str("vm_strategy")
		if s.err == nil && u.VMStrategy != DeleteCreate && u.VMStrategy != CreateSwapDelete {
			s.fail(bosherr.ValidationInvalidValue, "Invalid vm_strategy '%s', valid strategies are: %s, %s", u.VMStrategy, DeleteCreate, CreateSwapDelete)
		}
	}
	return u
}

var (
	percent = regexp.MustCompile(`^(\d+)%$`)
	integer = regexp.MustCompile(`^[-+]?[0-9]+$`)
)

// ParseCount reads a number of instances or a percentage, as in an update block or a query parameter.
func ParseCount(text string) (Count, error) {
	s := &spec{}
	c := parseCount(s, text)
	return c, s.err
}

func parseCount(s *spec, text string) Count {
	if m := percent.FindStringSubmatch(text); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			return Count{N: n, Percent: true}
		}
	}
	if n, err := strconv.Atoi(text); err == nil && integer.MatchString(text) {
		return Count{N: n}
	}
	s.fail(bosherr.DirectorError, "cannot be calculated")
	return Count{}
}

// Of is how many of size instances c means, at least min.
func (c Count) Of(size, min int) int {
	n := c.N
	if c.Percent {
		n = int(math.Min(float64(c.N*size/100), float64(size)))
	}
	if n < min {
		return min
	}
	return n
}

// String is the form of the manifest.
func (c Count) String() string {
	if c.Percent {
		return strconv.Itoa(c.N) + "%"
	}
	return strconv.Itoa(c.N)
}

var watchTime = regexp.MustCompile(`^\s*(\d+)\s*(?:-\s*(\d+)\s*)?$`)

func parseWatchTime(s *spec, text string) WatchTime {
	if s.err != nil {
		return WatchTime{}
	}
	m := watchTime.FindStringSubmatch(strings.TrimSuffix(text, "\n"))
	if m == nil {
		s.fail(bosherr.UpdateConfigInvalidWatchTime, "Watch time should be an integer or a range of two integers")
		return WatchTime{}
	}
	if m[2] == "" {
		m[2] = m[1]
	}
	w := WatchTime{Min: milliseconds(m[1]), Max: milliseconds(m[2])}
	if w.Min > w.Max {
		s.fail(bosherr.UpdateConfigInvalidWatchTime, "Min watch time cannot be greater than max watch time")
	}
	return w
}

// milliseconds reads digits; what no clock could wait for is cut.
func milliseconds(digits string) time.Duration {
	n, err := strconv.ParseInt(digits, 10, 64)
	const year = int64(365 * 24 * time.Hour / time.Millisecond)
	if err != nil || n > year {
		n = year
	}
	return time.Duration(n) * time.Millisecond
}

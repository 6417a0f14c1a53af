package releases

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/serviceforge/serviceforge"
)

// deleteErrandTime is how long a run of a pre_delete errand may take that names
// no timeout: a delete must not hang on it.
const deleteErrandTime = 15 * time.Minute

// Errand is one errand that a service wants run, as service.yml has it.
type Errand struct {
	Name string
	// All has it run on all instances that have it; else it runs on those of On,
	// each "group/index", and where that is empty on the first.
	All     bool
	On      []string
	Timeout time.Duration // of one run; 0 = the operation's
	Retries int           // further runs after one that failed
	// Warn: a failure is told, and the operation goes on.
	Warn bool
	// Check: it says whether the service answers.
	Check bool
}

// Errands lists what is to be run in an operation on an instance of the service,
// in this order: after a deploy the check and post_deploy, after an update's
// post_update as well, before a delete pre_delete, which stops nothing.
func (r *Release) Errands(kind serviceforge.Kind, serviceID string) []Errand {
	n := slices.IndexFunc(r.services, func(s *service) bool { return s.offering.ID == serviceID })
	if n < 0 {
		return nil
	}
	s := r.services[n]
	switch kind {
	case serviceforge.Provision:
		return append(s.check.errands(), s.errands["post_deploy"]...)
	case serviceforge.Update:
		return slices.Concat(s.check.errands(), s.errands["post_deploy"], s.errands["post_update"])
	case serviceforge.Deprovision:
		return s.errands["pre_delete"]
	}
	return nil
}

// loadErrands reads the lists; their form is the schema's.
func (s *service) loadErrands(f *fileService) error {
	s.errands = map[string][]Errand{}
	for when, list := range f.Errands {
		for i, e := range list {
			made := Errand{Name: e.Name, Retries: e.Retries, Warn: e.OnFailure == "warn" || when == "pre_delete"}
			var err error
			if made.Timeout, err = durationOf(e.Timeout); err != nil {
				return invalid("errands.%s: timeout of %s: %s", when, e.Name, serviceforge.MessageOf(err))
			}
			if when == "pre_delete" && made.Timeout == 0 {
				made.Timeout = deleteErrandTime
			}
			if e.RunOn.Kind == yaml.SequenceNode {
				if err := e.RunOn.Decode(&made.On); err != nil || len(made.On) == 0 {
					return invalid("errands.%s: run_on of %s is all, first or a list of group/index", when, e.Name)
				}
			}
			made.All = e.RunOn.Value == "all"
			for _, at := range made.On {
				if group, index, ok := strings.Cut(at, "/"); !ok || group == "" || !isIndex(index) {
					return invalid("errands.%s: run_on of %s: %q is not group/index, e.g. etcd/0", when, e.Name, at)
				}
			}
			if slices.ContainsFunc(list[:i], func(o fileErrand) bool { return o.Name == e.Name }) {
				return invalid("errands.%s: %s is there twice", when, e.Name)
			}
			s.errands[when] = append(s.errands[when], made)
		}
	}
	return nil
}

func isIndex(text string) bool {
	n, err := strconv.Atoi(text)
	return err == nil && n >= 0
}

// durationOf reads a duration in Go's form; "" is 0.
func durationOf(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, invalid("%q is not a duration as 90s, 20m or 2h", text)
	}
	return d, nil
}

// errandNames lists every errand that the service names, each once.
func (s *service) errandNames() (names []string) {
	for _, list := range s.errands {
		for _, e := range list {
			names = append(names, e.Name)
		}
	}
	for _, e := range s.check.errands() {
		names = append(names, e.Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

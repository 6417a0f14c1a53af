package orchestrator_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator"
	"github.com/serviceforge/serviceforge/orchestrator/director"
)

// awaits polls until the explanation of an instance is what is wanted.
func (h *house) awaits(id string, what func(orchestrator.Explanation) bool) orchestrator.Explanation {
	h.t.Helper()
	return eventually(h.t, func() (orchestrator.Explanation, error) {
		x, err := h.engine().Explain(h.t.Context(), operator, id)
		if err == nil && !what(x) {
			err = fmt.Errorf("%s waits for %q (place %d, %s)", id, x.Waits, x.Position, x.Class)
		}
		return x, err
	})
}

func TestAWaitingInstanceIsExplained(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	most := h.options.Pools.All()[0].MaxInFlight
	h.director.hold = true
	h.run()
	for n := range most + 2 {
		h.create(fmt.Sprint("i", n))
	}
	waiting := map[int]string{}
	eventually(t, func() (int, error) {
		clear(waiting)
		for n := range most + 2 {
			id := fmt.Sprint("i", n)
			x, err := h.engine().Explain(t.Context(), operator, id)
			if err != nil {
				return 0, err
			}
			if x.Position > 0 && x.Waits == "a free worker of pool local" {
				waiting[x.Position] = id
			}
		}
		if len(waiting) != 2 || waiting[1] == "" || waiting[2] == "" {
			return 0, errors.New("the line is not yet two long")
		}
		return 0, nil
	})
	h.director.finish()
	h.awaits(waiting[2], func(x orchestrator.Explanation) bool {
		return x.Waits == "" && x.Instance.State == serviceforge.Running
	})
	_, err := h.engine().Explain(t.Context(), operator, "nope")
	code(t, err, serviceforge.NotFound)
}

func TestAFailureIsExplained(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ words, class, told, advice string }{
		{"Failed to reserve IP for 'x': no more available", "ips_exhausted", "The deployment failed: the infrastructure has no free network addresses", "delete failed deployments"},
		{"Stemcell version '1' for OS 'x' doesn't exist", "stemcell_missing", "not ready for this plan", "bosh upload-stemcell"},
	} {
		h := newHouse(t)
		h.director.outcome, h.director.words = []string{director.TaskError}, c.words
		h.run()
		h.until("a", h.create("a").Operation, serviceforge.Failed)
		x, err := h.engine().Explain(t.Context(), operator, "a")
		must(t, err)
		if x.Class != c.class || !strings.Contains(x.Instance.Operation.Message, c.told) || !strings.Contains(x.Advice, c.advice) || x.Waits != "" {
			t.Errorf("%+v, message %q", x, x.Instance.Operation.Message)
		}
		if n := h.director.count("Deploy"); n != 1 {
			t.Errorf("%s: posted %d times, though that cannot help", c.class, n)
		}
	}
}

// What a director quotes of a manifest does not bring secrets to light.
func TestCausesHoldNoSecrets(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.director.outcome, h.director.quote = []string{director.TaskError, director.TaskError}, true
	h.run()
	h.until("a", h.create("a").Operation, serviceforge.Failed)
	i, err := h.Instance(t.Context(), cc, "a")
	must(t, err)
	secret := strings.Split(i.Secrets.Reveal(), `"`)[3]
	if len(secret) != 20 || strings.Contains(i.Operation.Cause, secret) || !strings.Contains(i.Operation.Cause, "[redacted]") {
		t.Errorf("cause %q", i.Operation.Cause)
	}
	told, err := h.History(t.Context(), "a")
	must(t, err)
	if strings.Contains(fmt.Sprint(told), secret) {
		t.Error("the history tells a secret")
	}
}

package orchestrator_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator"
)

// clock lets a test move the house's time on.
func (h *house) clock() (later func(time.Duration)) {
	var ahead atomic.Int64
	h.options.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	h.Engine = orchestrator.New(h.options)
	return func(d time.Duration) { ahead.Add(int64(d)) }
}

// stopClock has the house's time stand still, but for what a test moves it on.
func (h *house) stopClock() (later func(time.Duration)) {
	var ahead atomic.Int64
	at := time.Now()
	h.options.Now = func() time.Time { return at.Add(time.Duration(ahead.Load())) }
	h.Engine = orchestrator.New(h.options)
	return func(d time.Duration) { ahead.Add(int64(d)) }
}

// OSB checklist 86, 92 and 203: polls are answered with success for a day after
// the end, by any operation; the next delete is Gone at once.
func TestAnEndIsRememberedForADay(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	later := h.clock()
	h.run()
	h.until("a", h.create("a").Operation, serviceforge.Succeeded)
	h.until("a", h.remove("a").Operation, serviceforge.Succeeded)
	later(23 * time.Hour)
	for _, operation := range []string{"", "not-ours", strings.Repeat("x", 10000), "\x00"} {
		h.until("a", operation, serviceforge.Succeeded)
	}
	_, err := h.Deprovision(t.Context(), orchestrator.DeprovisionRequest{Caller: cc, InstanceID: "a", AcceptsIncomplete: true})
	code(t, err, serviceforge.Gone)
	later(2 * time.Hour)
	_, err = h.LastOperation(t.Context(), cc, "a", "")
	code(t, err, serviceforge.Gone)
	_, err = h.LastOperation(t.Context(), cc, "never", "")
	code(t, err, serviceforge.NotFound)
	h.until("a", h.create("a").Operation, serviceforge.Succeeded) // a new one under the same id
}

// OSB checklist 101.
func TestAnOperationEndsWhileItsPlatformPolls(t *testing.T) {
	t.Parallel()
	polled := fstest.MapFS{}
	for name, file := range plain {
		polled[name] = file
	}
	polled["service.yml"] = &fstest.MapFile{Data: []byte(strings.Replace(string(plain["service.yml"].Data),
		"{id: plan, ", "{id: plan, maximum_polling_duration: 1000s, ", 1))}
	h := newHouseOf(t, polled)
	later := h.clock()
	h.director.hold = true
	stop := h.run()
	accepted := h.create("a")
	eventually(t, func() (bool, error) {
		p, err := h.LastOperation(t.Context(), cc, "a", "")
		if err == nil && p.Step != serviceforge.Submitted {
			err = serviceforge.Errorf(serviceforge.Busy, "still %s", p.Step)
		}
		return true, err
	})
	later(910 * time.Second)
	stop() // its timers do not know of the time that was made up; the next leader asks the clock
	h.run()
	h.until("a", accepted.Operation, serviceforge.Failed)
}

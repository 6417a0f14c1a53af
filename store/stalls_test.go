package store_test

import (
	"testing"
	"time"

	"github.com/serviceforge/serviceforge/store"
)

func TestStallsThatOverlapCountOnce(t *testing.T) {
	at := func(minute int) time.Time { return time.Date(2026, 11, 20, 12, minute, 0, 0, time.UTC) }
	stalls := []store.Stall{{From: at(20), To: at(30)}, {From: at(0), To: at(10)}, {From: at(5), To: at(15)}, {From: at(6), To: at(7)}}
	for since, want := range map[int]time.Duration{0: 25, 8: 17, 12: 13, 25: 5, 30: 0} {
		if got := store.Stalled(at(since), stalls); got != want*time.Minute {
			t.Errorf("since %d: %s, want %d minutes", since, got, want)
		}
	}
}

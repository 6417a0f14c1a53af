package line

import (
	"testing"
	"time"

	"github.com/serviceforge/serviceforge"
)

func TestDurationsAreLearned(t *testing.T) {
	d := Durations{}
	if _, known := d.Of(serviceforge.VerbDeploy, "small"); known {
		t.Error("nothing was measured")
	}
	d.Learn(serviceforge.VerbDelete, "small", time.Minute)
	if _, known := d.Of(serviceforge.VerbDeploy, "small"); known {
		t.Error("a delete says nothing of deploys")
	}
	d.Learn(serviceforge.VerbDeploy, "small", 4*time.Minute)
	d.Learn(serviceforge.VerbDeploy, "small", 8*time.Minute)
	if took, _ := d.Of(serviceforge.VerbDeploy, "small"); took != 5*time.Minute {
		t.Errorf("small takes %s", took)
	}
	d.Learn(serviceforge.VerbDeploy, "large", 15*time.Minute)
	if took, known := d.Of(serviceforge.VerbDeploy, "medium"); took != 10*time.Minute || !known {
		t.Errorf("a plan that nobody ordered yet takes %s", took)
	}
}

func TestTurnsAreForetold(t *testing.T) {
	m := time.Minute
	for _, c := range []struct {
		what  string
		slots int
		left  []time.Duration
		line  []time.Duration
		want  []time.Duration
	}{
		{"one slot", 1, []time.Duration{2 * m}, []time.Duration{4 * m, 4 * m, 4 * m}, []time.Duration{2 * m, 6 * m, 10 * m}},
		{"two slots", 2, []time.Duration{2 * m, 3 * m}, []time.Duration{4 * m, 4 * m, 4 * m}, []time.Duration{2 * m, 3 * m, 6 * m}},
		{"a free slot", 2, []time.Duration{2 * m}, []time.Duration{m, m, m}, []time.Duration{0, m, 2 * m}},
		{"more run than allowed", 1, []time.Duration{2 * m, 5 * m}, []time.Duration{m}, []time.Duration{5 * m}},
	} {
		slots := NewSlotTimes(c.slots, c.left)
		for n, task := range c.line {
			if in := slots.Next(task); in != c.want[n] {
				t.Errorf("%s: turn %d in %s, want %s", c.what, n+1, in, c.want[n])
			}
		}
	}
}

func TestEstimatesAreRound(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "less than a minute", 44 * time.Second: "less than a minute", time.Minute: "about a minute",
		61 * time.Second: "about 2 minutes", 11 * time.Minute: "about 15 minutes", 61 * time.Minute: "about 75 minutes",
		119 * time.Minute: "about 2 hours", 121 * time.Minute: "about 3 hours", 25*time.Hour + 1: "about 26 hours",
	} {
		if got := About(Rough(d)); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
	for n, want := range map[int]string{1: "1st", 2: "2nd", 3: "3rd", 4: "4th", 11: "11th", 12: "12th", 13: "13th", 21: "21st", 102: "102nd", 111: "111th"} {
		if got := Ordinal(n); got != want {
			t.Errorf("%d: %q", n, got)
		}
	}
	for left, want := range map[time.Duration]time.Duration{0: AskAgain, time.Millisecond: time.Second, 15 * time.Second: 7500 * time.Millisecond, time.Hour: time.Minute} {
		if got := AskIn(left); got != want {
			t.Errorf("%s left: ask in %s, want %s", left, got, want)
		}
	}
}

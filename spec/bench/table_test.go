package bench_test

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// verdicts of a row. Only a failed count ends the run with an error: times on a
// shared machine are judged by people.
const (
	met    = "met"
	missed = "MISSED"
	failed = "FAILED"
	noisy  = "too noisy"
	shown  = "-" // no target
)

// row is one figure of the table.
type row struct{ figure, ours, floor, ratio, target, verdict string }

// table collects the rows of all figures.
type table struct {
	mu   sync.Mutex
	rows []row
}

func (t *table) add(r row) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows = append(t.rows, r)
}

// note adds a figure without a target.
func (t *table) note(figure, ours string) { t.add(row{figure: figure, ours: ours, verdict: shown}) }

// count adds a hard check: got must not be above most.
func (t *table) count(figure string, got, most float64) {
	verdict := met
	if math.Round(got*100) > most*100 {
		verdict = failed
	}
	t.add(row{figure: figure, ours: number(got), target: "≤ " + number(most), verdict: verdict})
}

// limit is what a ratio should keep to.
type limit struct {
	most, least float64 // 0 = none
}

func (l limit) String() string {
	switch {
	case l.most > 0:
		return fmt.Sprintf("≤ %.2f×", l.most)
	case l.least > 0:
		return fmt.Sprintf("≥ %.2f×", l.least)
	}
	return ""
}

func (l limit) verdict(ratio float64) string {
	switch {
	case l == limit{}:
		return shown
	case l.most > 0 && ratio > l.most, l.least > 0 && ratio < l.least:
		return missed
	}
	return met
}

// compare adds a soft figure of interleaved rounds; control, when there is one,
// is the floor's twin, which shows how much of a ratio is the machine.
func (t *table) compare(figure string, ours, floor, control []float64, unit func(float64) string, l limit) {
	ratios := divide(ours, floor)
	r := row{
		figure: figure, ours: unit(median(ours)), floor: unit(median(floor)), ratio: spread(ratios),
		target: l.String(), verdict: l.verdict(median(ratios)),
	}
	if len(control) > 0 {
		aa := divide(control, floor)
		r.floor += " (A/A " + spread(aa) + ")"
		if m := median(aa); r.verdict == missed && (m < 0.9 || m > 1.1) {
			r.verdict = noisy
		}
	}
	t.add(r)
}

// print writes the table and says whether a count failed.
func (t *table) print(w io.Writer) (ok bool) {
	ok = true
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(cells ...string) { _, _ = fmt.Fprintln(out, strings.Join(cells, "\t")) }
	line("figure", "ours", "floor", "ratio median [min..max]", "target", "verdict")
	for _, r := range t.rows {
		line(r.figure, r.ours, r.floor, r.ratio, r.target, r.verdict)
		ok = ok && r.verdict != failed
	}
	_ = out.Flush()
	return ok
}

func divide(a, b []float64) []float64 {
	ratios := make([]float64, min(len(a), len(b)))
	for i := range ratios {
		ratios[i] = a[i] / b[i]
	}
	return ratios
}

func median(values []float64) float64 { return quantile(values, 0.5) }

// quantile is the value that a part q of the values does not exceed; 0 for none.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	if q == 0.5 && len(sorted)%2 == 0 {
		return (sorted[len(sorted)/2-1] + sorted[len(sorted)/2]) / 2
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func spread(ratios []float64) string {
	if len(ratios) == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f [%.2f..%.2f]", median(ratios), slices.Min(ratios), slices.Max(ratios))
}

func number(v float64) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.3f", v), "0"), ".")
}

// Units of the columns "ours" and "floor"; times are seconds.
func duration(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

func perSecond(v float64) string { return fmt.Sprintf("%.0f/s", v) }

func micros(v float64) string { return fmt.Sprintf("%.0f µs CPU", v*1e6) }

package cmd

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/rivo/uniseg"
	"github.com/schollz/progressbar/v3"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/admin"
)

// style is the colour of a cell; only terminals see it.
type style string

// The colours, as ANSI codes.
const (
	plain  style = ""
	bold   style = "\x1b[1m"
	green  style = "\x1b[32m"
	yellow style = "\x1b[33m"
	red    style = "\x1b[31m"
	reset        = "\x1b[0m"
)

func styleOf(s serviceforge.State) style {
	switch s {
	case serviceforge.Running:
		return green
	case serviceforge.FailedCreation, serviceforge.FailedDeployment:
		return red
	}
	return yellow
}

// cell is one field of a table.
type cell struct {
	text  string
	style style
}

func text(s string) cell { return cell{text: s} }

// table prints aligned columns, two spaces apart, with a bold header.
type table struct{ rows [][]cell }

func newTable(header ...string) *table {
	row := make([]cell, len(header))
	for i, name := range header {
		row[i] = cell{name, bold}
	}
	return &table{rows: [][]cell{row}}
}

func (t *table) add(row ...cell) { t.rows = append(t.rows, row) }

func (t *table) write(w io.Writer, colour bool) error {
	var widths []int
	for _, row := range t.rows {
		for i := range row {
			row[i].text = printable(row[i].text)
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], uniseg.StringWidth(row[i].text))
		}
	}
	var out strings.Builder
	for _, row := range t.rows {
		var line strings.Builder
		for i, c := range row {
			line.WriteString(paint(c.text, c.style, colour))
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", widths[i]-uniseg.StringWidth(c.text)+2))
			}
		}
		out.WriteString(strings.TrimRight(line.String(), " "))
		out.WriteByte('\n')
	}
	_, err := io.WriteString(w, out.String())
	return err
}

func paint(s string, with style, colour bool) string {
	if !colour || with == plain || s == "" {
		return s
	}
	return string(with) + s + reset
}

// colourful says whether w shows colours (https://no-color.org).
func (e *clientEnv) colourful(w io.Writer) bool {
	return isTerminal(w) && e.env("NO_COLOR") == ""
}

// printable keeps what a broker says from steering the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

// writeJSON prints v indented, for programs.
func writeJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// progress shows how far an operation is: a bar to a person, to anybody else
// a line for each stage and each tenth.
type progress struct {
	out     io.Writer
	bar     *progressbar.ProgressBar // nil = lines
	last    string
	percent int
	started time.Time
}

func newProgress(out io.Writer) *progress {
	p := &progress{out: out, percent: -10, started: time.Now()}
	if isTerminal(out) {
		p.bar = progressbar.NewOptions(100,
			progressbar.OptionSetWriter(out),
			progressbar.OptionSetWidth(24),
			progressbar.OptionSetPredictTime(false),
			progressbar.OptionSetElapsedTime(false),
			progressbar.OptionShowDescriptionAtLineEnd(),
			progressbar.OptionClearOnFinish(),
			progressbar.OptionSetTheme(progressbar.Theme{Saucer: "█", SaucerPadding: "░"}),
		)
	}
	return p
}

// show tells about p, if it is news.
func (p *progress) show(now admin.Progress) {
	line := describe(now)
	if p.bar != nil {
		p.last = line
		p.bar.Describe(line)
		_ = p.bar.Set(min(now.Percent, 99)) // a full bar ends itself
		return
	}
	if line == p.last && now.Percent < p.percent+10 {
		return
	}
	p.last, p.percent = line, now.Percent
	fmt.Fprintf(p.out, "%3d %%  %s\n", now.Percent, line)
}

// done removes the bar and tells the result.
func (p *progress) done(result string) {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
	fmt.Fprintf(p.out, "%s after %s\n", result, time.Since(p.started).Round(100*time.Millisecond))
}

// describe makes one line of stage, node and description.
func describe(p admin.Progress) string {
	switch {
	case p.Stage != "" && p.Node != "":
		return printable(p.Stage + ": " + p.Node)
	case p.Stage != "":
		return printable(p.Stage)
	}
	return printable(p.Description)
}

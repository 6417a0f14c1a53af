// Package monit reads the two files that say what a BOSH job runs: monit files
// and bpm.yml.
package monit

import (
	"fmt"
	"strconv"
	"time"
)

// DefaultTimeout is how long monit waits for a process to start or stop when
// the file does not say.
const DefaultTimeout = 30 * time.Second

// Check is one `check` block of a monit file.
type Check struct {
	// Kind is process, file, filesystem, device, directory, fifo, program, host
	// or system.
	Kind string
	Name string
	Line int // where the block begins
	// Pidfile or Matching identify the process of a process check.
	Pidfile, Matching string
	// Target is the path or address of the other kinds.
	Target      string
	Start, Stop Program
	Group       string
	// Depends names the checks that must be started before this one.
	Depends []string
	Rules   []Rule
}

// Program is a start or stop program.
type Program struct {
	Command  string // run by a shell; empty: none given
	UID, GID string // user and group to run as; empty: root
	// Timeout is how long the effect may take; DefaultTimeout when not given.
	Timeout time.Duration
}

// Rule is an `if` clause. Rules are read for their grammar and kept as text.
type Rule struct {
	Condition, Action, Argument string
	Line                        int
}

// Parse reads a monit file. Global statements (set, include) are passed over.
// Errors name the line.
func Parse(src []byte) ([]Check, error) {
	tokens, err := lex(string(src))
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens}
	var checks []Check
	seen := map[string]bool{}
	for !p.end() {
		if p.accept("set", "include") {
			p.skipStatement()
			continue
		}
		c, err := p.check()
		if err != nil {
			return nil, err
		}
		if seen[c.Name] {
			return nil, fmt.Errorf("line %d: the service name %s is used twice", c.Line, c.Name)
		}
		seen[c.Name] = true
		checks = append(checks, c)
	}
	return checks, nil
}

type parser struct {
	tokens []token
	pos    int
}

func (p *parser) end() bool { return p.pos >= len(p.tokens) }

// peek answers the next token; at the end a token that equals nothing.
func (p *parser) peek() token {
	if p.end() {
		line := 1
		if n := len(p.tokens); n > 0 {
			line = p.tokens[n-1].line
		}
		return token{line: line, quoted: true}
	}
	return p.tokens[p.pos]
}

func (p *parser) accept(keywords ...string) bool {
	if !p.end() && p.peek().is(keywords...) {
		p.pos++
		return true
	}
	return false
}

// value takes the next token as the value of what.
func (p *parser) value(what string) (string, error) {
	t := p.peek()
	if p.end() {
		return "", p.errorf("%s is missing at the end of the file", what)
	}
	if t.text == "" || !t.quoted && t.is(",", "=") {
		return "", p.errorf("%s is missing", what)
	}
	p.pos++
	return t.text, nil
}

func (p *parser) number(what string) (int, error) {
	s, err := p.value(what)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > 1<<30 {
		p.pos--
		return 0, p.errorf("%s is a number, not %q", what, s)
	}
	return n, nil
}

func (p *parser) errorf(format string, args ...any) error {
	return fmt.Errorf("line %d: "+format, append([]any{p.peek().line}, args...)...)
}

// unexpected is the error for the next token where want was possible.
func (p *parser) unexpected(want string) error {
	if p.end() {
		return p.errorf("the file ends where %s is expected", want)
	}
	return p.errorf("%q where %s is expected", p.peek().text, want)
}

// skipStatement passes over a global statement up to the next one.
func (p *parser) skipStatement() {
	for !p.end() && !p.peek().is("check", "set", "include") {
		p.pos++
	}
}

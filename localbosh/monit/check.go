package monit

import (
	"strings"
	"time"
)

// check reads one `check` block.
func (p *parser) check() (Check, error) {
	c := Check{Line: p.peek().line}
	if !p.accept("check") {
		return c, p.unexpected("check")
	}
	kind, err := p.value("the kind of the check")
	if err != nil {
		return c, err
	}
	c.Kind = strings.ToLower(kind)
	if c.Name, err = p.value("the name of the check"); err != nil {
		return c, err
	}
	p.accept("with")
	if err := p.subject(&c); err != nil {
		return c, err
	}
	for !p.end() && !p.peek().is("check", "set", "include") {
		if err := p.clause(&c); err != nil {
			return c, err
		}
	}
	return c, nil
}

// subject reads what a check looks at.
func (p *parser) subject(c *Check) (err error) {
	switch c.Kind {
	case "process":
		switch {
		case p.accept("pidfile"):
			c.Pidfile, err = p.value("the path of the pidfile")
		case p.accept("matching"):
			c.Matching, err = p.value("the pattern")
		default:
			err = p.unexpected("pidfile")
		}
	case "file", "filesystem", "device", "directory", "fifo", "program":
		if !p.accept("path") {
			return p.unexpected("path")
		}
		c.Target, err = p.value("the path")
	case "host":
		if !p.accept("address") {
			return p.unexpected("address")
		}
		c.Target, err = p.value("the address")
	case "system":
	default:
		err = p.errorf("there is no check of kind %q", c.Kind)
	}
	return err
}

func (p *parser) clause(c *Check) (err error) {
	switch {
	case p.accept("start"):
		c.Start, err = p.program()
	case p.accept("stop"):
		c.Stop, err = p.program()
	case p.accept("restart"):
		_, err = p.program()
	case p.accept("group"):
		c.Group, err = p.value("the group")
	case p.accept("mode"):
		_, err = p.value("the mode")
	case p.accept("every"):
		if _, err = p.number("the number of cycles"); err == nil {
			p.accept("cycle", "cycles")
		}
	case p.accept("depends", "depend"):
		p.accept("on")
		err = p.depends(c)
	case p.accept("if"):
		err = p.rule(c)
	default:
		err = p.unexpected("a clause of check " + c.Name)
	}
	return err
}

func (p *parser) depends(c *Check) error {
	for {
		name, err := p.value("the name of a check")
		if err != nil {
			return err
		}
		c.Depends = append(c.Depends, name)
		if !p.accept(",") {
			return nil
		}
	}
}

// program reads ["program"] ["="] STRING ["as" "uid" X ["and"] ["gid" Y]]
// [["with"] "timeout" N ["seconds"]].
func (p *parser) program() (Program, error) {
	p.accept("program")
	p.accept("=")
	prog := Program{Timeout: DefaultTimeout}
	var err error
	if prog.Command, err = p.value("the program"); err != nil {
		return prog, err
	}
	for err == nil {
		switch {
		case p.accept("as"):
			err = p.owner(&prog)
		case p.peek().is("with") && p.pos+1 < len(p.tokens) && p.tokens[p.pos+1].is("timeout"):
			p.pos++
		case p.accept("timeout"):
			var n int
			n, err = p.number("the timeout")
			prog.Timeout = time.Duration(n) * time.Second
			p.accept("second", "seconds")
		default:
			return prog, nil
		}
	}
	return prog, err
}

// owner reads "uid" X and "gid" Y in either order.
func (p *parser) owner(prog *Program) (err error) {
	found := false
	for {
		switch {
		case p.accept("uid"):
			prog.UID, err = p.value("the user")
		case p.accept("gid"):
			prog.GID, err = p.value("the group")
		case found:
			return nil
		default:
			return p.unexpected("uid or gid")
		}
		if err != nil {
			return err
		}
		found = true
		p.accept("and")
	}
}

// rule reads cond "then" action ["else" ["if" word] ["then"] action].
func (p *parser) rule(c *Check) error {
	r := Rule{Line: p.peek().line}
	var words []string
	for !p.peek().is("then") {
		if p.end() || p.peek().is("check") {
			return p.unexpected("then")
		}
		words = append(words, p.peek().text)
		p.pos++
	}
	p.accept("then")
	r.Condition = strings.Join(words, " ")
	var err error
	if r.Action, r.Argument, err = p.action(); err != nil {
		return err
	}
	if p.accept("else") {
		if p.accept("if") && !p.accept("recovered", "succeeded", "passed") {
			return p.unexpected("recovered")
		}
		p.accept("then")
		if _, _, err := p.action(); err != nil {
			return err
		}
	}
	c.Rules = append(c.Rules, r)
	return nil
}

func (p *parser) action() (action, argument string, err error) {
	if p.accept("exec") {
		argument, err = p.value("the program")
		return "exec", argument, err
	}
	for _, a := range []string{"restart", "start", "stop", "alert", "monitor", "unmonitor"} {
		if p.accept(a) {
			return a, "", nil
		}
	}
	return "", "", p.unexpected("an action")
}

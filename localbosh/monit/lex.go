package monit

import (
	"fmt"
	"strings"
)

// token is a word, a quoted string, or one of "," and "=".
type token struct {
	text   string
	quoted bool
	line   int
}

// is tells whether the token is one of the keywords, in any case.
func (t token) is(keywords ...string) bool {
	for _, k := range keywords {
		if !t.quoted && strings.EqualFold(t.text, k) {
			return true
		}
	}
	return false
}

// lex cuts a monit file into tokens. A comment runs from # to the end of the
// line.
func lex(src string) ([]token, error) {
	var out []token
	line := 1
	for i := 0; i < len(src); {
		c := src[i]
		switch {
		case c == '\n':
			line++
			i++
		case isBlank(c):
			i++
		case c == '#':
			for i < len(src) && src[i] != '\n' {
				i++
			}
		case c == '"' || c == '\'':
			end := strings.IndexByte(src[i+1:], c)
			if end < 0 {
				return nil, fmt.Errorf("line %d: the string that begins with %c has no end", line, c)
			}
			text := src[i+1 : i+1+end]
			out = append(out, token{text: text, quoted: true, line: line})
			line += strings.Count(text, "\n")
			i += end + 2
		case c == ',' || c == '=':
			out = append(out, token{text: string(c), line: line})
			i++
		default:
			j := i
			for j < len(src) && !isBlank(src[j]) && !strings.ContainsRune(",\"'#\n", rune(src[j])) {
				j++
			}
			out = append(out, token{text: src[i:j], line: line})
			i = j
		}
	}
	return out, nil
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v' }

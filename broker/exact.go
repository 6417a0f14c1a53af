package broker

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/serviceforge/serviceforge"
)

// exact makes of a body one that says the same to every reader: a name that
// stands twice in one object is refused, for readers differ in which of the two
// they take; and what is spelled otherwise than a field of OSB is a vendor's
// field, and left out: brokerapi's decoder takes "Parameters" for "parameters".
func exact(content []byte) ([]byte, error) {
	if err := distinct(content); err != nil {
		return nil, err
	}
	var object map[string]json.RawMessage // numbers stay as they are
	if err := json.Unmarshal(content, &object); err != nil {
		return nil, unfit(err)
	}
	if !prune(object) {
		return content, nil
	}
	content, err := json.Marshal(object)
	if err != nil {
		return nil, unfit(err)
	}
	return content, nil
}

// structured are the fields whose own fields OSB names, too.
var structured = []string{"maintenance_info", "bind_resource", "previous_values"}

// prune deletes what cannot be a field of OSB, and says whether there was any.
func prune(object map[string]json.RawMessage) (pruned bool) {
	for name := range object {
		if strings.ContainsFunc(name, func(r rune) bool { return (r < 'a' || r > 'z') && r != '_' }) {
			delete(object, name)
			pruned = true
		}
	}
	for _, name := range structured {
		var inner map[string]json.RawMessage
		if json.Unmarshal(object[name], &inner) != nil || !prune(inner) {
			continue
		}
		if content, err := json.Marshal(inner); err == nil {
			object[name], pruned = content, true
		}
	}
	return pruned
}

// distinct refuses a document of which an object has a name twice. What is no
// JSON is not its matter.
func distinct(content []byte) error {
	type open struct {
		names map[string]bool // nil in an array
		value bool            // what comes is a value, not a name
	}
	var stack []open
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.UseNumber()
	for {
		token, err := decoder.Token()
		if err != nil {
			return nil //nolint:nilerr // the end, or no JSON
		}
		if token == json.Delim('}') || token == json.Delim(']') {
			stack = stack[:len(stack)-1]
			continue
		}
		if top := len(stack) - 1; top >= 0 && stack[top].names != nil {
			if name, is := token.(string); is && !stack[top].value {
				if stack[top].names[name] {
					return serviceforge.Errorf(serviceforge.Invalid, "%.100q stands twice in one object of the request body", name)
				}
				stack[top].names[name], stack[top].value = true, true
				continue
			}
			stack[top].value = false
		}
		switch token {
		case json.Delim('{'):
			stack = append(stack, open{names: map[string]bool{}})
		case json.Delim('['):
			stack = append(stack, open{})
		}
	}
}

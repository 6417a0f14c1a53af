package broker

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

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
// JSON is not its matter. The reader is that of Go's coming encoding/json/v2,
// which looks for this while it reads.
func distinct(content []byte) error {
	_, err := jsontext.NewDecoder(bytes.NewBuffer(content), jsontext.AllowInvalidUTF8(true)).ReadValue()
	if wrong, is := errors.AsType[*jsontext.SyntacticError](err); is && errors.Is(err, jsontext.ErrDuplicateName) {
		return serviceforge.Errorf(serviceforge.Invalid, "%.100q stands twice in one object of the request body", wrong.JSONPointer.LastToken())
	}
	return nil
}

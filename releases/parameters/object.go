package parameters

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/serviceforge/serviceforge"
)

// largest bounds parameters and context: etcd takes 1.5 MB a request.
const largest = 64 << 10

// CheckObject takes a JSON object of reasonable size, or nothing, whose strings
// neither Spiff nor a director would evaluate.
func CheckObject(name string, document json.RawMessage) error {
	if len(document) == 0 || string(document) == "null" {
		return nil
	}
	if len(document) > largest {
		return serviceforge.Errorf(serviceforge.TooLarge, "%s is larger than %d bytes", name, largest)
	}
	var object map[string]any
	err := json.Unmarshal(document, &object)
	if wrong, is := errors.AsType[*json.UnmarshalTypeError](err); is && strings.HasPrefix(wrong.Value, "number ") { // it names the value
		return serviceforge.Wrap(err, serviceforge.Invalid, "%s holds a number that is too large", name)
	}
	if err != nil {
		return serviceforge.Wrap(err, serviceforge.Invalid, "%s is not a JSON object", name)
	}
	return RefuseReferences(name, object)
}

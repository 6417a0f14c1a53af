package verdict

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/serviceforge/serviceforge"
)

// shortestHidden is the least length of a value that is a secret for sure;
// shorter ones are words that appear anywhere.
const shortestHidden = 6

// Redact replaces the instance's secrets and parameters in what a director said:
// some of its messages quote the manifest (recording 300-deploy-bad-noupdate).
func Redact(i *serviceforge.Instance, told string) string {
	var values []string
	for _, document := range []serviceforge.Secret{i.Secrets, i.Parameters, i.Operation.Wish.Parameters} {
		var content any
		if json.Unmarshal([]byte(document.Reveal()), &content) == nil {
			values = leaves(content, values)
		}
	}
	slices.SortFunc(values, func(a, b string) int { return len(b) - len(a) }) // a part must not go before the whole
	for _, v := range values {
		told = strings.ReplaceAll(told, v, "[redacted]")
	}
	return told
}

// leaves collects the strings of a JSON value, as they are and as Ruby and JSON quote them.
func leaves(value any, into []string) []string {
	switch v := value.(type) {
	case map[string]any:
		for _, member := range v {
			into = leaves(member, into)
		}
	case []any:
		for _, member := range v {
			into = leaves(member, into)
		}
	case string:
		if len(v) < shortestHidden {
			return into
		}
		into = append(into, v)
		if quoted, err := json.Marshal(v); err == nil && string(quoted[1:len(quoted)-1]) != v {
			into = append(into, string(quoted[1:len(quoted)-1]))
		}
	}
	return into
}

package releases_test

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge/releases"
)

type schemaNode struct {
	Description string
	Type        any
	Properties  map[string]*schemaNode
	Items       *schemaNode
	Additional  json.RawMessage `json:"additionalProperties"`
}

func schemaOf(t *testing.T, text []byte) *schemaNode {
	t.Helper()
	var n schemaNode
	if err := json.Unmarshal(text, &n); err != nil {
		t.Fatal(err)
	}
	return &n
}

// TestSchemaIsWhatIsRead: a key that is in the schema alone would be accepted
// and dropped, one that is not in it is refused although we know it.
func TestSchemaIsWhatIsRead(t *testing.T) {
	compareKeys(t, "service.yml", schemaOf(t, releases.Schema), releases.ServiceFile)
}

// TestUsersSchemaIsWhatIsRead: users is Spiff, so its keys are read once it is rendered.
func TestUsersSchemaIsWhatIsRead(t *testing.T) {
	compareKeys(t, "users", schemaOf(t, releases.Schema).Properties["services"].Items.Properties["users"], releases.UsersSection)
}

func compareKeys(t *testing.T, where string, n *schemaNode, to reflect.Type) {
	t.Helper()
	for to.Kind() == reflect.Pointer || to.Kind() == reflect.Slice {
		if to.Kind() == reflect.Slice {
			n = n.Items
		}
		to = to.Elem()
	}
	if n == nil || to.Kind() == reflect.Map && to.Elem().Kind() == reflect.Struct {
		if n != nil && len(n.Additional) > 0 {
			compareKeys(t, where+".*", schemaOf(t, n.Additional), to.Elem())
		}
		return
	}
	if to.Kind() != reflect.Struct || n.Properties == nil || to.PkgPath() == "gopkg.in/yaml.v3" || to == releases.Snippet {
		return
	}
	read := fieldsOf(to)
	for _, name := range slices.Sorted(maps.Keys(n.Properties)) {
		field, ok := read[name]
		if !ok {
			t.Errorf("%s.%s is in the schema, but not read", where, name)
			continue
		}
		if n.Properties[name].Description == "" && strings.Count(where, ".") < 5 {
			t.Errorf("%s.%s has no description", where, name)
		}
		compareKeys(t, where+"."+name, n.Properties[name], field)
	}
	for name := range read {
		if n.Properties[name] == nil {
			t.Errorf("%s.%s is read, but not in the schema (releases/service.schema.json)", where, name)
		}
	}
}

// fieldsOf are a struct's keys, those of inlined structs among them.
func fieldsOf(of reflect.Type) map[string]reflect.Type {
	out := map[string]reflect.Type{}
	for _, f := range reflect.VisibleFields(of) {
		if name, _, _ := strings.Cut(f.Tag.Get("yaml"), ","); name != "" && f.IsExported() {
			out[name] = f.Type
		}
	}
	return out
}

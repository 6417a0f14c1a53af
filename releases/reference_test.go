package releases_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge/releases"
)

const referencePage = "../docs/service-release.md"

// TestReferencePage: the table of keys in docs/service-release.md is the schema's.
// UPDATE_GOLDEN=1 writes it.
func TestReferencePage(t *testing.T) {
	text, err := os.ReadFile(referencePage)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- keys: from releases/service.schema.json, by its test -->\n", "<!-- end of keys -->\n"
	head, rest, found := strings.Cut(string(text), begin)
	_, tail, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatal("the page has no place for the keys")
	}
	var table strings.Builder
	table.WriteString("| key | type | meaning |\n|---|---|---|\n")
	writeKeys(t, &table, "", schemaOf(t, releases.Schema))
	want := head + begin + table.String() + end + tail
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(referencePage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(text) != want {
		t.Errorf("%s is not what the schema says: UPDATE_GOLDEN=1 go test -run ReferencePage ./releases", referencePage)
	}
}

func writeKeys(t *testing.T, out *strings.Builder, path string, n *schemaNode) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(n.Properties)) {
		p := n.Properties[name]
		kind := fmt.Sprint(p.Type)
		if p.Type == nil {
			kind = "word"
		}
		here := path + name
		fmt.Fprintf(out, "| `%s` | %s | %s |\n", here, strings.Trim(kind, "[]"), strings.ReplaceAll(p.Description, "|", `\|`))
		switch {
		case p.Items != nil && p.Items.Properties != nil:
			writeKeys(t, out, here+"[].", p.Items)
		case p.Properties != nil:
			writeKeys(t, out, here+".", p)
		case strings.HasPrefix(string(p.Additional), "{"):
			writeKeys(t, out, here+".*.", schemaOf(t, p.Additional))
		}
	}
}

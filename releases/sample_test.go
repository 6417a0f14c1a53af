package releases_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/releases"
)

func TestRenderOfflineHidesSecrets(t *testing.T) {
	r := load(t, releases.Etcd())
	in, err := r.Sample("3-servers", localPool(t), []byte(`{"prefix":"/x"}`))
	if err != nil {
		t.Fatal(err)
	}
	hidden, err := r.Offline(limited(t), renderer(t), in, false)
	if err != nil || strings.Contains(string(hidden), "sfsecret") || !strings.Contains(string(hidden), `"root_password": "[redacted]"`) ||
		!strings.Contains(string(hidden), `"prefix": "/x"`) {
		t.Errorf("%v\n%s", err, hidden)
	}
	text, err := r.Offline(limited(t), renderer(t), in, true)
	if err != nil {
		t.Fatal(serviceforge.DetailOf(err))
	}
	declared := map[string]any{}
	for _, v := range parse(t, text)["variables"].([]any) {
		declared[v.(map[string]any)["name"].(string)] = v
	}
	if len(declared) != 4 || !strings.Contains(string(text), `"((peer.private_key))"`) || strings.Contains(string(text), "sfsecret") {
		t.Errorf("variables %v in\n%s", maps.Keys(declared), text)
	}
	if _, err := r.Sample("9-servers", localPool(t), nil); serviceforge.CodeOf(err) != serviceforge.NotFound {
		t.Errorf("got %v", err)
	}
}

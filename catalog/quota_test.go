package catalog_test

import (
	"testing"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/catalog"
)

func TestLimitsAreForIDs(t *testing.T) {
	c, err := catalog.New(offerings())
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"service:etcd/instances=1": "service:s1/instances=1", "service:s1/instances=1": "service:s1/instances=1",
		"plan:etcd/large/ips=1": "plan:p2/ips=1", "plan:p1/ips=1": "plan:p1/ips=1", "plan/ips=1": "plan/ips=1",
		"space:etcd/ips=1": "space:etcd/ips=1", "service:nope/ips=1": "", "plan:etcd/ips=1": "", "plan:s1/ips=1": "", "service:p1/ips=1": "",
	} {
		limit, err := serviceforge.ParseLimit(text)
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.Limit(limit)
		if want == "" && serviceforge.CodeOf(err) != serviceforge.Invalid || want != "" && (err != nil || got.String() != want) {
			t.Errorf("%s: got %s, %v; want %q", text, got, err, want)
		}
	}
	for want, quota := range map[string]serviceforge.Quota{
		"etcd": {Scope: "service", ID: "s1"}, "etcd/large": {Scope: "plan", ID: "p2"}, "p1": {Scope: "space", ID: "p1"}, "gone": {Scope: "plan", ID: "gone"},
	} {
		if got := c.Name(quota); got != want {
			t.Errorf("%+v is named %q, want %q", quota, got, want)
		}
	}
}

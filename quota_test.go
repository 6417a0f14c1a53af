package serviceforge_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/serviceforge/serviceforge"
)

func TestLimitsAreRead(t *testing.T) {
	for text, want := range map[string]serviceforge.Limit{
		"broker/instances=500":                           {Quota: serviceforge.Quota{Scope: "broker", Resource: "instances"}, Most: 500},
		"organization/instances=0":                       {Quota: serviceforge.Quota{Scope: "organization", Resource: "instances"}},
		"space:a=b/c:d/memory_mb=7":                      {Quota: serviceforge.Quota{Scope: "space", ID: "a=b/c:d", Resource: "memory_mb"}, Most: 7},
		"plan:etcd-dedicated/3-servers/ips=4":            {Quota: serviceforge.Quota{Scope: "plan", ID: "etcd-dedicated/3-servers", Resource: "ips"}, Most: 4},
		"platform:cc/instances=9223372036854775807":      {Quota: serviceforge.Quota{Scope: "platform", ID: "cc", Resource: "instances"}, Most: 1<<63 - 1},
		"service:b9698740-4810-4dc5-8da6/memory_mb=4096": {Quota: serviceforge.Quota{Scope: "service", ID: "b9698740-4810-4dc5-8da6", Resource: "memory_mb"}, Most: 4096},
	} {
		got, err := serviceforge.ParseLimit(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%q: got %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "10", "organization=10", "organization/instances", "organization/instances=-1", "organization/instances=1.5",
		"organization/=1", "organization/Memory=1", "organization:/instances=1", "broker:x/instances=1", "org/instances=1", "/instances=1",
		"organization/instances=9223372036854775808"} {
		if got, err := serviceforge.ParseLimit(text); serviceforge.CodeOf(err) != serviceforge.Invalid {
			t.Errorf("%q: got %+v, %v; want Invalid", text, got, err)
		}
	}
}

func TestAnUpdateTakesTheLargerOfBoth(t *testing.T) {
	i := serviceforge.Instance{Platform: "cc", ServiceID: "s", SpaceGUID: "sp"}
	check := func(when string, want map[string]int64) {
		t.Helper()
		got := map[string]int64{}
		for quota, n := range i.Account().Takes() {
			got[quota.String()] = n
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", when, diff)
		}
	}
	with := func(plans map[string]int64, common map[string]int64) map[string]int64 {
		for _, scope := range []string{"broker", "platform:cc", "service:s", "space:sp"} {
			for resource, n := range common {
				plans[scope+"/"+resource] = n
			}
		}
		return plans
	}
	small := map[string]int64{"plan:small/instances": 1, "plan:small/memory_mb": 2, "plan:small/ips": 3}
	large := map[string]int64{"plan:large/instances": 1, "plan:large/memory_mb": 4}
	both := map[string]int64{"plan:small/instances": 1, "plan:small/memory_mb": 2, "plan:small/ips": 3, "plan:large/instances": 1, "plan:large/memory_mb": 4}

	i.Hold("small", serviceforge.Costs{"memory_mb": 2, "ips": 3})
	check("created", with(small, map[string]int64{"instances": 1, "memory_mb": 2, "ips": 3}))
	before := i.Account()
	i.Reserve("large", serviceforge.Costs{"memory_mb": 4})
	check("reserved", with(both, map[string]int64{"instances": 1, "memory_mb": 4, "ips": 3}))
	if before.Equal(i.Account()) {
		t.Error("a reservation is no change")
	}
	i.Settle(false)
	i.Settle(false)
	if !before.Equal(i.Account()) {
		t.Errorf("after a failure it is %+v, not %+v", i.Account(), before)
	}
	i.Reserve("large", serviceforge.Costs{"memory_mb": 4})
	i.Settle(true)
	i.Settle(true)
	check("updated", with(large, map[string]int64{"instances": 1, "memory_mb": 4}))
	i.GiveBack()
	check("nothing is left", map[string]int64{})
}

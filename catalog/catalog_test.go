package catalog_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/catalog"
)

func offerings() []catalog.Offering {
	return []catalog.Offering{
		{ID: "s1", Name: "etcd", Description: "d", Bindable: true, DeploymentNamePrefix: "etcd", Plans: []catalog.Plan{
			{ID: "p1", Name: "small", Description: "d"}, {ID: "p2", Name: "large", Description: "d"},
		}},
		{ID: "s2", Name: "redis", Description: "d", DeploymentNamePrefix: "redis", Plans: []catalog.Plan{
			{ID: "p3", Name: "small", Description: "d"},
		}},
	}
}

func TestPlanLooksUp(t *testing.T) {
	c, err := catalog.New(offerings())
	if err != nil {
		t.Fatal(err)
	}
	o, p, err := c.Plan("s1", "p2")
	if err != nil || o.Name != "etcd" || p.Name != "large" {
		t.Fatalf("got %v %v %v", o.Name, p.Name, err)
	}
	for _, test := range []struct{ service, plan, want string }{
		{"nope", "p1", `unknown service "nope"`},
		{"s1", "nope", `unknown plan "nope" of service etcd`},
		{"s1", "p3", `plan "p3" belongs to service redis, not to etcd`},
		{"", "", `unknown service ""`},
	} {
		_, _, err := c.Plan(test.service, test.plan)
		if serviceforge.CodeOf(err) != serviceforge.Invalid || err.Error() != test.want {
			t.Errorf("%s/%s: got %v, want %s", test.service, test.plan, err, test.want)
		}
	}
}

func TestBindable(t *testing.T) {
	no := false
	o := catalog.Offering{Bindable: true}
	if !catalog.Bindable(o, catalog.Plan{}) || catalog.Bindable(o, catalog.Plan{Bindable: &no}) {
		t.Error("the plan's word must win, else the offering's")
	}
}

func TestNewRefuses(t *testing.T) {
	for _, test := range []struct {
		name, want string
		change     func(o []catalog.Offering)
	}{
		{"no id", "has no id", func(o []catalog.Offering) { o[0].ID = "" }},
		{"no name", "has no name", func(o []catalog.Offering) { o[0].Name = "" }},
		{"space", "must not hold spaces", func(o []catalog.Offering) { o[0].Name = "a b" }},
		{"no description", "has no description", func(o []catalog.Offering) { o[0].Plans[0].Description = " " }},
		{"no plans", "has no plans", func(o []catalog.Offering) { o[1].Plans = nil }},
		{"no prefix", "no deployment name prefix", func(o []catalog.Offering) { o[1].DeploymentNamePrefix = "" }},
		{"service name twice", "the name is used twice", func(o []catalog.Offering) { o[1].Name = "etcd" }},
		{"plan name twice", "the name is used twice", func(o []catalog.Offering) { o[0].Plans[1].Name = "small" }},
		{"plan id twice", "the id p1 is used twice", func(o []catalog.Offering) { o[1].Plans[0].ID = "p1" }},
		{"plan id is a service id", "the id s1 is used twice", func(o []catalog.Offering) { o[1].Plans[0].ID = "s1" }},
		{"negative", "must not be negative", func(o []catalog.Offering) { o[1].Plans[0].Deadline = -1 }},
		{"choice", "pools are chosen by", func(o []catalog.Offering) { o[1].Plans[0].Pools.Choose = "dice" }},
		{"schema", "has no $schema", func(o []catalog.Offering) { o[1].Plans[0].Schemas.Bind = json.RawMessage(`{}`) }},
		{"schema size", "larger than 64 KiB", func(o []catalog.Offering) {
			o[1].Plans[0].Schemas.Bind = json.RawMessage(`"` + strings.Repeat("x", 65<<10) + `"`)
		}},
	} {
		o := offerings()
		test.change(o)
		_, err := catalog.New(o)
		if serviceforge.CodeOf(err) != serviceforge.Invalid || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %s", test.name, err, test.want)
		}
	}
}

package cmd

import (
	"bytes"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge/admin"
	"github.com/serviceforge/serviceforge/store"
)

func TestQuotaCommandsWithoutLimits(t *testing.T) {
	c := newTerminal(t)
	if out, _ := c.ok("quota"); !strings.HasPrefix(out, "nothing is limited") {
		t.Errorf("quota: %s", out)
	}
	if out, _ := c.ok("quota", "--json"); !strings.Contains(out, `"use": []`) {
		t.Errorf("quota --json: %s", out)
	}
	c.fails("no limit is configured", "quota", "recount")
}

func TestQuotasAreShown(t *testing.T) {
	var out bytes.Buffer
	err := writeQuotas(reader{out: &out}, &admin.Quotas{Limits: []string{"organization/instances=10", "plan:5cfa/ips=50"}, Use: []admin.QuotaUse{
		{Scope: "organization", ID: "o", Name: "o", Resource: "instances", Used: 10, Limit: 10},
		{Scope: "plan", ID: "5cfa", Name: "etcd-dedicated/5-servers", Resource: "ips", Used: 0, Limit: 50},
	}, Counting: true})
	if err != nil {
		t.Fatal(err)
	}
	want := `scope         of                        resource   used  limit
organization  o                         instances  10    10
plan          etcd-dedicated/5-servers  ips        0     50
limit organization/instances=10
limit plan:5cfa/ips=50
The quotas are being counted; requests wait.
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	out.Reset()
	if err := writeRecounted(reader{out: &out}, &admin.Recounted{Corrections: []store.Correction{{Quota: "broker/instances", Was: 3, Is: 2}}}); err != nil {
		t.Fatal(err)
	}
	if want := "quota             was  is\nbroker/instances  3    2\n"; out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

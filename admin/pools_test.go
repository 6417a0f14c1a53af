package admin_test

import (
	"testing"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/admin"
	"github.com/serviceforge/serviceforge/spec/osb/scene"
)

func TestPools(t *testing.T) {
	s, ctx := newStage(t), t.Context()
	order := admin.Order{ServiceID: scene.Service, PlanID: scene.OneServer}
	if _, err := s.client.Create(ctx, "a", order); err != nil {
		t.Fatal(err)
	}
	s.Deploy(t, "a")
	all, err := s.client.Pools(ctx)
	if err != nil || len(all) != 1 || all[0].Name != "local" || all[0].State != "active" || all[0].Instances != 1 || all[0].InFlight != 1 || all[0].Healthy {
		t.Errorf("%+v %v", all, err)
	}
	wantCode(t, s.client.SetPool(ctx, "local", admin.PoolOrder{State: "cordoned"}), serviceforge.Invalid)
	wantCode(t, s.client.SetPool(ctx, "no/pe", admin.PoolOrder{State: "cordoned", Reason: "x"}), serviceforge.NotFound)
	if err := s.client.SetPool(ctx, "local", admin.PoolOrder{State: "cordoned", Reason: "new racks"}); err != nil {
		t.Error(err)
	}
	all, err = s.client.Pools(ctx)
	if err != nil || all[0].State != "cordoned" || all[0].Reason != "new racks" || all[0].Actor != "token 1" {
		t.Errorf("%+v %v", all, err)
	}
	_, err = s.client.Create(ctx, "b", order)
	wantCode(t, err, serviceforge.Exhausted)
	if again, err := s.client.Create(ctx, "a", order); err != nil || again.Operation == "" {
		t.Errorf("the order that was accepted before: %+v %v", again, err)
	}
	findings, err := s.client.CheckPool(ctx, "local")
	if err != nil || len(findings) != 1 || findings[0].Good {
		t.Errorf("%+v %v", findings, err)
	}
	if found, err := s.client.Orphans(ctx); err != nil || len(found.Orphans) != 0 || len(found.Silent) != 1 || found.Silent[0].Pool != "local" {
		t.Errorf("%+v %v", found, err)
	}
	_, err = s.client.DeleteOrphan(ctx, "", "etcd-x", -1, false)
	wantCode(t, err, serviceforge.Invalid)
}

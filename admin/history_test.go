package admin_test

import (
	"testing"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/admin"
	"github.com/serviceforge/serviceforge/spec/osb/scene"
)

func TestHistoryOfADeletedInstance(t *testing.T) {
	s, ctx := newStage(t), t.Context()
	_, err := s.client.Create(ctx, "a", admin.Order{ServiceID: scene.Service, PlanID: scene.OneServer})
	if err != nil {
		t.Fatal(err)
	}
	s.Fail(t, "a", "It failed", "the cause")
	if _, err := s.client.Delete(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	s.Bury(t, "a")
	told, err := s.client.History(ctx, "a")
	if err != nil || len(told) != 4 || told[0].Actor != "token 1" || told[1].Cause != "the cause" || told[1].After != serviceforge.FailedDeployment {
		t.Errorf("%+v %v", told, err)
	}
	_, err = s.client.History(ctx, "nope")
	wantCode(t, err, serviceforge.NotFound)
}

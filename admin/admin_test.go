package admin_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/admin"
	"github.com/serviceforge/serviceforge/orchestrator"
	"github.com/serviceforge/serviceforge/spec/osb/scene"
)

type stage struct {
	*scene.Scene
	server *httptest.Server
	client *admin.Client
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{Scene: scene.New(t)}
	s.server = httptest.NewServer(admin.New(admin.Options{
		Engine:  s.Engine,
		Store:   s.Store,
		Catalog: s.Catalog,
	}))
	t.Cleanup(s.server.Close)
	s.client = &admin.Client{URL: s.server.URL + "/", Token: s.Token(t, serviceforge.Admin)}
	return s
}

func wantCode(t *testing.T, err error, code serviceforge.Code) {
	t.Helper()
	if serviceforge.CodeOf(err) != code || err != nil && err.Error() == "" {
		t.Errorf("got %q (%v), want %q", serviceforge.CodeOf(err), err, code)
	}
}

func TestLifeOfAnInstance(t *testing.T) {
	s, ctx := newStage(t), t.Context()
	const id = "my/etcd 1"
	order := admin.Order{ServiceID: scene.Service, PlanID: scene.ThreeServers, Parameters: json.RawMessage(`{"prefix": "/x"}`)}
	first, err := s.client.Create(ctx, id, order)
	if err != nil || first.Operation == "" || first.Done {
		t.Fatalf("%+v %v", first, err)
	}
	if again, err := s.client.Create(ctx, id, order); err != nil || again != first {
		t.Errorf("the same order again: %+v %v", again, err)
	}
	_, err = s.client.Create(ctx, id, admin.Order{ServiceID: scene.Service, PlanID: scene.OneServer})
	wantCode(t, err, serviceforge.Conflict)
	record, err := s.Store.Instance(ctx, id)
	if err != nil || record.Platform != "cc" || record.Operation.Actor != "token 1" || !strings.Contains(record.Context.Reveal(), `"instance_name":"my/etcd 1"`) {
		t.Errorf("record: %+v %s %v", record, record.Context.Reveal(), err)
	}
	_, err = s.client.Bind(ctx, id, "b", admin.BindingOrder{})
	wantCode(t, err, serviceforge.NotReady)

	s.Succeed(t, id)
	if done, err := s.client.Create(ctx, id, order); err != nil || !done.Done {
		t.Errorf("the same order when it is done: %+v %v", done, err)
	}
	made, err := s.client.Bind(ctx, id, "b/1", admin.BindingOrder{})
	if err != nil || !strings.Contains(string(made.Credentials), "127.1.2.3") || made.Existed {
		t.Fatalf("bind: %+v %v", made, err)
	}
	again, err := s.client.Bind(ctx, id, "b/1", admin.BindingOrder{})
	if err != nil || !again.Existed || string(again.Credentials) != string(made.Credentials) {
		t.Errorf("bind again: %+v %v", again, err)
	}
	if got, err := s.client.Binding(ctx, id, "b/1"); err != nil || string(got.Credentials) != string(made.Credentials) {
		t.Errorf("binding: %+v %v", got, err)
	}
	list, err := s.client.Bindings(ctx, id)
	if err != nil || len(list) != 1 || list[0].ID != "b/1" || string(list[0].Credentials) != "null" {
		t.Errorf("bindings: %+v %v", list, err)
	}
	instance, err := s.client.Instance(ctx, id)
	if err != nil || instance.State != serviceforge.Running || instance.Plan != "3-servers" || instance.Task != 16 ||
		len(instance.Bindings) != 1 || instance.Facts["etcd"][0] != "127.1.2.3" {
		t.Errorf("instance: %+v %v", instance, err)
	}
	all, err := s.client.Instances(ctx)
	if err != nil || len(all) != 1 || all[0].ID != id || all[0].State != serviceforge.Running || all[0].Service != "etcd-dedicated" {
		t.Errorf("instances: %+v %v", all, err)
	}
	if unbound, err := s.client.Unbind(ctx, id, "b/1"); err != nil || unbound.UserStays {
		t.Errorf("unbind: %v", err)
	}
	_, err = s.client.Unbind(ctx, id, "b/1")
	wantCode(t, err, serviceforge.Gone)

	end, err := s.client.Delete(ctx, id)
	if err != nil || end.Done {
		t.Errorf("delete: %+v %v", end, err)
	}
	s.Bury(t, id)
	if p, err := s.client.Operation(ctx, id, end.Operation, 0, ""); err != nil || p.State != serviceforge.Succeeded || p.Kind != serviceforge.Deprovision {
		t.Errorf("after the end: %+v %v", p, err)
	}
	_, err = s.client.Delete(ctx, id)
	wantCode(t, err, serviceforge.Gone)
	_, err = s.client.Instance(ctx, id)
	wantCode(t, err, serviceforge.NotFound)
}

func TestOperatorsSeeAllPlatforms(t *testing.T) {
	s, ctx := newStage(t), t.Context()
	_, err := s.Engine.Provision(ctx, orchestrator.ProvisionRequest{
		Caller: serviceforge.Caller{Platform: "k8s"}, InstanceID: "theirs", ServiceID: scene.Service, PlanID: scene.OneServer,
		OrganizationGUID: "o", SpaceGUID: "s", AcceptsIncomplete: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Succeed(t, "theirs")
	if _, err := s.client.Bind(ctx, "theirs", "b", admin.BindingOrder{}); err != nil {
		t.Fatal(err)
	}
	b, err := s.Store.Binding(ctx, "theirs", "b")
	if err != nil || b.Platform != "k8s" {
		t.Errorf("the binding belongs to %q: %v", b.Platform, err)
	}
	all, err := s.client.Instances(ctx)
	if err != nil || len(all) != 1 || all[0].Platform != "k8s" {
		t.Errorf("%+v %v", all, err)
	}
}

// TestAPollIsHeldUntilThereIsNews changes the instance while a poll is held:
// the held poll tells of it. No clock is read: an answer that repeats what was
// seen would only mean that the hold ended, and is asked again.
func TestAPollIsHeldUntilThereIsNews(t *testing.T) {
	s, ctx := newStage(t), t.Context()
	accepted, err := s.client.Create(ctx, "a", admin.Order{ServiceID: scene.Service, PlanID: scene.OneServer})
	if err != nil {
		t.Fatal(err)
	}
	now, err := s.client.Operation(ctx, "a", accepted.Operation, time.Second, "")
	if err != nil || now.State != serviceforge.InProgress || now.Description == "" {
		t.Fatalf("%+v %v", now, err)
	}
	polled := make(chan admin.Progress)
	go func() {
		defer close(polled)
		for {
			next, err := s.client.Operation(ctx, "a", accepted.Operation, time.Second, now.Seen())
			if err != nil {
				t.Error(err)
				return
			}
			if next.Seen() != now.Seen() {
				polled <- next
				return
			}
		}
	}()
	s.Deploy(t, "a")
	if next := <-polled; next.Step != serviceforge.Submitted {
		t.Errorf("%+v", next)
	}
	_, err = s.client.Operation(ctx, "nope", "", time.Second, "")
	wantCode(t, err, serviceforge.NotFound)
}

func TestRefusals(t *testing.T) {
	s := newStage(t)
	token := s.client.Token.Reveal()
	stranger := &admin.Client{URL: s.server.URL, Token: serviceforge.NewSecret("2-nope")}
	_, err := stranger.Catalog(t.Context())
	wantCode(t, err, serviceforge.Unauthorized)
	for _, test := range []struct {
		name, method, path, authorization, body string
		status                                  int
	}{
		{"token scheme", "GET", "/catalog", "token " + token, "", 200},
		{"bearer scheme", "GET", "/catalog", "bearer " + token, "", 200},
		{"no token", "GET", "/catalog", "", "", 401},
		{"basic", "GET", "/catalog", "Basic Y2M6c2VjcmV0", "", 401},
		{"unknown path without token", "GET", "/nope", "", "", 401},
		{"unknown path", "GET", "/nope", "Bearer " + token, "", 404},
		{"wrong method", "POST", "/catalog", "Bearer " + token, "", 405},
		{"no body", "PUT", "/instances/a", "Bearer " + token, "", 400},
		{"no JSON", "PUT", "/instances/a", "Bearer " + token, "{", 400},
		{"typing error", "PUT", "/instances/a", "Bearer " + token, `{"servce_id": "x"}`, 400},
		{"parameters no object", "PUT", "/instances/a", "Bearer " + token, `{"service_id": "` + scene.Service + `", "plan_id": "` + scene.OneServer + `", "parameters": [1]}`, 400},
		{"plan of another", "PUT", "/instances/a", "Bearer " + token, `{"service_id": "` + scene.Service + `", "plan_id": "` + scene.OtherPlan + `"}`, 400},
		{"too large", "PUT", "/instances/a", "Bearer " + token, `{"name": "` + strings.Repeat("x", 128<<10) + `"}`, 413},
		{"control character", "GET", "/instances/a%00", "Bearer " + token, "", 400},
		{"wait no duration", "GET", "/instances/a/operation?wait=long", "Bearer " + token, "", 400},
		{"delete of nothing", "DELETE", "/instances/a", "Bearer " + token, "", 410},
	} {
		r, err := http.NewRequest(test.method, s.server.URL+"/admin/v1"+test.path, strings.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", test.authorization)
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		content, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode != test.status {
			t.Errorf("%s: %d %s", test.name, response.StatusCode, content)
		}
		var told admin.Failure
		if test.status != 200 && (json.Unmarshal(content, &told) != nil || told.Code == "" || told.Message == "") {
			t.Errorf("%s: %s", test.name, content)
		}
	}
	if len(s.Store.Summaries()) != 0 {
		t.Error("something was stored")
	}
}

func TestClientWithoutABroker(t *testing.T) {
	nobody := httptest.NewServer(http.NotFoundHandler())
	c := &admin.Client{URL: nobody.URL, Token: serviceforge.NewSecret("x")}
	_, err := c.Catalog(t.Context())
	wantCode(t, err, serviceforge.Unavailable)
	if !strings.Contains(err.Error(), "not a ServiceForge broker") {
		t.Error(err)
	}
	nobody.Close()
	_, err = c.Catalog(t.Context())
	wantCode(t, err, serviceforge.Unavailable)
	if !strings.Contains(err.Error(), "no broker answers at "+nobody.URL) {
		t.Error(err)
	}
}

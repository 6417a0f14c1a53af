package broker_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"code.cloudfoundry.org/lager/v3"
	"github.com/pivotal-cf/brokerapi/v10"
	"github.com/pivotal-cf/brokerapi/v10/domain"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/broker"
	"github.com/serviceforge/serviceforge/orchestrator"
	"github.com/serviceforge/serviceforge/spec/osb/scene"
)

// noOp is the floor of performance.md §1a: brokerapi with nothing behind it.
type noOp struct{ brokerapi.ServiceBroker }

func (noOp) Services(context.Context) ([]domain.Service, error) {
	return []domain.Service{{ID: scene.Service, Name: "etcd-dedicated", Description: "etcd",
		Plans: []domain.ServicePlan{{ID: "1", Name: "1", Description: "d"}, {ID: "2", Name: "2", Description: "d"}, {ID: "3", Name: "3", Description: "d"}}}}, nil
}

func (noOp) LastOperation(context.Context, string, domain.PollDetails) (domain.LastOperation, error) {
	return domain.LastOperation{State: domain.InProgress, Description: "working"}, nil
}

// BenchmarkFaces compares ours with the floor, without the network:
// performance.md figures 1 (catalog) and 6 (last_operation).
func BenchmarkFaces(b *testing.B) {
	s := scene.New(b)
	_, err := s.Engine.Provision(b.Context(), orchestrator.ProvisionRequest{
		Caller: serviceforge.Caller{Platform: "cc"}, InstanceID: "a", ServiceID: scene.Service, PlanID: scene.OneServer,
		OrganizationGUID: "o", SpaceGUID: "s", AcceptsIncomplete: true,
	})
	if err != nil {
		b.Fatal(err)
	}
	ours := broker.New(broker.Options{Engine: s.Engine, Catalog: s.Catalog, RequireAPIVersion: true,
		Credentials: []broker.Credential{{Name: "cc", Username: "cc", Password: serviceforge.NewSecret("secret")}}})
	floor := brokerapi.New(noOp{}, lager.NewLogger("floor"), brokerapi.BrokerCredentials{Username: "cc", Password: "secret"})
	for _, path := range []string{"/v2/catalog", "/v2/service_instances/a/last_operation"} {
		for name, handler := range map[string]http.Handler{"ours": ours, "floor": floor} {
			b.Run(path+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					r := httptest.NewRequest(http.MethodGet, path, nil)
					r.SetBasicAuth("cc", "secret")
					r.Header.Set("X-Broker-API-Version", "2.17")
					w := httptest.NewRecorder()
					handler.ServeHTTP(w, r)
					if w.Code != http.StatusOK {
						b.Fatal(w.Code)
					}
				}
			})
		}
	}
}

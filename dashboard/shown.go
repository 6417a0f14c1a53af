package dashboard

import (
	"net/netip"
	"net/url"
	"strconv"

	"github.com/serviceforge/serviceforge"
)

// shown is an instance as it is shown. The keys of 2014 come first and keep
// their types: the task is a string, the network an object.
type shown struct {
	ServiceID             string             `json:"service_id"`
	ServiceInstanceID     string             `json:"service_instance_id"`
	ServicePlanID         string             `json:"service_plan_id"`
	DeploymentName        string             `json:"deployment_name"`
	InfrastructureNetwork *network           `json:"infrastructure_network"` // null until placed
	State                 serviceforge.State `json:"state"`
	Task                  *string            `json:"latest_bosh_deployment_task_id"` // null until asked

	Service     string              `json:"service_name,omitempty"`
	Plan        string              `json:"plan_name,omitempty"`
	Operation   operation           `json:"last_operation"`
	Description string              `json:"description"`
	Percent     int                 `json:"percent"`
	Pool        string              `json:"pool,omitempty"`
	Release     string              `json:"release,omitempty"`
	Facts       map[string][]string `json:"facts,omitempty"`
	CreatedAt   string              `json:"created_at"`
	UpdatedAt   string              `json:"updated_at"`
	Busy        bool                `json:"busy"`
}

// network is where the instance lives: in 2014 a claimed address range and the
// file that described it, now the pool and the lowest address.
type network struct {
	IPRangeStart string `json:"ip_range_start,omitempty"`
	Template     string `json:"template"`
	Pool         string `json:"pool"`
}

type operation struct {
	Kind  serviceforge.Kind           `json:"kind"`
	State serviceforge.OperationState `json:"state"`
	Step  serviceforge.Step           `json:"step"`
	Stage string                      `json:"stage,omitempty"`
	Node  string                      `json:"node,omitempty"`
	// Place is where it stands in its director's line, of as many as are Waiting.
	Place   int `json:"place,omitempty"`
	Waiting int `json:"waiting,omitempty"`
}

func newShown(i *serviceforge.Instance, p serviceforge.Progress, offering, plan string) shown {
	s := shown{
		ServiceID:         i.ServiceID,
		ServiceInstanceID: i.ID,
		ServicePlanID:     i.PlanID,
		DeploymentName:    i.Deployment,
		State:             i.State,
		Service:           offering,
		Plan:              plan,
		Operation:         operation{Kind: p.Kind, State: p.State, Step: p.Step, Stage: p.Stage, Node: p.Node, Place: p.Place, Waiting: p.Waiting},
		Description:       p.Description,
		Percent:           p.Percent,
		Pool:              i.Pool,
		Release:           i.Release,
		Facts:             i.Facts,
		CreatedAt:         timestamp(i.CreatedAt),
		UpdatedAt:         timestamp(i.UpdatedAt),
		Busy:              i.Busy(),
	}
	if i.Pool != "" {
		s.InfrastructureNetwork = &network{IPRangeStart: lowest(i.Facts), Template: i.Infrastructure, Pool: i.Pool}
	}
	if task := i.Operation.Intent.Task; task != 0 {
		text := strconv.Itoa(task)
		s.Task = &text
	}
	return s
}

// lowest returns the lowest address of all instance groups, "" for none.
func lowest(facts map[string][]string) string {
	var least netip.Addr
	for _, addresses := range facts {
		for _, text := range addresses {
			if address, err := netip.ParseAddr(text); err == nil && (!least.IsValid() || address.Less(least)) {
				least = address
			}
		}
	}
	if !least.IsValid() {
		return ""
	}
	return least.String()
}

// unescape undoes the escaping of one path segment, exactly once.
func unescape(escaped string) (string, error) {
	id, err := url.PathUnescape(escaped)
	if err != nil {
		return "", serviceforge.Wrap(err, serviceforge.Invalid, "the service instance id is not correctly percent-encoded")
	}
	return id, serviceforge.CheckID("the service instance id", id)
}

package store

import (
	"strings"
	"time"
	"unique"

	"github.com/tidwall/gjson"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/serviceforge/serviceforge"
)

// Summary is what memory knows of an instance: enough to answer polls and lists.
type Summary struct {
	ID, ServiceID, PlanID string
	Platform              string
	Organization          string // its GUID; kept while an operation runs
	Deployment            string
	Pool, Slot            string
	Release               string // it is made with
	Moving                string // the release that a running update moves it to
	State                 serviceforge.State
	OperationID           string
	Kind                  serviceforge.Kind
	OperationState        serviceforge.OperationState
	Step                  serviceforge.Step
	Task                  int
	Message               string
	Aftermath             serviceforge.Aftermath
	Before                *serviceforge.Outcome // as in the operation
	NotBefore             time.Time
	StartedAt, CreatedAt  time.Time
	Revision              int64
}

// Busy says that an operation is running.
func (s *Summary) Busy() bool { return s.OperationState == serviceforge.InProgress }

// AtDirector says that a director was asked, or is about to be, and has not
// told the end.
func (s *Summary) AtDirector() bool {
	switch s.Step {
	case serviceforge.Rendered, serviceforge.Submitted, serviceforge.Errand, serviceforge.Leaving:
		return true
	}
	return false
}

// HasTask says that a task of a director is known whose progress is the
// operation's.
func (s *Summary) HasTask() bool {
	return s.Step == serviceforge.Submitted || s.Step == serviceforge.Errand && s.Task != 0
}

// SummaryOf returns what the view would keep of a record.
func SummaryOf(i *serviceforge.Instance) Summary {
	o := &i.Operation
	moving := ""
	if i.Busy() && o.Kind == serviceforge.Update {
		moving = o.Wish.Release
	}
	return Summary{
		ID: i.ID, ServiceID: i.ServiceID, PlanID: i.PlanID, Platform: i.Platform, Organization: i.OrganizationGUID,
		Deployment: i.Deployment, Pool: i.Pool, Slot: i.Slot, Release: i.Release, Moving: moving, State: i.State,
		OperationID: o.ID, Kind: o.Kind, OperationState: o.State, Step: o.Step, Task: o.Intent.Task,
		Message: o.Message, Aftermath: o.Aftermath, Before: o.Before, NotBefore: o.NotBefore, StartedAt: o.StartedAt, CreatedAt: i.CreatedAt, Revision: i.Revision,
	}
}

// entry is a summary as the view keeps it, small enough for a hundred thousand
// of them (0.2 KB): words that many have in common are kept once.
type entry struct {
	words                          unique.Handle[words]
	seldom                         *seldom // nil = nothing of it is set
	id, deployment, operation      string
	task                           int
	startedAt, createdAt, revision int64 // times in Unix nanoseconds; 0 = none
}

type words struct {
	serviceID, planID, platform, pool string
	release, moving                   string
	organization                      string // of an operation that runs: the other instances have their words in common
	state                             serviceforge.State
	kind                              serviceforge.Kind
	operationState                    serviceforge.OperationState
	step                              serviceforge.Step
}

type seldom struct {
	slot, message string
	notBefore     time.Time
	aftermath     serviceforge.Aftermath
	before        *serviceforge.Outcome
}

// compact makes an entry; it keeps no string of the summary alive, which may be
// a piece of a whole record.
func compact(s *Summary) *entry {
	common := words{
		serviceID: s.ServiceID, planID: s.PlanID, platform: s.Platform, pool: s.Pool, release: s.Release, moving: s.Moving,
		state: s.State, kind: s.Kind, operationState: s.OperationState, step: s.Step,
	}
	if s.Busy() {
		common.organization = s.Organization
	}
	e := &entry{
		words:      unique.Make(common),
		deployment: strings.Clone(s.Deployment), operation: strings.Clone(s.OperationID), task: s.Task,
		startedAt: nanos(s.StartedAt), createdAt: nanos(s.CreatedAt), revision: s.Revision,
	}
	if prefix, ok := strings.CutSuffix(e.deployment, s.ID); ok {
		e.id = e.deployment[len(prefix):]
	} else {
		e.id = strings.Clone(s.ID)
	}
	if s.Slot != "" || s.Message != "" || !s.NotBefore.IsZero() || s.Aftermath != (serviceforge.Aftermath{}) || s.Before != nil {
		e.seldom = &seldom{slot: strings.Clone(s.Slot), message: strings.Clone(s.Message), notBefore: s.NotBefore, aftermath: s.Aftermath}
		if s.Before != nil {
			before := *s.Before
			before.Message = strings.Clone(before.Message)
			e.seldom.before = &before
		}
	}
	return e
}

// summary undoes compact.
func (e *entry) summary() Summary {
	w := e.words.Value()
	s := Summary{
		ID: e.id, ServiceID: w.serviceID, PlanID: w.planID, Platform: w.platform, Organization: w.organization, Deployment: e.deployment, Pool: w.pool,
		Release: w.release, Moving: w.moving,
		State: w.state, OperationID: e.operation, Kind: w.kind, OperationState: w.operationState, Step: w.step, Task: e.task,
		StartedAt: instant(e.startedAt), CreatedAt: instant(e.createdAt), Revision: e.revision,
	}
	if e.seldom != nil {
		s.Slot, s.Message, s.NotBefore = e.seldom.slot, e.seldom.message, e.seldom.notBefore
		s.Aftermath, s.Before = e.seldom.aftermath, e.seldom.before
	}
	return s
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func instant(nanos int64) time.Time {
	if nanos == 0 {
		return time.Time{}
	}
	return time.Unix(0, nanos).UTC()
}

// decodeSummary reads only what a summary needs of a record, a tenth of what it
// costs to decode all of it; the secrets stay sealed. Its strings are pieces of
// the record. false = the record is damaged.
func decodeSummary(kv *mvccpb.KeyValue) (Summary, bool) {
	s := Summary{Revision: kv.ModRevision}
	gjson.ParseBytes(kv.Value).ForEach(func(name, value gjson.Result) bool {
		switch name.Str {
		case "id":
			s.ID = value.String()
		case "service_id":
			s.ServiceID = value.String()
		case "plan_id":
			s.PlanID = value.String()
		case "platform":
			s.Platform = value.String()
		case "organization_guid":
			s.Organization = value.String()
		case "deployment":
			s.Deployment = value.String()
		case "pool":
			s.Pool = value.String()
		case "slot":
			s.Slot = value.String()
		case "release":
			s.Release = value.String()
		case "state":
			s.State = serviceforge.State(value.String())
		case "operation":
			s.takeOperation(value)
		case "created_at":
			s.CreatedAt = value.Time()
		}
		return true
	})
	if !s.Busy() || s.Kind != serviceforge.Update {
		s.Moving = ""
	}
	return s, s.ID == idOf(kv) && s.State != "" && s.OperationState != ""
}

func (s *Summary) takeOperation(operation gjson.Result) {
	operation.ForEach(func(name, value gjson.Result) bool {
		switch name.Str {
		case "id":
			s.OperationID = value.String()
		case "kind":
			s.Kind = serviceforge.Kind(value.String())
		case "state":
			s.OperationState = serviceforge.OperationState(value.String())
		case "step":
			s.Step = serviceforge.Step(value.String())
		case "message":
			s.Message = value.String()
		case "intent":
			s.Task = int(value.Get("task").Int())
		case "wish":
			s.Moving = value.Get("release").String()
		case "not_before":
			s.NotBefore = value.Time()
		case "started_at":
			s.StartedAt = value.Time()
		case "unusable":
			s.Aftermath.Unusable = value.Bool()
		case "unrepeatable":
			s.Aftermath.Unrepeatable = value.Bool()
		case "before":
			s.Before = &serviceforge.Outcome{
				Kind: serviceforge.Kind(value.Get("kind").String()), State: serviceforge.OperationState(value.Get("state").String()),
				Message: value.Get("message").String(), Aftermath: serviceforge.Aftermath{
					Unusable: value.Get("unusable").Bool(), Unrepeatable: value.Get("unrepeatable").Bool()},
			}
		}
		return true
	})
}

func idOf(kv *mvccpb.KeyValue) string {
	return unescape(strings.TrimPrefix(string(kv.Key), instancesKey))
}

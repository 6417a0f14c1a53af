package store

import (
	"encoding/json"
	"maps"
	"reflect"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"github.com/serviceforge/serviceforge"
)

// recordVersion is what this program writes; a record whose min_reader is
// higher must not be touched by it.
const recordVersion = 1

// header begins every record.
type header struct {
	Version   int `json:"version"`
	MinReader int `json:"min_reader"`
}

// instanceRecord is an instance in etcd. Fields are only ever added.
type instanceRecord struct {
	header
	ID               string              `json:"id"`
	ServiceID        string              `json:"service_id"`
	PlanID           string              `json:"plan_id"`
	Platform         string              `json:"platform"`
	OrganizationGUID string              `json:"organization_guid,omitempty"`
	SpaceGUID        string              `json:"space_guid,omitempty"`
	Deployment       string              `json:"deployment"`
	Pool             string              `json:"pool,omitempty"`
	Slot             string              `json:"slot,omitempty"`
	Release          string              `json:"release,omitempty"`
	Infrastructure   string              `json:"infrastructure,omitempty"`
	Versions         map[string]string   `json:"versions,omitempty"`
	Pins             pinsRecord          `json:"pins,omitzero"`
	Maintenance      string              `json:"maintenance,omitempty"`
	Unfinished       string              `json:"unfinished,omitempty"`
	State            serviceforge.State  `json:"state"`
	Operation        operationRecord     `json:"operation"`
	Operations       []string            `json:"operations"`
	Facts            map[string][]string `json:"facts,omitempty"`
	Holds            *[]holdingRecord    `json:"holds"` // nil = written before there were quotas
	CreatedAt        time.Time           `json:"created_at"`
	UpdatedAt        time.Time           `json:"updated_at"`
	Sealed           *sealed             `json:"sealed,omitempty"` // instanceSecrets
}

type instanceSecrets struct {
	Context    string `json:"context,omitempty"`
	Parameters string `json:"parameters,omitempty"`
	Secrets    string `json:"secrets,omitempty"`
	Access     string `json:"access,omitempty"`

	WishContext    string `json:"wish_context,omitempty"`
	WishParameters string `json:"wish_parameters,omitempty"`
}

type operationRecord struct {
	ID         string                      `json:"id"`
	Kind       serviceforge.Kind           `json:"kind"`
	State      serviceforge.OperationState `json:"state"`
	Step       serviceforge.Step           `json:"step"`
	Message    string                      `json:"message,omitempty"`
	Cause      string                      `json:"cause,omitempty"`
	Identity   string                      `json:"identity,omitempty"`
	Actor      string                      `json:"actor,omitempty"`
	Intent     intentRecord                `json:"intent,omitzero"`
	Superseded intentRecord                `json:"superseded,omitzero"`
	Attempt    int                         `json:"attempt,omitempty"`
	Failures   int                         `json:"failures,omitempty"`
	Tried      []string                    `json:"tried,omitempty"`
	Repeats    int                         `json:"repeats,omitempty"`
	NotBefore  time.Time                   `json:"not_before,omitzero"`
	StartedAt  time.Time                   `json:"started_at"`
	BegunAt    time.Time                   `json:"begun_at,omitzero"`
	FinishedAt time.Time                   `json:"finished_at,omitzero"`
	Errands    errandsRecord               `json:"errands,omitzero"`
	Since      time.Time                   `json:"since,omitzero"`
	Wish       wishRecord                  `json:"wish,omitzero"`
	Before     *outcomeRecord              `json:"before,omitempty"`
	aftermathRecord
}

type errandsRecord struct {
	Done     int    `json:"done,omitempty"`
	Failures int    `json:"failures,omitempty"`
	Warning  string `json:"warning,omitempty"`
}

// wishRecord is the open part of a wish; its secrets are in instanceSecrets.
type wishRecord struct {
	PlanID      string            `json:"plan_id,omitempty"`
	Release     string            `json:"release,omitempty"`
	Versions    map[string]string `json:"versions,omitempty"`
	Maintenance string            `json:"maintenance,omitempty"`
	Pins        pinsRecord        `json:"pins,omitzero"`
}

type pinsRecord struct {
	AZs          []string          `json:"azs,omitempty"`
	Network      string            `json:"network,omitempty"`
	VMTypes      map[string]string `json:"vm_types,omitempty"`
	DiskTypes    map[string]string `json:"disk_types,omitempty"`
	VMExtensions []string          `json:"vm_extensions,omitempty"`
	Stemcells    map[string]string `json:"stemcells,omitempty"`
}

// IsZero says that nothing is pinned.
func (r pinsRecord) IsZero() bool { return serviceforge.Pins(r).Zero() }

type outcomeRecord struct {
	Kind    serviceforge.Kind           `json:"kind"`
	State   serviceforge.OperationState `json:"state"`
	Message string                      `json:"message,omitempty"`
	aftermathRecord
}

type aftermathRecord struct {
	Unusable     bool `json:"unusable,omitempty"`
	Unrepeatable bool `json:"unrepeatable,omitempty"`
}

type intentRecord struct {
	ContextID string `json:"context_id"`
	Verb      string `json:"verb"`
	Digest    string `json:"digest,omitempty"`
	Term      int64  `json:"term"`
	Task      int    `json:"task,omitempty"`
}

type holdingRecord struct {
	PlanID string             `json:"plan_id"`
	Costs  serviceforge.Costs `json:"costs,omitempty"`
}

type bindingRecord struct {
	header
	ID         string                    `json:"id"`
	InstanceID string                    `json:"instance_id"`
	ServiceID  string                    `json:"service_id"`
	PlanID     string                    `json:"plan_id"`
	Platform   string                    `json:"platform"`
	AppGUID    string                    `json:"app_guid,omitempty"`
	Route      string                    `json:"route,omitempty"`
	State      serviceforge.BindingState `json:"state"`
	User       string                    `json:"user,omitempty"`
	CreatedAt  time.Time                 `json:"created_at"`
	Sealed     *sealed                   `json:"sealed,omitempty"` // bindingSecrets

	Predecessor string                  `json:"predecessor,omitempty"`
	Operation   operationRecord         `json:"operation"`
	Endpoints   []serviceforge.Endpoint `json:"endpoints,omitempty"`
	ExpiresAt   time.Time               `json:"expires_at,omitzero"`
	RenewBefore time.Time               `json:"renew_before,omitzero"`
}

type bindingSecrets struct {
	Context     string `json:"context,omitempty"`
	Parameters  string `json:"parameters,omitempty"`
	Password    string `json:"password,omitempty"`
	Credentials string `json:"credentials,omitempty"`
	Delegated   string `json:"delegated,omitempty"`
}

func (s *Store) encodeInstance(i *serviceforge.Instance) (string, error) {
	place := key(instancesKey, i.ID)
	closed, err := s.sealJSON(place, i.LostKey, instanceSecrets{
		Context: i.Context.Reveal(), Parameters: i.Parameters.Reveal(),
		Secrets: i.Secrets.Reveal(), Access: i.Access.Reveal(),
		WishContext: i.Operation.Wish.Context.Reveal(), WishParameters: i.Operation.Wish.Parameters.Reveal(),
	})
	if err != nil {
		return "", err
	}
	return encode(place, i.Unknown, instanceRecord{
		header: header{recordVersion, 1},
		ID:     i.ID, ServiceID: i.ServiceID, PlanID: i.PlanID, Platform: i.Platform,
		OrganizationGUID: i.OrganizationGUID, SpaceGUID: i.SpaceGUID,
		Deployment: i.Deployment, Pool: i.Pool, Slot: i.Slot, Release: i.Release, Infrastructure: i.Infrastructure, Versions: i.Versions, Pins: pinsRecord(i.Pins),
		Maintenance: i.Maintenance, Unfinished: i.Unfinished,
		State: i.State, Operation: operationToRecord(&i.Operation), Operations: i.Operations, Facts: i.Facts,
		Holds: holdsToRecord(i.Holds), CreatedAt: i.CreatedAt, UpdatedAt: i.UpdatedAt, Sealed: closed,
	})
}

func (s *Store) decodeInstance(place string, data []byte, revision int64) (serviceforge.Instance, error) {
	var r instanceRecord
	var hidden instanceSecrets
	unknown, err := decode(place, data, &r, instanceFields)
	if err != nil {
		return serviceforge.Instance{}, err
	}
	unknown, lost, err := s.unseal(place, r.Sealed, &hidden, unknown)
	if err != nil {
		return serviceforge.Instance{}, err
	}
	i := serviceforge.Instance{
		ID: r.ID, ServiceID: r.ServiceID, PlanID: r.PlanID, Platform: r.Platform,
		OrganizationGUID: r.OrganizationGUID, SpaceGUID: r.SpaceGUID,
		Context: serviceforge.NewSecret(hidden.Context), Parameters: serviceforge.NewSecret(hidden.Parameters),
		Secrets: serviceforge.NewSecret(hidden.Secrets), Access: serviceforge.NewSecret(hidden.Access),
		Deployment: r.Deployment, Pool: r.Pool, Slot: r.Slot, Release: r.Release, Infrastructure: r.Infrastructure, Versions: r.Versions, Pins: serviceforge.Pins(r.Pins),
		Maintenance: r.Maintenance, Unfinished: r.Unfinished,
		State: r.State, Operation: operationFromRecord(&r.Operation), Operations: r.Operations, Facts: r.Facts,
		Holds: r.holds(), CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt, Revision: revision, LostKey: lost, Unknown: unknown,
	}
	i.Operation.Wish.Context = serviceforge.NewSecret(hidden.WishContext)
	i.Operation.Wish.Parameters = serviceforge.NewSecret(hidden.WishParameters)
	i.Stored, i.Claimed, i.Counted = i.Standing(), i.Claim(), i.Account()
	return i, nil
}

func holdsToRecord(holds []serviceforge.Holding) *[]holdingRecord {
	records := make([]holdingRecord, 0, len(holds))
	for _, h := range holds {
		records = append(records, holdingRecord(h))
	}
	return &records
}

// holds returns what the record takes of the quotas; one that does not say is
// an instance of its plan.
func (r *instanceRecord) holds() []serviceforge.Holding {
	if r.Holds == nil {
		return []serviceforge.Holding{{PlanID: r.PlanID}}
	}
	var holds []serviceforge.Holding
	for _, h := range *r.Holds {
		holds = append(holds, serviceforge.Holding(h))
	}
	return holds
}

func operationToRecord(o *serviceforge.Operation) operationRecord {
	var before *outcomeRecord
	if b := o.Before; b != nil {
		before = &outcomeRecord{b.Kind, b.State, b.Message, aftermathRecord(b.Aftermath)}
	}
	return operationRecord{
		ID: o.ID, Kind: o.Kind, State: o.State, Step: o.Step, Message: o.Message, Cause: o.Cause,
		Identity: o.Identity, Actor: o.Actor, Attempt: o.Attempt, Failures: o.Failures, Repeats: o.Repeats,
		Tried: o.Tried, Intent: intentRecord(o.Intent), Superseded: intentRecord(o.Superseded),
		NotBefore: o.NotBefore, StartedAt: o.StartedAt, BegunAt: o.BegunAt, FinishedAt: o.FinishedAt,
		Errands: errandsRecord(o.Errands), Since: o.Since,
		Wish:   wishRecord{o.Wish.PlanID, o.Wish.Release, o.Wish.Versions, o.Wish.Maintenance, pinsRecord(o.Wish.Pins)},
		Before: before, aftermathRecord: aftermathRecord(o.Aftermath),
	}
}

func operationFromRecord(r *operationRecord) serviceforge.Operation {
	var before *serviceforge.Outcome
	if b := r.Before; b != nil {
		before = &serviceforge.Outcome{Kind: b.Kind, State: b.State, Message: b.Message, Aftermath: serviceforge.Aftermath(b.aftermathRecord)}
	}
	return serviceforge.Operation{
		ID: r.ID, Kind: r.Kind, State: r.State, Step: r.Step, Message: r.Message, Cause: r.Cause,
		Identity: r.Identity, Actor: r.Actor, Attempt: r.Attempt, Failures: r.Failures, Repeats: r.Repeats,
		Tried: r.Tried, Intent: serviceforge.Intent(r.Intent), Superseded: serviceforge.Intent(r.Superseded),
		NotBefore: r.NotBefore, StartedAt: r.StartedAt, BegunAt: r.BegunAt, FinishedAt: r.FinishedAt,
		Errands: serviceforge.Errands(r.Errands), Since: r.Since,
		Wish: serviceforge.Wish{
			PlanID: r.Wish.PlanID, Release: r.Wish.Release, Versions: r.Wish.Versions, Maintenance: r.Wish.Maintenance, Pins: serviceforge.Pins(r.Wish.Pins),
		},
		Before: before, Aftermath: serviceforge.Aftermath(r.aftermathRecord),
	}
}

func (s *Store) encodeBinding(b *serviceforge.Binding) (string, error) {
	place := key(bindingsKey, b.InstanceID, b.ID)
	closed, err := s.sealJSON(place, b.LostKey, bindingSecrets{
		Context: b.Context.Reveal(), Parameters: b.Parameters.Reveal(),
		Password: b.Password.Reveal(), Credentials: b.Credentials.Reveal(), Delegated: b.Delegated.Reveal(),
	})
	if err != nil {
		return "", err
	}
	return encode(place, b.Unknown, bindingRecord{
		header: header{recordVersion, 1},
		ID:     b.ID, InstanceID: b.InstanceID, ServiceID: b.ServiceID, PlanID: b.PlanID, Platform: b.Platform,
		AppGUID: b.AppGUID, Route: b.Route, State: b.State, User: b.User, CreatedAt: b.CreatedAt, Sealed: closed,
		Predecessor: b.Predecessor, Operation: operationToRecord(&b.Operation), Endpoints: b.Endpoints,
		ExpiresAt: b.ExpiresAt, RenewBefore: b.RenewBefore,
	})
}

func (s *Store) decodeBinding(place string, data []byte, revision int64) (serviceforge.Binding, error) {
	var r bindingRecord
	var hidden bindingSecrets
	unknown, err := decode(place, data, &r, bindingFields)
	if err != nil {
		return serviceforge.Binding{}, err
	}
	unknown, lost, err := s.unseal(place, r.Sealed, &hidden, unknown)
	if err != nil {
		return serviceforge.Binding{}, err
	}
	return serviceforge.Binding{
		ID: r.ID, InstanceID: r.InstanceID, ServiceID: r.ServiceID, PlanID: r.PlanID, Platform: r.Platform,
		AppGUID: r.AppGUID, Route: r.Route, State: r.State, User: r.User, CreatedAt: r.CreatedAt,
		Predecessor: r.Predecessor, Operation: operationFromRecord(&r.Operation), Endpoints: r.Endpoints,
		ExpiresAt: r.ExpiresAt, RenewBefore: r.RenewBefore,
		Context: serviceforge.NewSecret(hidden.Context), Parameters: serviceforge.NewSecret(hidden.Parameters),
		Password: serviceforge.NewSecret(hidden.Password), Credentials: serviceforge.NewSecret(hidden.Credentials),
		Delegated: serviceforge.NewSecret(hidden.Delegated),
		Revision:  revision, LostKey: lost, Unknown: unknown,
	}, nil
}

// encode writes a record and, beside its fields, what a newer version had put there.
func encode(place string, unknown map[string]json.RawMessage, record any) (string, error) {
	data, err := json.Marshal(record)
	if err == nil && len(unknown) > 0 {
		all := maps.Clone(unknown)
		if err = json.Unmarshal(data, &all); err == nil {
			data, err = json.Marshal(all)
		}
	}
	if err != nil {
		return "", serviceforge.Wrap(err, serviceforge.Internal, "the record %s cannot be written", place)
	}
	return string(data), nil
}

// decode reads a record, whose type has the named fields, and returns the
// fields it does not know.
func decode(place string, data []byte, record any, known map[string]bool) (map[string]json.RawMessage, error) {
	if needed := gjson.GetBytes(data, "min_reader").Int(); needed > recordVersion {
		return nil, serviceforge.Errorf(serviceforge.Internal,
			"the record %s was written by a newer version: it needs a reader of version %d, this one is %d", place, needed, recordVersion)
	}
	if err := json.Unmarshal(data, record); err != nil {
		return nil, damaged(place, err)
	}
	var unknown map[string]json.RawMessage
	gjson.ParseBytes(data).ForEach(func(name, value gjson.Result) bool {
		if !known[name.String()] {
			if unknown == nil {
				unknown = map[string]json.RawMessage{}
			}
			unknown[name.String()] = json.RawMessage(value.Raw)
		}
		return true
	})
	return unknown, nil
}

func damaged(place string, err error) error {
	return serviceforge.Wrap(err, serviceforge.Internal, "the record %s is damaged", place)
}

var (
	instanceFields = fieldsOf(reflect.TypeFor[instanceRecord]())
	bindingFields  = fieldsOf(reflect.TypeFor[bindingRecord]())
)

// fieldsOf returns the JSON names of t's fields.
func fieldsOf(t reflect.Type) map[string]bool {
	names := map[string]bool{}
	for field := range t.Fields() {
		if field.Anonymous {
			maps.Copy(names, fieldsOf(field.Type))
			continue
		}
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		names[name] = true
	}
	return names
}

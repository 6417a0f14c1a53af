package broker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/pivotal-cf/brokerapi/v10/domain"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/catalog"
)

// menu is a catalog, ready to be served: encoded once, when it changes.
type menu struct {
	catalog  *catalog.Catalog
	encoded  []byte
	etag     string
	services []domain.Service
}

// present returns the menu of the present catalog. Two requests may encode the
// same new catalog; either result stays.
func (b *Broker) present() (*menu, error) {
	c := b.catalog()
	if m := b.menu.Load(); m != nil && m.catalog == c {
		return m, nil
	}
	m, err := newMenu(c)
	if err != nil {
		return nil, err
	}
	b.menu.Store(m)
	return m, nil
}

func newMenu(c *catalog.Catalog) (*menu, error) {
	m := &menu{catalog: c}
	told := catalogJSON{Services: []offeringJSON{}}
	for _, o := range c.Offerings() {
		told.Services = append(told.Services, offeringOf(o))
		m.services = append(m.services, serviceOf(o))
	}
	encoded, err := json.Marshal(told)
	if err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Internal, "the catalog cannot be encoded")
	}
	m.encoded = append(encoded, '\n')
	sum := sha256.Sum256(m.encoded)
	m.etag = `"` + hex.EncodeToString(sum[:16]) + `"`
	return m, nil
}

// serveCatalog answers GET /v2/catalog, before brokerapi, which would encode it
// for every request (OSB "Catalog Management"; 304 by RFC 7232).
func (b *Broker) serveCatalog(w http.ResponseWriter, r *http.Request) {
	m, err := b.present()
	if err != nil {
		b.log.Error("the catalog cannot be served", "cause", serviceforge.DetailOf(err))
		writeAnswer(w, http.StatusInternalServerError, internalRule.describe(err))
		return
	}
	w.Header().Set("ETag", m.etag)
	if matches(r.Header.Get("If-None-Match"), m.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Type", jsonType)
	_, _ = w.Write(m.encoded)
}

// matches compares weakly, as RFC 7232 wants it for If-None-Match.
func matches(header, etag string) bool {
	if header == "" {
		return false
	}
	for candidate := range strings.SplitSeq(header, ",") {
		candidate = strings.TrimSpace(candidate)
		if candidate == "*" || strings.TrimPrefix(candidate, "W/") == etag {
			return true
		}
	}
	return false
}

// Services tells brokerapi which ids exist. It ignores an error, so there is none.
func (v verbs) Services(context.Context) ([]domain.Service, error) {
	m, err := v.present()
	if err != nil {
		return nil, err
	}
	return m.services, nil
}

// serviceOf holds what brokerapi looks at: ids.
func serviceOf(o catalog.Offering) domain.Service {
	service := domain.Service{ID: o.ID, Name: o.Name}
	for _, p := range o.Plans {
		service.Plans = append(service.Plans, domain.ServicePlan{ID: p.ID, Name: p.Name})
	}
	return service
}

// checkOrder wants a plan of the very offering: brokerapi does not say which id
// is wrong, and lets a plan of another one through (OSB "Provisioning: Body": 400). Whether it is still on
// offer is the engine's matter.
func (b *Broker) checkOrder(serviceID, planID string) error {
	_, _, err := b.engine.Shelf.Known(serviceID, planID)
	return err
}

// checkChange is checkOrder for an update, where the plan may be left out.
func (b *Broker) checkChange(serviceID, planID string) error {
	if planID != "" {
		return b.checkOrder(serviceID, planID)
	}
	if b.engine.Shelf.KnowsService(serviceID) {
		return nil
	}
	return serviceforge.Errorf(serviceforge.Invalid, "unknown service %q", serviceID)
}

// checkMaintenance compares the version that a platform expects with the
// catalog's for the plan, which is known; other fields are not looked at (OSB
// "Maintenance Info").
func (b *Broker) checkMaintenance(serviceID, planID string, wanted *domain.MaintenanceInfo) error {
	if wanted == nil || wanted.Version == "" {
		return nil
	}
	_, plan, err := b.catalog().Plan(serviceID, planID)
	if err == nil && plan.MaintenanceInfo.Version == wanted.Version {
		return nil
	}
	return conflictingMaintenance(plan.MaintenanceInfo.Version)
}

type catalogJSON struct {
	Services []offeringJSON `json:"services"`
}

type offeringJSON struct {
	ID                   string         `json:"id"`
	Name                 string         `json:"name"`
	Description          string         `json:"description"`
	Tags                 []string       `json:"tags,omitempty"`
	Requires             []string       `json:"requires,omitempty"`
	Bindable             bool           `json:"bindable"`
	InstancesRetrievable bool           `json:"instances_retrievable"`
	BindingsRetrievable  bool           `json:"bindings_retrievable"`
	PlanUpdateable       bool           `json:"plan_updateable"`
	AllowContextUpdates  bool           `json:"allow_context_updates"`
	Metadata             map[string]any `json:"metadata,omitempty"`
	Plans                []planJSON     `json:"plans"`
}

type planJSON struct {
	ID                     string         `json:"id"`
	Name                   string         `json:"name"`
	Description            string         `json:"description"`
	Free                   *bool          `json:"free,omitempty"`
	Bindable               *bool          `json:"bindable,omitempty"`
	PlanUpdateable         *bool          `json:"plan_updateable,omitempty"`
	BindingRotatable       bool           `json:"binding_rotatable,omitempty"`
	Metadata               map[string]any `json:"metadata,omitempty"`
	MaximumPollingDuration int64          `json:"maximum_polling_duration,omitempty"` // seconds
	MaintenanceInfo        *maintenance   `json:"maintenance_info,omitempty"`
	Schemas                *schemasJSON   `json:"schemas,omitempty"`
}

type maintenance struct {
	Version     string `json:"version"`
	Description string `json:"description,omitempty"`
}

type schemasJSON struct {
	Instance *actionsJSON `json:"service_instance,omitempty"`
	Binding  *actionsJSON `json:"service_binding,omitempty"`
}

type actionsJSON struct {
	Create *schemaJSON `json:"create,omitempty"`
	Update *schemaJSON `json:"update,omitempty"`
}

type schemaJSON struct {
	Parameters json.RawMessage `json:"parameters"`
}

func offeringOf(o catalog.Offering) offeringJSON {
	told := offeringJSON{
		ID:                   o.ID,
		Name:                 o.Name,
		Description:          o.Description,
		Tags:                 o.Tags,
		Requires:             o.Requires,
		Bindable:             o.Bindable,
		InstancesRetrievable: o.InstancesRetrievable,
		BindingsRetrievable:  o.BindingsRetrievable,
		PlanUpdateable:       o.PlanUpdateable,
		AllowContextUpdates:  o.AllowContextUpdates,
		Metadata:             o.Metadata,
	}
	for _, p := range o.Plans {
		told.Plans = append(told.Plans, planJSON{
			ID:                     p.ID,
			Name:                   p.Name,
			Description:            p.Description,
			Free:                   p.Free,
			Bindable:               p.Bindable,
			PlanUpdateable:         p.PlanUpdateable,
			BindingRotatable:       p.Bindings.Rotatable,
			Metadata:               p.Metadata,
			MaximumPollingDuration: int64(p.MaximumPollingDuration / time.Second),
			MaintenanceInfo:        maintenanceOf(p.MaintenanceInfo),
			Schemas:                schemasOf(p.Schemas),
		})
	}
	return told
}

func maintenanceOf(m catalog.MaintenanceInfo) *maintenance {
	if m.Version == "" {
		return nil
	}
	return &maintenance{m.Version, m.Description}
}

func schemasOf(s catalog.Schemas) *schemasJSON {
	if s.Create == nil && s.Update == nil && s.Bind == nil {
		return nil
	}
	told := &schemasJSON{}
	if s.Create != nil || s.Update != nil {
		told.Instance = &actionsJSON{Create: schemaOf(s.Create), Update: schemaOf(s.Update)}
	}
	if s.Bind != nil {
		told.Binding = &actionsJSON{Create: schemaOf(s.Bind)}
	}
	return told
}

func schemaOf(schema json.RawMessage) *schemaJSON {
	if schema == nil {
		return nil
	}
	return &schemaJSON{schema}
}

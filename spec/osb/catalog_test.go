package osb_test

import (
	"encoding/json"
	"regexp"
	"slices"
	"testing"
)

type plan struct {
	ID, Name, Description string
	Free                  *bool
	Metadata              struct{ Bullets []string }
	BindingRotatable      bool             `json:"binding_rotatable"`
	MaintenanceInfo       *maintenanceInfo `json:"maintenance_info"`
	Schemas               struct {
		Instance struct{ Create, Update *schema } `json:"service_instance"`
		Binding  struct{ Create *schema }         `json:"service_binding"`
	}
}

type schema struct{ Parameters json.RawMessage }

type maintenanceInfo struct{ Version, Description string }

type offering struct {
	ID, Name, Description string
	Tags                  []string
	Requires              []string
	Bindable              *bool
	PlanUpdateable        bool `json:"plan_updateable"`
	AllowContextUpdates   bool `json:"allow_context_updates"`
	Metadata              map[string]any
	InstancesRetrievable  bool `json:"instances_retrievable"`
	BindingsRetrievable   bool `json:"bindings_retrievable"`
	DashboardClient       *struct {
		ID, Secret  string
		RedirectURI string `json:"redirect_uri"`
	} `json:"dashboard_client"`
	Plans []plan
}

var (
	cliName     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]*$`)
	semver      = regexp.MustCompile(`^\d+\.\d+\.\d+([-+][-+.0-9A-Za-z]+)?$`)
	externalRef = regexp.MustCompile(`"\$ref"\s*:\s*"[^#]`)
	permissions = []string{"syslog_drain", "route_forwarding", "volume_mount"}
)

// checkCatalog checks section G.
func checkCatalog(t *testing.T, a answer) {
	var catalog struct{ Services []offering }
	if err := json.Unmarshal([]byte(a.text), &catalog); err != nil || catalog.Services == nil {
		t.Fatalf("line 31: %v: %s", err, a.text)
	}
	ids, names, plans := map[string]bool{}, map[string]bool{}, map[string]string{}
	for _, s := range catalog.Services {
		if s.ID == "" || ids[s.ID] || s.Name == "" || names[s.Name] || s.Description == "" || s.Bindable == nil || !*s.Bindable || len(s.Plans) == 0 {
			t.Errorf("lines 37-42, 49, 66: %+v", s)
		}
		if !cliName.MatchString(s.Name) || len(s.Description) > 255 {
			t.Errorf("lines 34, 36: %q", s.Name)
		}
		if slices.ContainsFunc(s.Requires, func(r string) bool { return !slices.Contains(permissions, r) }) {
			t.Errorf("line 41: %q", s.Requires)
		}
		if d := s.DashboardClient; d != nil && (d.ID == "" || d.Secret == "" || d.RedirectURI == "") {
			t.Errorf("line 47: %s", s.Name)
		}
		if !s.InstancesRetrievable || !s.BindingsRetrievable || !s.PlanUpdateable || !s.AllowContextUpdates {
			t.Errorf("lines 43-45, 48: %+v", s)
		}
		if len(s.Tags) == 0 || s.Metadata["displayName"] == nil {
			t.Errorf("lines 40, 46: %+v", s)
		}
		ids[s.ID], names[s.Name] = true, true
		planNames := map[string]bool{}
		for _, p := range s.Plans {
			if p.ID == "" || ids[p.ID] || !cliName.MatchString(p.Name) || planNames[p.Name] || p.Description == "" || len(p.Description) > 255 {
				t.Errorf("lines 34, 36, 50-52: %+v", p)
			}
			if !p.BindingRotatable || p.Free == nil || len(p.Metadata.Bullets) == 0 {
				t.Errorf("lines 53, 55: %+v", p)
			}
			checkPlan(t, &p)
			ids[p.ID], planNames[p.Name] = true, true
			plans[s.Name+" "+p.Name] = s.ID + " " + p.ID
		}
	}
	for name, id := range map[string]string{
		"etcd-dedicated 1-server": oneServer, "etcd-dedicated 3-servers": threeServers, "etcd-dedicated 5-servers": fiveServers,
	} {
		if plans[name] != service+" "+id {
			t.Errorf("line 32: the ids of 2014: %s is %q", name, plans[name])
		}
	}
}

func checkPlan(t *testing.T, p *plan) {
	t.Helper()
	if m := p.MaintenanceInfo; m == nil || !semver.MatchString(m.Version) || m.Description == "" {
		t.Errorf("lines 58-60: %+v", m)
	}
	schemas := 0
	for _, s := range []*schema{p.Schemas.Instance.Create, p.Schemas.Instance.Update, p.Schemas.Binding.Create} {
		if s == nil {
			continue
		}
		schemas++
		var document map[string]any
		if err := json.Unmarshal(s.Parameters, &document); err != nil || document["$schema"] == nil || document["$schema"] == "" {
			t.Errorf("line 62: %s", s.Parameters)
		}
		if externalRef.Match(s.Parameters) || len(s.Parameters) > 64<<10 {
			t.Errorf("lines 63, 64: %s", s.Parameters)
		}
	}
	if schemas == 0 {
		t.Errorf("line 61: plan %s tells no schema", p.Name)
	}
}

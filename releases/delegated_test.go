package releases_test

import (
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/releases"
	"github.com/serviceforge/serviceforge/users"
)

// TestRequiresAndWhatItIsForGoTogether: one without the other is refused, with
// the line.
func TestRequiresAndWhatItIsForGoTogether(t *testing.T) {
	for words, want := range map[string]string{
		"requires: [syslog_drain]":                                           "service.yml line 12: requires: syslog_drain needs syslog_drain_url",
		"requires: [route_forwarding]":                                       "route_forwarding needs route_service_url",
		"requires: [volume_mount]":                                           "volume_mount needs volume_mounts",
		"route_service_url: https://a":                                       "service.yml line 12: route_service_url needs route_forwarding in requires",
		"volume_mounts: [{driver: d}]":                                       "needs volume_mount in requires",
		"requires: [syslog_drain, syslog_drain]\n  syslog_drain_url: s://a":  "syslog_drain is there twice",
		"requires: [backups]":                                                "service.yml line 12 column 14",
		"syslog_drain_url: [a]":                                              "service.yml line 12 column 21",
		"requires: [syslog_drain]\n  syslog_drain_url: (( rand ( \"a\" ) ))": "rand is not allowed",

		"facts: {x: {instance_group: g, address: first, kind: dns}}":                                     "service.yml line 12: facts.x: kind: dns needs requires_pool",
		"requires_pool: {local_dns: true}\n  facts: {x: {instance_group: g, addresses: all, kind: dns}}": "service.yml line 13: facts.x: kind: dns needs address: first",
	} {
		_, err := releases.Load(small("a: 1", "parameters:", words+"\n  parameters:"))
		if serviceforge.CodeOf(err) != serviceforge.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", words, err, want)
		}
	}
}

// TestWhatIsDelegatedHasOSBsForm: platforms would refuse the binding else.
func TestWhatIsDelegatedHasOSBsForm(t *testing.T) {
	s := renderer(t)
	for words, want := range map[string]string{
		"requires: [syslog_drain]\n  syslog_drain_url: (( \"syslog://\" sf.params.word \":514\" ))":                                               "",
		"requires: [syslog_drain]\n  syslog_drain_url: (( \"http://\" sf.params.word ))":                                                          "syslog_drain_url has to be a URL",
		"requires: [syslog_drain]\n  syslog_drain_url: (( \"syslog://\" sf.params.mode \":x\" ))":                                                 "syslog_drain_url has to be a URL",
		"requires: [route_forwarding]\n  route_service_url: http://a":                                                                             "route_service_url has to be a URL",
		"requires: [volume_mount]\n  volume_mounts: []":                                                                                           "volume_mounts has to be a list",
		"requires: [volume_mount]\n  volume_mounts: [{driver: d, container_dir: /a, mode: rw, device_type: shared, device: {volume_id: v}}]":      "",
		"requires: [volume_mount]\n  volume_mounts: [{driver: d, container_dir: /a, mode: w, device_type: shared, device: {volume_id: v}}]":       "volume_mounts has to be",
		"requires: [volume_mount]\n  volume_mounts: [{driver: d, container_dir: a, mode: r, device_type: shared, device: {volume_id: v}}]":        "volume_mounts has to be",
		"requires: [volume_mount]\n  volume_mounts: [{driver: d, container_dir: /a, mode: r, device_type: shared, device: {volume_id: v, x: y}}]": "volume_mounts has to be",
	} {
		r := load(t, small("a: 1", "parameters:", words+"\n  parameters:"))
		if err := r.Runnable(); err != nil {
			t.Errorf("%s: %v", words, err)
		}
		_, err := r.Access(limited(t), s, smallInput(t, ""))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", words, err, want)
		}
	}
}

func TestEachBindingHasItsOwnUserInWhatIsDelegated(t *testing.T) {
	r := load(t, small("a: (( sf.users ))", "parameters:", `requires: [syslog_drain, route_forwarding]
  syslog_drain_url: (( "https://" sf.user.name ":" sf.user.password "@logs" ))
  route_service_url: https://proxy
  users: {prepared: 1}
  credentials: {name: (( sf.user.name )), password: (( sf.user.password ))}
  parameters:`))
	access, err := r.Access(limited(t), renderer(t), smallInput(t, ""))
	if err != nil {
		t.Fatal(serviceforge.DetailOf(err))
	}
	joe := users.User{Name: "joe", Password: serviceforge.NewSecret("pw")}
	for ofRoute, want := range map[bool]string{false: `{"syslog_drain_url":"https://joe:pw@logs"}`, true: `{"route_service_url":"https://proxy"}`} {
		if got, err := releases.Delegated(access, joe, ofRoute); err != nil || got.Reveal() != want {
			t.Errorf("of a route %v: %s, %v", ofRoute, got.Reveal(), err)
		}
	}
}

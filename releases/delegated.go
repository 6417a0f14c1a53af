package releases

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/url"
	"path"
	"slices"

	"gopkg.in/yaml.v3"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/releases/trees"
	"github.com/serviceforge/serviceforge/users"
)

// What bindings tell a platform to do (OSB "Types of Binding").
const (
	syslogDrain  = "syslog_drain_url"
	routeService = "route_service_url"
	volumeMounts = "volume_mounts"
)

// permissions are the values of OSB's requires, and what comes of each.
var permissions = map[string]string{"syslog_drain": syslogDrain, "route_forwarding": routeService, "volume_mount": volumeMounts}

func (f *fileDelegated) parts() map[string]*yaml.Node {
	return map[string]*yaml.Node{syslogDrain: &f.SyslogDrainURL, routeService: &f.RouteServiceURL, volumeMounts: &f.VolumeMounts}
}

// loadRequires reads OSB's requires: a permission without what it is for would
// be asked for nothing, and what has no permission is refused by platforms.
func (s *service) loadRequires(f *fileService) error {
	given := f.parts()
	allowed := map[string]bool{}
	for _, n := range f.Requires {
		key := permissions[n.Value]
		switch {
		case allowed[key]:
			return invalid("service.yml line %d: requires: %s is there twice", n.Line, n.Value)
		case given[key].IsZero():
			return invalid("service.yml line %d: requires: %s needs %s, which bindings are to hold", n.Line, n.Value, key)
		}
		allowed[key] = true
		s.offering.Requires = append(s.offering.Requires, n.Value)
	}
	for _, permission := range slices.Sorted(maps.Keys(permissions)) {
		key := permissions[permission]
		if n := given[key]; !n.IsZero() && !allowed[key] {
			return invalid("service.yml line %d: %s needs %s in requires: platforms refuse such bindings else", n.Line, key, permission)
		}
	}
	return nil
}

// delegatedOf takes out of a rendered tree what is told to platforms.
func delegatedOf(tree map[string]any) (map[string]any, error) {
	out := map[string]any{}
	for _, part := range []struct {
		key, form string
		fits      func(any) bool
	}{
		{syslogDrain, "a URL with syslog, syslog-tls or https", func(v any) bool { return isURL(v, "syslog", "syslog-tls", "https") }},
		{routeService, "a URL with https", func(v any) bool { return isURL(v, "https") }},
		{volumeMounts, "a list of driver, container_dir (absolute), mode (r or rw), device_type (shared), and device with volume_id and mount_config", areMounts},
	} {
		v, given := tree[part.key]
		if !given {
			continue
		}
		if !part.fits(v) {
			return nil, serviceforge.Errorf(serviceforge.Internal, "%s has to be %s", part.key, part.form)
		}
		out[part.key] = v
	}
	return out, nil
}

func isURL(v any, schemes ...string) bool {
	text, _ := v.(string)
	u, err := url.Parse(text)
	return err == nil && u.Host != "" && slices.Contains(schemes, u.Scheme)
}

// areMounts says whether v is as OSB has it ("Volume Mounts Object").
func areMounts(v any) bool {
	text, err := json.Marshal(v)
	if err != nil {
		return false
	}
	var mounts []struct {
		Driver       string `json:"driver"`
		ContainerDir string `json:"container_dir"`
		Mode         string `json:"mode"`
		DeviceType   string `json:"device_type"`
		Device       struct {
			VolumeID    string         `json:"volume_id"`
			MountConfig map[string]any `json:"mount_config"`
		} `json:"device"`
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if dec.Decode(&mounts) != nil || len(mounts) == 0 {
		return false
	}
	for _, m := range mounts {
		if m.Driver == "" || !path.IsAbs(m.ContainerDir) || m.Mode != "r" && m.Mode != "rw" || m.DeviceType != "shared" || m.Device.VolumeID == "" {
			return false
		}
	}
	return true
}

// Delegated makes what a platform is told to do for one binding, as a JSON
// object; empty = nothing. Only a binding of a route is told where requests go,
// and nothing else. Errors: Internal.
func Delegated(stored serviceforge.Secret, u users.User, ofRoute bool) (serviceforge.Secret, error) {
	a, err := openAccess(stored)
	if err != nil {
		return serviceforge.Secret{}, err
	}
	maps.DeleteFunc(a.Delegated, func(key string, _ any) bool { return (key == routeService) != ofRoute })
	if len(a.Delegated) == 0 {
		return serviceforge.Secret{}, nil
	}
	text, err := json.Marshal(trees.Substitute(a.Delegated, users.Filled(u)))
	if err != nil {
		return serviceforge.Secret{}, serviceforge.Wrap(err, serviceforge.Internal, "what a platform is to do cannot be written")
	}
	return serviceforge.NewSecret(string(text)), nil
}

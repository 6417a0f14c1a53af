package deployed

import (
	"gopkg.in/yaml.v3"

	"github.com/serviceforge/serviceforge"
)

// ErrandGroups says where the errand of that name can run: the instance groups
// of a manifest that have a job called so, in the manifest's order. None, and
// whole: it is an instance group of that name, which runs as a whole. Errors:
// Unprocessable (the manifest has no such errand, or cannot be read).
func ErrandGroups(manifest []byte, name string) (groups []string, whole bool, err error) {
	var m struct {
		Groups []struct {
			Name      string `yaml:"name"`
			Lifecycle string `yaml:"lifecycle"`
			Jobs      []struct {
				Name string `yaml:"name"`
			} `yaml:"jobs"`
		} `yaml:"instance_groups"`
	}
	if err := yaml.Unmarshal(manifest, &m); err != nil {
		return nil, false, serviceforge.Wrap(err, serviceforge.Unprocessable, "the manifest of the deployment cannot be read")
	}
	for _, g := range m.Groups {
		for _, j := range g.Jobs {
			if j.Name == name {
				groups = append(groups, g.Name)
				break
			}
		}
		whole = whole || g.Name == name && g.Lifecycle == "errand"
	}
	if len(groups) == 0 && !whole {
		return nil, false, serviceforge.Errorf(serviceforge.Unprocessable, "the deployment has no errand %s", name)
	}
	return groups, whole && len(groups) == 0, nil
}

package config

import (
	"bytes"
	"regexp"
	"slices"

	"gopkg.in/yaml.v3"

	"github.com/serviceforge/serviceforge"
)

// Platform is the right of one platform to call /v2. Several with one Name are
// the same platform: the old password and the new one, while it is changed.
type Platform struct {
	Name     string              `yaml:"name"` // kept in every instance made through it
	Username string              `yaml:"username"`
	Password serviceforge.Secret `yaml:"password"`
}

var platformName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// ParsePlatforms reads the file that broker.platforms names:
//
//	platforms:
//	- {name: cc, username: cc, password: …}
//
// and puts them behind others that are known already. Errors: Invalid; they
// never quote a password.
func ParsePlatforms(content []byte, others ...Platform) ([]Platform, error) {
	var file struct {
		Platforms []Platform `yaml:"platforms"`
	}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil {
		return nil, serviceforge.Errorf(serviceforge.Invalid, "it is no list \"platforms\" of name, username and password") // the cause may quote it
	}
	if len(file.Platforms) == 0 {
		return nil, serviceforge.Errorf(serviceforge.Invalid, "it names no platform")
	}
	names := map[string]string{}
	all := slices.Concat(others, file.Platforms)
	for i, p := range all {
		switch other, known := names[p.Username]; {
		case !platformName.MatchString(p.Name):
			return nil, serviceforge.Errorf(serviceforge.Invalid, "credential %d: %q is no name of up to 63 letters, digits, dots, dashes and underscores", i+1, p.Name)
		case p.Username == "" || p.Password.Empty():
			return nil, serviceforge.Errorf(serviceforge.Invalid, "platform %s needs a username and a password", p.Name)
		case known && other != p.Name:
			return nil, serviceforge.Errorf(serviceforge.Invalid, "the user %q is of platform %s and of platform %s: give them different ones", p.Username, other, p.Name)
		}
		names[p.Username] = p.Name
	}
	return all, nil
}

package config

import (
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/viper"

	"github.com/serviceforge/serviceforge"
)

// readFile reads the settings file into v, and refuses keys that there are not.
func readFile(v *viper.Viper, file string) error {
	err := v.ReadInConfig()
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		err = path.Err
	}
	if err != nil {
		said := strings.TrimPrefix(err.Error(), "While parsing config: ")
		if strings.Contains(said, "cannot start any token") || strings.Contains(said, "tab character") {
			said += " (YAML is indented with spaces, not with tabs)"
		}
		return serviceforge.Wrap(err, serviceforge.Invalid, "the settings file %s cannot be read: %s", file, said)
	}
	known := Keys()
	for _, key := range v.AllKeys() {
		if !v.InConfig(key) || slices.Contains(known, key) {
			continue
		}
		for _, k := range known {
			if strings.HasPrefix(k, key+".") {
				return serviceforge.Errorf(serviceforge.Invalid, "the settings file %s: %s holds settings such as %s", file, key, k)
			}
		}
		return serviceforge.Errorf(serviceforge.Invalid, "the settings file %s: there is no setting %s (`serviceforge serve --help` lists them: broker.url is --broker-url there)", file, key)
	}
	return nil
}

// notUnderstood names the first setting whose value is not of its kind, and
// the value, unless it is a secret.
func notUnderstood(v *viper.Viper, err error) error {
	wrong, ok := errors.AsType[*mapstructure.DecodeError](err)
	if !ok {
		return serviceforge.Wrap(err, serviceforge.Invalid, "the settings are not understood: %s", strings.Join(strings.Fields(err.Error()), " "))
	}
	key := wrong.Name()
	for _, s := range settings(Default()) {
		if s.key != key {
			continue
		}
		if _, secret := s.value.(serviceforge.Secret); secret {
			return invalid(key, "that is no text")
		}
		return invalid(key, "%v is not of the kind of %v", v.Get(key), s.value)
	}
	return serviceforge.Wrap(err, serviceforge.Invalid, "setting %s: %v", key, wrong.Unwrap())
}

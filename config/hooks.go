package config

import (
	"github.com/go-viper/mapstructure/v2"
)

// decodeHooks turn text into lists and secrets.
func decodeHooks() mapstructure.DecodeHookFunc {
	return mapstructure.ComposeDecodeHookFunc(
		mapstructure.StringToSliceHookFunc(","),
		mapstructure.TextUnmarshallerHookFunc(),
	)
}

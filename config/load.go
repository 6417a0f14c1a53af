package config

import (
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"

	"github.com/serviceforge/serviceforge"
)

// setting is one leaf of Config.
type setting struct {
	key, short, usage string
	value             any // its default
}

// settings lists the leaves of a Config with their values.
func settings(c Config) []setting {
	var all []setting
	var walk func(prefix string, v reflect.Value)
	walk = func(prefix string, v reflect.Value) {
		for field, value := range v.Fields() {
			key := prefix + field.Tag.Get("mapstructure")
			if value.Kind() == reflect.Struct && field.Type != reflect.TypeFor[serviceforge.Secret]() {
				walk(key+".", value)
				continue
			}
			all = append(all, setting{key: key, short: field.Tag.Get("short"), usage: field.Tag.Get("usage"), value: value.Interface()})
		}
	}
	walk("", reflect.ValueOf(c))
	return all
}

// Keys lists the key of every setting, as in the file.
func Keys() []string {
	var keys []string
	for _, s := range settings(Default()) {
		keys = append(keys, s.key)
	}
	return keys
}

// placeholder is the word in a usage that stands for the value, in quotes.
var placeholder = regexp.MustCompile(`'([A-Z][^']*)'`)

// AddFlags adds --config and a flag for every setting; defaults are shown in
// the help. Settings with a short name have two flags; the long one is hidden.
func AddFlags(flags *pflag.FlagSet, defaults Config) {
	flags.String("config", "", "settings `FILE` (YAML)")
	for _, s := range settings(defaults) {
		name := flagName(s.key)
		usage := placeholder.ReplaceAllString(s.usage, "`$1`")
		for _, n := range []string{name, s.short} {
			if n != "" && flags.Lookup(n) == nil {
				addFlag(flags, n, usage, s.value)
			}
		}
		if s.short != "" && s.short != name {
			_ = flags.MarkHidden(name)
		}
	}
}

func addFlag(flags *pflag.FlagSet, name, usage string, value any) {
	switch v := value.(type) {
	case string:
		flags.String(name, v, usage)
	case serviceforge.Secret:
		flags.String(name, "", usage)
	case bool:
		flags.Bool(name, v, usage)
	case int:
		flags.Int(name, v, usage)
	case time.Duration:
		flags.Duration(name, v, usage)
	case []string:
		flags.StringSlice(name, v, usage)
	default:
		panic(fmt.Sprintf("config: no flag for %T", v))
	}
}

// Load reads the settings: a flag beats the environment, which beats the file,
// which beats defaults. Unknown keys in the file are refused. Errors: Invalid.
func Load(flags *pflag.FlagSet, defaults Config) (Config, error) {
	v := viper.NewWithOptions(viper.ExperimentalBindStruct())
	v.SetEnvPrefix("SERVICEFORGE")
	v.SetEnvKeyReplacer(strings.NewReplacer(".", "_"))
	v.AutomaticEnv()
	for _, s := range settings(defaults) {
		if secret, ok := s.value.(serviceforge.Secret); ok {
			v.SetDefault(s.key, secret.Reveal())
		} else {
			v.SetDefault(s.key, s.value)
		}
		for _, name := range []string{flagName(s.key), s.short} {
			if f := flags.Lookup(name); f != nil && f.Changed {
				if slice, ok := f.Value.(pflag.SliceValue); ok {
					v.Set(s.key, slice.GetSlice())
				} else {
					v.Set(s.key, f.Value.String())
				}
			}
		}
	}
	if file, _ := flags.GetString("config"); file != "" {
		v.SetConfigFile(file)
		v.SetConfigType("yaml")
		if err := readFile(v, file); err != nil {
			return Config{}, err
		}
	}
	var c Config
	if err := v.UnmarshalExact(&c, viper.DecodeHook(decodeHooks())); err != nil {
		return Config{}, notUnderstood(v, err)
	}
	return c, nil
}

// level reads the log level.
func (l Log) level() (slog.Level, error) {
	var level slog.Level
	return level, level.UnmarshalText([]byte(l.Level))
}

// Logger writes to w at the level and in the format asked for.
func (l Log) Logger(w io.Writer) *slog.Logger {
	level, err := l.level()
	if err != nil {
		level = slog.LevelInfo
	}
	options := &slog.HandlerOptions{Level: level}
	if l.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

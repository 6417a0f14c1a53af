package manifest

import (
	"github.com/serviceforge/serviceforge/localbosh/bosherr"
)

// spec reads typed values out of one object of a document. The first error sticks and is the director's, so that
// a parser may read all its keys and look at err once.
type spec struct {
	value map[string]any
	err   error
}

func newSpec(v any) *spec {
	m, ok := v.(map[string]any)
	s := &spec{value: m}
	if !ok {
		s.err = bosherr.New(bosherr.ValidationInvalidType, "Object (%s) did not match the required type 'Hash'", inspect(v))
	}
	return s
}

func (s *spec) fail(code int, format string, args ...any) {
	if s.err == nil {
		s.err = bosherr.New(code, format, args...)
	}
}

func (s *spec) has(key string) bool { _, ok := s.value[key]; return ok }

// required returns the value of a key that must be there.
func (s *spec) required(key string) (any, bool) {
	v, ok := s.value[key]
	if !ok {
		s.fail(bosherr.ValidationMissingField, "Required property '%s' was not specified in object (%s)", key, inspect(s.objectOrNil()))
	}
	return v, ok && s.err == nil
}

func (s *spec) objectOrNil() any {
	if s.value == nil {
		return nil
	}
	return s.value
}

func (s *spec) invalidType(key, class string, v any) {
	s.fail(bosherr.ValidationInvalidType, "Property '%s' value (%s) did not match the required type '%s'", key, inspect(v), class)
}

func (s *spec) str(key string) string {
	v, ok := s.required(key)
	if !ok {
		return ""
	}
	return s.asString(key, v)
}

func (s *spec) optStr(key string) string {
	v, ok := s.value[key]
	if !ok {
		return ""
	}
	return s.asString(key, v)
}

func (s *spec) asString(key string, v any) string {
	switch v := v.(type) {
	case string:
		return v
	case int, float64:
		return rubyString(v)
	}
	s.invalidType(key, "String", v)
	return ""
}

func (s *spec) integer(key string) int {
	v, ok := s.required(key)
	if !ok {
		return 0
	}
	return s.asInt(key, v)
}

func (s *spec) asInt(key string, v any) int {
	i, ok := v.(int)
	if !ok {
		s.invalidType(key, "Integer", v)
	}
	return i
}

func (s *spec) list(key string) []any {
	v, ok := s.required(key)
	if !ok {
		return nil
	}
	return s.asList(key, v)
}

func (s *spec) optList(key string) []any {
	v, ok := s.value[key]
	if !ok {
		return nil
	}
	return s.asList(key, v)
}

func (s *spec) asList(key string, v any) []any {
	l, ok := v.([]any)
	if !ok {
		s.invalidType(key, "Array", v)
	}
	return l
}

func (s *spec) hash(key string) map[string]any {
	v, ok := s.required(key)
	if !ok {
		return nil
	}
	return s.asHash(key, v)
}

func (s *spec) optHash(key string) map[string]any {
	v, ok := s.value[key]
	if !ok {
		return nil
	}
	return s.asHash(key, v)
}

func (s *spec) asHash(key string, v any) map[string]any {
	m, ok := v.(map[string]any)
	if !ok {
		s.invalidType(key, "Hash", v)
	}
	return m
}

func (s *spec) optBool(key string, otherwise bool) bool {
	v, ok := s.value[key]
	if !ok {
		return otherwise
	}
	b, ok := v.(bool)
	if !ok {
		s.invalidType(key, "boolean", v)
	}
	return b
}

// strings returns a list of strings; absent is nil, present and empty is not.
func (s *spec) optStrings(key string) []string {
	l := s.optList(key)
	if l == nil {
		return nil
	}
	out := make([]string, 0, len(l))
	for _, v := range l {
		out = append(out, s.asString(key, v))
	}
	return out
}

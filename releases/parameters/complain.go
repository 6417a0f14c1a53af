package parameters

import (
	"cmp"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// complaint says what is wrong with parameters, by the first path where
// something is, or "". It never repeats a value: that may be secret.
func (s *Schema) complaint(err error) string {
	failed, ok := errors.AsType[*jsonschema.ValidationError](err)
	if !ok {
		return "the parameters cannot be checked"
	}
	leaves := leavesOf(failed, nil)
	slices.SortStableFunc(leaves, func(a, b *jsonschema.ValidationError) int {
		return cmp.Or(slices.Compare(a.InstanceLocation, b.InstanceLocation), strings.Compare(s.word(a), s.word(b)))
	})
	return s.word(leaves[0])
}

// leavesOf collects what is wrong, without what only sums it up. Of
// alternatives it is not known which was meant: they count as one.
func leavesOf(e *jsonschema.ValidationError, into []*jsonschema.ValidationError) []*jsonschema.ValidationError {
	switch e.ErrorKind.(type) {
	case *kind.AnyOf, *kind.OneOf:
		return append(into, e)
	}
	if len(e.Causes) == 0 {
		return append(into, e)
	}
	for _, cause := range e.Causes {
		into = leavesOf(cause, into)
	}
	return into
}

// word is the sentence for one fault.
func (s *Schema) word(e *jsonschema.ValidationError) string {
	if k, ok := e.ErrorKind.(*kind.AdditionalProperties); ok {
		name := parameterPath(append(slices.Clone(e.InstanceLocation), slices.Min(k.Properties)))
		if len(e.InstanceLocation) > 0 {
			return fmt.Sprintf("parameter %q is not known", name)
		}
		return fmt.Sprintf("parameter %q is not known%s", name, s.allowed())
	}
	if len(e.InstanceLocation) == 0 {
		return "parameters " + demand(e.ErrorKind)
	}
	return "parameter " + parameterPath(e.InstanceLocation) + " " + demand(e.ErrorKind)
}

func (s *Schema) allowed() string {
	if len(s.names) == 0 {
		return "; none is taken here"
	}
	return "; allowed: " + strings.Join(s.names, ", ")
}

// parameterPath writes a place in the parameters, as in "backup.times.0".
func parameterPath(location []string) string {
	var parts []string
	for _, part := range location {
		parts = append(parts, fmt.Sprintf("%.64s", part))
	}
	return strings.Join(parts, ".")
}

// demand says what a schema asks for at a place.
func demand(fault jsonschema.ErrorKind) string {
	switch k := fault.(type) {
	case *kind.Type:
		return "must be of type " + strings.Join(k.Want, " or ")
	case *kind.Enum:
		return fmt.Sprintf("must be one of %v", k.Want)
	case *kind.Const:
		return fmt.Sprintf("must be %v", k.Want)
	case *kind.Format:
		return "must be of the format " + k.Want
	case *kind.Pattern:
		return "must match " + k.Want
	case *kind.MinLength:
		return fmt.Sprintf("must not be shorter than %d characters", k.Want)
	case *kind.MaxLength:
		return fmt.Sprintf("must not be longer than %d characters", k.Want)
	case *kind.Minimum:
		return "must be at least " + number(k.Want)
	case *kind.Maximum:
		return "must be at most " + number(k.Want)
	case *kind.ExclusiveMinimum:
		return "must be more than " + number(k.Want)
	case *kind.ExclusiveMaximum:
		return "must be less than " + number(k.Want)
	case *kind.MultipleOf:
		return "must be a multiple of " + number(k.Want)
	case *kind.Required:
		return "must hold " + strings.Join(k.Missing, ", ")
	case *kind.MinItems:
		return fmt.Sprintf("must have at least %d items", k.Want)
	case *kind.MaxItems:
		return fmt.Sprintf("must have at most %d items", k.Want)
	case *kind.AnyOf, *kind.OneOf:
		return "must have one of the forms that the catalog describes"
	case *kind.UniqueItems:
		return "must not hold anything twice"
	}
	return "must match the schema's " + strings.Join(fault.KeywordPath(), "/")
}

// number writes a bound without an exponent.
func number(bound *big.Rat) string {
	if bound.IsInt() {
		return bound.Num().String()
	}
	return strings.TrimRight(bound.FloatString(9), "0")
}

package manifest

import (
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/serviceforge/serviceforge/localbosh/bosherr"
)

var (
	placeholder = regexp.MustCompile(`\(\(([^()]*)\)\)`)
	nameSyntax  = regexp.MustCompile(`^[a-zA-Z0-9_\-.!/]+$`)
)

// AbsoluteName is name itself if it begins with a slash, else /director/deployment/name.
func AbsoluteName(name, director, deployment string) string {
	if strings.HasPrefix(name, "/") {
		return name
	}
	return "/" + director + "/" + deployment + "/" + name
}

// checkName refuses names that no config server takes; what is "Variable" or "Placeholder". Code 540004.
func checkName(name, what string) *bosherr.Error {
	fail := func(reason string) *bosherr.Error {
		return bosherr.New(bosherr.ConfigServerIncorrectNameSyntax, "%s name '%s' must %s", what, name, reason)
	}
	switch {
	case !nameSyntax.MatchString(name):
		return fail("only contain alphanumeric, underscores, dashes, or forward slash characters")
	case strings.HasSuffix(name, "/"):
		return fail("not end with a forward slash")
	case strings.Contains(name, "//"):
		return fail("not contain two consecutive forward slashes")
	}
	return nil
}

// interpolator replaces ((variables)) of one deployment.
type interpolator struct {
	director, deployment string
	lookup               Lookup
	cache                map[string]fetched
}

type fetched struct {
	value any
	err   string
}

func newInterpolator(director, deployment string, lookup Lookup) interpolator {
	return interpolator{director: director, deployment: deployment, lookup: lookup, cache: map[string]fetched{}}
}

// Interpolate returns a copy of tree with every ((variable)) replaced: a string that is nothing but one becomes
// the value itself, else the value becomes part of the string. ((name.key)) is a part of a value. lookup is nil
// without a config server. The error names everything that is missing (code 540001; 540009 without server).
func Interpolate(tree any, director, deployment string, lookup Lookup) (any, error) {
	in := newInterpolator(director, deployment, lookup)
	out, errs := in.tree(tree)
	if errs != nil {
		return nil, in.failure(errs)
	}
	return out, nil
}

func (in *interpolator) failure(errs []string) error {
	code := bosherr.ConfigServerFetchError
	if in.lookup == nil {
		code = bosherr.ConfigServerDisabled
	}
	return bosherr.New(code, "%s", strings.Join(errs, "\n"))
}

// Where InterpolateManifest leaves ((variables)) alone; "*" is any key or index.
var ignoredSubtrees = [][]string{
	{"properties"}, {"instance_groups", "*", "properties"}, {"instance_groups", "*", "env"},
	{"instance_groups", "*", "jobs", "*", "properties"}, {"instance_groups", "*", "jobs", "*", "consumes", "*", "properties"},
	{"addons", "*", "properties"}, {"addons", "*", "jobs", "*", "properties"},
}

// InterpolateManifest returns a copy of tree with the ((variables)) outside of properties and env replaced, which
// the director does before it parses.
func InterpolateManifest(tree map[string]any, director, deployment string, lookup Lookup) (map[string]any, error) {
	in := newInterpolator(director, deployment, lookup)
	var errs []string
	out := in.walk(tree, nil, &errs)
	if len(errs) > 0 {
		return nil, in.failure(in.report(errs))
	}
	return out.(map[string]any), nil
}

func (in *interpolator) tree(v any) (any, []string) {
	var errs []string
	if m, ok := v.(map[string]any); ok && m == nil {
		v = map[string]any{}
	}
	out := in.walk(v, []string{"-"}, &errs)
	return out, in.report(errs)
}

// report is how the director tells what it could not fetch: all of it, as a list; without a config server the
// first one alone.
func (in *interpolator) report(errs []string) []string {
	if len(errs) == 0 {
		return nil
	}
	if in.lookup == nil {
		return errs[:1]
	}
	slices.Sort(errs)
	errs = slices.Compact(errs)
	for i := range errs {
		errs[i] = "- " + errs[i]
	}
	return errs
}

func (in *interpolator) walk(v any, path []string, errs *[]string) any {
	if slices.ContainsFunc(ignoredSubtrees, func(p []string) bool { return pathMatches(p, path) }) {
		return cloneTree(v)
	}
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for _, k := range slices.Sorted(maps.Keys(v)) {
			out[k] = in.walk(v[k], append(path, k), errs)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = in.walk(e, append(path, strconv.Itoa(i)), errs)
		}
		return out
	case string:
		return in.text(v, errs)
	}
	return v
}

func pathMatches(pattern, path []string) bool {
	if len(pattern) != len(path) {
		return false
	}
	for i := range pattern {
		if pattern[i] != "*" && pattern[i] != path[i] {
			return false
		}
	}
	return true
}

func (in *interpolator) text(s string, errs *[]string) any {
	matches := placeholder.FindAllStringSubmatchIndex(s, -1)
	if matches == nil {
		return s
	}
	if len(matches) == 1 && matches[0][0] == 0 && matches[0][1] == len(s) {
		v, err := in.fetch(s[matches[0][2]:matches[0][3]])
		if err != "" {
			*errs = append(*errs, err)
		}
		return v
	}
	var b strings.Builder
	end := 0
	for _, m := range matches {
		b.WriteString(s[end:m[0]])
		end = m[1]
		name := s[m[2]:m[3]]
		v, err := in.fetch(name)
		switch v.(type) {
		case string, int, float64, bool:
			b.WriteString(rubyString(v))
		default:
			if err == "" {
				err = "Failed to substitute variable: Can not replace '" + s[m[0]:m[1]] + "' in '" + s + "'. The value should be a String or an Integer."
			}
		}
		if err != "" {
			*errs = append(*errs, err)
		}
	}
	b.WriteString(s[end:])
	return b.String()
}

// fetch returns the value of a placeholder's name, or the director's complaint.
func (in *interpolator) fetch(name string) (any, string) {
	if f, ok := in.cache[name]; ok {
		return cloneTree(f.value), f.err
	}
	var f fetched
	f.value, f.err = in.fetchNew(name)
	in.cache[name] = f
	return cloneTree(f.value), f.err
}

func (in *interpolator) fetchNew(name string) (any, string) {
	if err := checkName(name, "Placeholder"); err != nil {
		return nil, err.Description
	}
	if strings.Count(name, "!") > 1 || strings.LastIndexByte(name, '!') > 0 || name == "!" {
		return nil, "Placeholder name '" + name + "' contains invalid character '!'. If it is included for spiff, " +
			"it should only be at the beginning of the name. Note: it will not be considered a part of the name"
	}
	root, keys, _ := strings.Cut(strings.TrimPrefix(name, "!"), ".")
	root = AbsoluteName(root, in.director, in.deployment)
	if in.lookup == nil {
		return nil, "Failed to fetch variable '" + root + "' from config server: Director is not configured with a config server"
	}
	v, found, err := in.lookup(root)
	switch {
	case err != nil:
		return nil, "Failed to fetch variable '" + root + "' from config server: " + err.Error()
	case !found:
		return nil, "Failed to find variable '" + root + "' from config server: HTTP Code '404', Error: 'Name '" + root + "' not found'"
	case keys == "":
		return v, ""
	}
	at := root
	for key := range strings.SplitSeq(keys, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil, "Failed to fetch variable '" + root + "' from config server: Expected parent '" + at + "' to be a hash"
		}
		if v, ok = m[key]; !ok {
			return nil, "Failed to fetch variable '" + root + "' from config server: Expected parent '" + at + "' hash to have key '" + key + "'"
		}
		at += "." + key
	}
	return v, ""
}

// cloneTree copies maps and lists.
func cloneTree(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = cloneTree(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = cloneTree(e)
		}
		return out
	}
	return v
}

// netmask is a prefix's mask in the dotted form.
func netmask(p netip.Prefix) string {
	bits := netip.PrefixFrom(lastAddr(netip.PrefixFrom(netip.IPv4Unspecified(), 0)), p.Bits())
	if p.Addr().Is6() {
		bits = netip.PrefixFrom(lastAddr(netip.PrefixFrom(netip.IPv6Unspecified(), 0)), p.Bits())
	}
	return bits.Masked().Addr().String()
}

package manifest

import (
	"maps"
	"slices"
	"strings"

	"github.com/cppforlife/go-semi-semantic/version"
	"github.com/serviceforge/serviceforge/localbosh/bosherr"
)

func parseJobSpec(text []byte) (*JobSpec, error) {
	v, err := decodeYAML(text)
	if err != nil {
		return nil, bosherr.New(bosherr.JobInvalidArchive, "job.MF: %s", err)
	}
	s := newSpec(v)
	j := &JobSpec{Name: s.str("name")}
	if s.value["description"] != nil {
		j.Description = s.optStr("description")
	}
	if s.err != nil {
		return nil, s.err
	}
	j.parseTemplates(s)
	j.parseProperties(s)
	if s.value["packages"] != nil {
		j.Packages = s.optStrings("packages")
	}
	j.parseLinks(s)
	if s.err != nil {
		return nil, s.err
	}
	return j, nil
}

func (j *JobSpec) parseTemplates(s *spec) {
	if s.value["templates"] == nil {
		return
	}
	for source, dest := range s.optHash("templates") {
		j.Templates = append(j.Templates, TemplateSpec{Source: source, Dest: rubyString(dest)})
	}
	slices.SortFunc(j.Templates, func(a, b TemplateSpec) int { return strings.Compare(a.Source, b.Source) })
}

func (j *JobSpec) parseProperties(s *spec) {
	v := s.value["properties"]
	if v == nil {
		return
	}
	m, ok := v.(map[string]any)
	if !ok {
		s.fail(bosherr.JobInvalidPropertySpec, "Job '%s' has invalid properties spec format", j.Name)
		return
	}
	j.Properties = make(map[string]PropertySpec, len(m))
	for name, v := range m {
		p := PropertySpec{}
		if def, ok := v.(map[string]any); ok {
			p.Default, p.HasDefault = def["default"]
		}
		j.Properties[name] = p
	}
}

func (j *JobSpec) parseLinks(s *spec) {
	for _, m := range j.linkHashes(s, "provides") {
		l := ProvidedLink{Name: rubyString(m["name"]), Type: rubyString(m["type"])}
		if _, ok := m["optional"]; ok {
			s.fail(bosherr.JobInvalidLinkSpec, "Link '%s' of type '%s' is a provides link, not allowed to have 'optional' key", l.Name, l.Type)
		}
		if m["properties"] != nil {
			l.Properties = (&spec{value: m}).optStrings("properties")
		}
		l.Shared, _ = m["shared"].(bool)
		j.Provides = append(j.Provides, l)
	}
	for _, m := range j.linkHashes(s, "consumes") {
		l := ConsumedLink{Name: rubyString(m["name"]), Type: rubyString(m["type"])}
		l.Optional, _ = m["optional"].(bool)
		j.Consumes = append(j.Consumes, l)
	}
}

func (j *JobSpec) linkHashes(s *spec, key string) []map[string]any {
	v := s.value[key]
	if v == nil {
		return nil
	}
	list, ok := v.([]any)
	if !ok {
		s.fail(bosherr.JobInvalidLinkSpec, "Job '%s' has invalid spec format: '%s' must be an array of hashes with name and type", j.Name, key)
		return nil
	}
	var out []map[string]any
	seen := map[string]bool{}
	for _, v := range list {
		m, ok := v.(map[string]any)
		if !ok {
			s.fail(bosherr.JobInvalidLinkSpec, "%s section in the release spec must be a list of hashes", strings.ToUpper(key[:1])+key[1:])
			return nil
		}
		_, hasName := m["name"]
		_, hasType := m["type"]
		if !hasName || !hasType {
			s.fail(bosherr.JobInvalidLinkSpec, "Each %s item in the %s section of the release spec must contain 'name' and 'type'", key, key)
			return nil
		}
		name := rubyString(m["name"])
		if seen[name] {
			s.fail(bosherr.JobDuplicateLinkName, "Job '%s' specifies duplicate %s link with name '%s'", j.Name, key, name)
		}
		seen[name] = true
		out = append(out, m)
	}
	return out
}

// propertyNames are the declared names, sorted, so that "a" comes before "a.b".
func (j *JobSpec) propertyNames() []string { return slices.Sorted(maps.Keys(j.Properties)) }

// FindRelease returns the uploaded release that name and version mean; version may be "latest" or a prefix with
// ".latest" as in "1.latest". Errors 30005, 30006.
func FindRelease(uploaded []*Release, name, want string) (*Release, *bosherr.Error) {
	var best *Release
	known := false
	for _, r := range uploaded {
		if r.Name != name {
			continue
		}
		known = true
		if r.Version == want {
			return r, nil
		}
		if matchesLatest(want, r.Version) && (best == nil || CompareVersions(r.Version, best.Version) > 0) {
			best = r
		}
	}
	switch {
	case best != nil:
		return best, nil
	case !known:
		return nil, bosherr.New(bosherr.ReleaseNotFound, "Release '%s' doesn't exist", name)
	}
	return nil, bosherr.New(bosherr.ReleaseVersionNotFound, "Release version '%s/%s' doesn't exist", name, want)
}

// FindStemcell returns the uploaded stemcell that a manifest means. Error 50003.
func FindStemcell(uploaded []Stemcell, ref StemcellRef) (Stemcell, *bosherr.Error) {
	var best *Stemcell
	for i, sc := range uploaded {
		if (ref.OS != "" && sc.OS != ref.OS) || (ref.Name != "" && sc.Name != ref.Name) {
			continue
		}
		if sc.Version == ref.Version {
			return sc, nil
		}
		if matchesLatest(ref.Version, sc.Version) && (best == nil || CompareVersions(sc.Version, best.Version) > 0) {
			best = &uploaded[i]
		}
	}
	switch {
	case best != nil:
		return *best, nil
	case ref.OS != "":
		return Stemcell{}, bosherr.New(bosherr.StemcellNotFound, "Stemcell version '%s' for OS '%s' doesn't exist", ref.Version, ref.OS)
	}
	return Stemcell{}, bosherr.New(bosherr.StemcellNotFound, "Stemcell '%s/%s' doesn't exist", ref.Name, ref.Version)
}

func matchesLatest(want, have string) bool {
	if want == "latest" {
		return true
	}
	prefix, ok := strings.CutSuffix(want, ".latest")
	return ok && (have == prefix || strings.HasPrefix(have, prefix+"."))
}

// CompareVersions orders versions as BOSH does (1.9 < 1.10, 1.0-rc.1 < 1.0 < 1.0+dev.1); what is no version
// sorts first, by its bytes.
func CompareVersions(a, b string) int {
	va, errA := version.NewVersionFromString(a)
	vb, errB := version.NewVersionFromString(b)
	switch {
	case errA != nil && errB != nil:
		return strings.Compare(a, b)
	case errA != nil:
		return -1
	case errB != nil:
		return 1
	}
	return va.Compare(vb)
}

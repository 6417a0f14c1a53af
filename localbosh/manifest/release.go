package manifest

// Release is a release version as the director knows it: what manifests, links and compilation need of release.MF
// and the jobs' job.MF.
type Release struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	// Jobs and Packages are in the order of release.MF.
	Jobs     []*JobSpec `json:"jobs"`
	Packages []*Package `json:"packages"`
}

// Job returns the spec of a job of the release, or nil.
func (r *Release) Job(name string) *JobSpec {
	for _, j := range r.Jobs {
		if j.Name == name {
			return j
		}
	}
	return nil
}

// Package returns a package of the release, or nil.
func (r *Release) Package(name string) *Package {
	for _, p := range r.Packages {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// Package is a package of a release, as source, compiled, or both.
type Package struct {
	Name        string `json:"name"`
	Fingerprint string `json:"fingerprint"`
	SHA1        string `json:"sha1,omitempty"` // of the source tarball, "sha256:…" or bare SHA-1
	// Dependencies are names of packages of the same release.
	Dependencies []string `json:"dependencies,omitempty"`
	// Source says whether the package can be compiled here.
	Source bool `json:"source,omitempty"`
	// CompiledFor are the stemcells ("ubuntu-jammy/1.506") for which the release brought a compiled package.
	CompiledFor []string `json:"compiled_for,omitempty"`
}

// JobSpec is what a job says of itself in job.MF, and its identity from release.MF.
type JobSpec struct {
	Name        string         `json:"name"`
	Fingerprint string         `json:"fingerprint"`
	SHA1        string         `json:"sha1,omitempty"`
	Description string         `json:"description,omitempty"`
	Templates   []TemplateSpec `json:"templates,omitempty"`
	Packages    []string       `json:"packages,omitempty"`
	// Properties are keyed by the dotted name.
	Properties map[string]PropertySpec `json:"properties,omitempty"`
	Provides   []ProvidedLink          `json:"provides,omitempty"`
	Consumes   []ConsumedLink          `json:"consumes,omitempty"`
}

// TemplateSpec is one entry of a job's `templates:`, sorted by Source.
type TemplateSpec struct {
	Source string `json:"source"` // below templates/
	Dest   string `json:"dest"`   // below /var/vcap/jobs/NAME
}

// PropertySpec is one declared property.
type PropertySpec struct {
	HasDefault bool `json:"has_default,omitempty"`
	Default    any  `json:"default,omitempty"`
}

// ProvidedLink is one entry of a job's `provides:`.
type ProvidedLink struct {
	Name       string   `json:"name"`
	Type       string   `json:"type"`
	Properties []string `json:"properties,omitempty"`
	Shared     bool     `json:"shared,omitempty"`
}

// ConsumedLink is one entry of a job's `consumes:`.
type ConsumedLink struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Optional bool   `json:"optional,omitempty"`
}

// Stemcell is a stemcell the director has.
type Stemcell struct {
	Name    string `json:"name"`
	OS      string `json:"operating_system"`
	Version string `json:"version"`
	CID     string `json:"cid"`
}

// Catalog is everything uploaded to the director.
type Catalog struct {
	Releases  []*Release
	Stemcells []Stemcell
}

// ParseJobSpec reads a job.MF. Name, Templates, Packages, Properties, Provides and Consumes are filled, the
// identity is not. Its errors are the director's (80001, 80008, 80012, 80013).
func ParseJobSpec(text []byte) (*JobSpec, error) { return parseJobSpec(text) }

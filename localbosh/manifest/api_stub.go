package manifest

import "errors"

var errStub = errors.New("manifest: being written")

type addrSet struct{}

func parseJobSpec([]byte) (*JobSpec, error)         { return nil, errStub }
func parseCloudConfig([]byte) (*CloudConfig, error) { return nil, errStub }
func resolve(Request) (*Plan, error)                { return nil, errStub }
func instanceLabel(Instance) string                 { return "" }

// Change says what has to be done to an instance with digest d to give it digest to.
func (d Digest) Change(to Digest) Change { return Unchanged }

// ParseTree reads YAML as the director's Ruby does (YAML 1.1: yes/no are booleans, 12:30:00 is a number) into maps
// with string keys. Errors: 440001 "Manifest should not be empty" / "Manifest should be a hash", and for broken YAML.
func ParseTree(text []byte) (map[string]any, error) { return nil, errStub }

// Parse checks a manifest tree against cloud config and uploaded releases and returns it. The tree must have been
// interpolated outside of properties (InterpolateManifest).
func Parse(tree map[string]any, cloud *CloudConfig, releases []*Release) (*Manifest, error) {
	return nil, errStub
}

// Of returns how many of size instances c means, at least min.
func (c Count) Of(size, min int) int { return 0 }

// InterpolateManifest returns a copy of tree with the ((variables)) outside of job properties replaced, which the
// director does before it parses. lookup is nil without a config server.
func InterpolateManifest(tree map[string]any, director, deployment string, lookup Lookup) (map[string]any, error) {
	return nil, errStub
}

// Interpolate returns a copy of tree with every ((variable)) replaced.
func Interpolate(tree any, director, deployment string, lookup Lookup) (any, error) {
	return nil, errStub
}

// AbsoluteName is name itself if it begins with a slash, else /director/deployment/name.
func AbsoluteName(name, director, deployment string) string { return "" }

// Generate makes the value of a variable that a config server does not have: a string (password), or a map
// (certificate: ca, certificate, private_key; ssh, rsa: private_key, public_key; user: username, password). ca is
// asked for the certificate named by options.ca.
func Generate(v Variable, ca Lookup) (any, error) { return nil, errStub }

func (p *Plan) bind(director string, lookup Lookup) error { return errStub }

// Package releases knows service releases: reading and checking them, rendering
// manifests and credentials, generating secrets, and building tarballs.
package releases

import (
	"context"
	"encoding/json"
	"io"
	"io/fs"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/catalog"
	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
	"github.com/serviceforge/serviceforge/users"
)

var errBeingWritten = serviceforge.Errorf(serviceforge.Internal, "being written")

// Release is a service release that was read and checked. It is immutable.
type Release struct{}

// Etcd returns the files of the service release that comes with ServiceForge.
func Etcd() fs.FS { return nil }

// Load reads a service release from its folder: service.yml, templates/,
// README.md, and BOSH releases under bosh/. Unknown keys are refused with their
// line. Errors: Invalid.
func Load(files fs.FS) (*Release, error) { return nil, errBeingWritten }

// Ref returns "name/version".
func (r *Release) Ref() string { return "" }

// Offerings returns what the release offers, for catalog.New.
func (r *Release) Offerings() []catalog.Offering { return nil }

// BOSHReleases returns the BOSH releases its deployments use.
func (r *Release) BOSHReleases() []BOSHRelease { return nil }

// BOSHRelease is one BOSH release that a service release needs.
type BOSHRelease struct {
	Name, Version string
	File          string // path of its tarball in the service release; empty = must be on the director
	Source        string // folder of its source, where it is built by Package or BuildBOSH; may be empty
}

// Input is everything a render depends on.
type Input struct {
	// Instance: its ids, names, Parameters, Secrets and Facts are read, and the
	// id of its Operation for the stamp.
	Instance serviceforge.Instance
	Pool     pools.Pool
	Broker   string // the broker's id, for the stamp
	// First says that nothing was deployed yet: the template may choose a
	// quicker update block.
	First bool
	// Versions replaces the versions of BOSH releases, by name (the pins of an
	// instance); nil = those of service.yml.
	Versions map[string]string
}

// CheckParameters checks what the platform sent (a JSON object or nothing)
// against the plan's schema, in memory. Errors: Invalid.
func (r *Release) CheckParameters(plan catalog.Plan, params json.RawMessage) error {
	return errBeingWritten
}

// RefuseReferences refuses any string in v (decoded JSON) that holds "((":
// Spiff or a director would evaluate it. what names v in the message, e.g.
// "parameter". Errors: Invalid, as in `parameter prefix: "((" is not allowed`.
func RefuseReferences(what string, v any) error { return errBeingWritten }

// NewSecrets makes the passwords and certificates of a new instance, for
// Instance.Secrets: a JSON object. Call it once per instance.
func (r *Release) NewSecrets(in Input) (serviceforge.Secret, error) {
	return serviceforge.Secret{}, errBeingWritten
}

// Manifest renders the BOSH manifest. Equal inputs give equal bytes. It holds
// the instance's secrets in clear. Errors: Invalid (an input holds "(("),
// Internal with the cause from Spiff, Unavailable (no child could be run).
func (r *Release) Manifest(ctx context.Context, s *Spiff, in Input) ([]byte, error) {
	return nil, errBeingWritten
}

// Stamp is the first line of every manifest we send.
type Stamp struct{ Broker, Instance, Operation string }

// StampOf reads the stamp of a manifest; false = it is not ours.
func StampOf(manifest []byte) (Stamp, bool) { return Stamp{}, false }

// Access renders once, after a deployment is done and Instance.Facts are known,
// how credentials and users of the instance are made; store it as
// Instance.Access. Errors as Manifest's.
func (r *Release) Access(ctx context.Context, s *Spiff, in Input) (serviceforge.Secret, error) {
	return serviceforge.Secret{}, errBeingWritten
}

// Credentials makes the credentials (a JSON object) of one user, in memory.
func Credentials(access serviceforge.Secret, u users.User) (serviceforge.Secret, error) {
	return serviceforge.Secret{}, errBeingWritten
}

// UsersOf returns where and how users are made; ok is false where the release
// has no users section.
func UsersOf(access serviceforge.Secret) (s users.Service, ok bool, err error) {
	return users.Service{}, false, errBeingWritten
}

// Spiff renders documents in children of the program, one request per child,
// and keeps one idle child ready. Methods are safe for concurrent use.
type Spiff struct{}

// NewSpiff returns a renderer that runs `program __spiff` with env, typically
// only SERVICEFORGE_STATE. Nothing is started before the first render or Warm.
func NewSpiff(program string, env []string) *Spiff { return &Spiff{} }

// Warm starts an idle child, so that the next render is quick.
func (s *Spiff) Warm() {}

// Close ends idle and running children and waits for them.
func (s *Spiff) Close() error { return nil }

// SpiffMain is the child's entry (`__spiff`): one request on stdin, its result
// on stdout. It returns the exit code.
func SpiffMain(args []string) int { return 1 }

// BOSHSource is the source folder of a BOSH release (jobs/*, packages/*) and
// what is not in it.
type BOSHSource struct {
	Name, Version string
	Files         fs.FS
	// Payload gives files of packages that are not in the folder, by
	// "<package>/<path in the package>".
	Payload map[string]Payload
}

// Payload is one big file of a package, e.g. the program.
type Payload struct {
	Path string // file on this machine; not read by a sparse build that is given SHA256
	// SHA256 is its content's digest in hex; empty = computed from Path.
	SHA256 string
	Mode   fs.FileMode // permission bits; 0 = 0755
}

// BuildBOSH writes the release tarball: release.MF, jobs/*.tgz, packages/*.tgz.
// Equal sources give equal bytes. A sparse build leaves the payload files
// empty; fingerprints are those of the full build.
func BuildBOSH(ctx context.Context, w io.Writer, s BOSHSource, sparse bool) error {
	return errBeingWritten
}

// Package writes the service release in files as a tarball that can be
// installed on a real broker: it builds the BOSH releases whose source is
// there, with program as payload. It refuses a program that could not run on a
// stemcell (dynamically linked, or built with -race) with the command that
// builds a fit one. Equal inputs give equal bytes. Errors: Invalid.
func Package(ctx context.Context, files fs.FS, program string, w io.Writer) error {
	return errBeingWritten
}

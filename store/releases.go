package store

import (
	"context"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/serviceforge/serviceforge"
)

// A service release is stored as its files, which nobody looks at before the
// record of the release names them, and that record. Who changes it compares
// its revision: of two installs of one release that run at the same time, the
// one whose record was overwritten ends with a Conflict and has changed nothing.
// What is on offer also depends on the other releases; therefore each write that
// changes it compares and moves one more key, which replicas watch.

const current = "current" // no version is called so

// Release is what is kept of a service release: its versions, and which one is
// on offer.
type Release struct {
	header
	Name    string `json:"name"`
	Current string `json:"current,omitempty"` // the version on offer; "" = none
	// Versions are those that are kept, oldest first: the one on offer, and
	// those that instances may still use.
	Versions []ReleaseVersion `json:"versions"`
	// Installing is a version whose install is under way, or was cut off.
	Installing *ReleaseVersion `json:"installing,omitempty"`
	// Removing are versions that no new instance may be made of: they are being
	// removed, unless an instance turns out to use one.
	Removing []string `json:"removing,omitempty"`

	Revision int64                      `json:"-"` // 0 = not stored yet
	Unknown  map[string]json.RawMessage `json:"-"` // written by a newer version; they are kept
}

// ReleaseVersion is one version of a service release.
type ReleaseVersion struct {
	Version string        `json:"version"`
	Digest  string        `json:"digest"` // of its content, in hex
	BOSH    []BOSHRelease `json:"bosh,omitempty"`
	Pools   []string      `json:"pools"` // that have what it needs
	Actor   string        `json:"actor,omitempty"`
	At      time.Time     `json:"at"` // when it was installed
}

// BOSHRelease is a BOSH release as a service release carries it.
type BOSHRelease struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	// Parts are the fingerprints of its jobs and packages, by "jobs/NAME" and
	// "packages/NAME"; none = it was not carried, and not looked at.
	Parts map[string]string `json:"parts,omitempty"`
}

var releaseFields = fieldsOf(reflect.TypeFor[Release]())

// Version returns the entry of a version; nil = it is not kept.
func (r *Release) Version(version string) *ReleaseVersion {
	n := slices.IndexFunc(r.Versions, func(v ReleaseVersion) bool { return v.Version == version })
	if n < 0 {
		return nil
	}
	return &r.Versions[n]
}

// Releases are all service releases at one moment.
type Releases struct {
	All      []Release // by name
	Seen     int64     // etcd's revision at which they were read
	Switched int64     // revision of the last change of what is on offer
}

// Releases reads the records of all service releases, linearizably. Errors:
// Unavailable, Internal (a record is damaged, or of a newer version).
func (s *Store) Releases(ctx context.Context) (Releases, error) {
	last, err := s.get(ctx, switchedKey)
	if err != nil {
		return Releases{}, err
	}
	all := Releases{Seen: last.Header.Revision}
	if len(last.Kvs) > 0 {
		all.Switched = last.Kvs[0].ModRevision
	}
	at := clientv3.WithRev(all.Seen)
	keys, err := s.get(ctx, releasesKey, clientv3.WithPrefix(), clientv3.WithKeysOnly(), at)
	if err != nil {
		return Releases{}, err
	}
	for _, kv := range keys.Kvs {
		if !isRecord(kv) {
			continue
		}
		answer, err := s.get(ctx, string(kv.Key), at)
		if err != nil {
			return Releases{}, err
		}
		for _, kv := range answer.Kvs {
			r, err := decodeRelease(kv)
			if err != nil {
				return Releases{}, err
			}
			all.All = append(all.All, r)
		}
	}
	return all, nil
}

func isRecord(kv *mvccpb.KeyValue) bool {
	_, rest, _ := strings.Cut(strings.TrimPrefix(string(kv.Key), releasesKey), "/")
	return rest == current
}

func decodeRelease(kv *mvccpb.KeyValue) (r Release, err error) {
	r.Unknown, err = decode(string(kv.Key), kv.Value, &r, releaseFields)
	r.Revision = kv.ModRevision
	return r, err
}

// AwaitReleases returns when what is on offer changed after a revision, or may
// have: a watch that says nothing for a while may be broken.
func (s *Store) AwaitReleases(ctx context.Context, seen int64) {
	ctx, cancel := context.WithTimeout(clientv3.WithRequireLeader(ctx), silence)
	defer cancel()
	<-s.client.Watch(ctx, switchedKey, clientv3.WithRev(seen+1))
}

// PutRelease stores a record that changes nothing of what is on offer, and sets
// its new Revision. Errors: Conflict (somebody wrote since), Unavailable.
func (s *Store) PutRelease(ctx context.Context, r *Release) error {
	return s.putRelease(ctx, r, nil, nil)
}

// SwitchRelease stores a record that changes what is on offer, unless any
// release was switched since switched. All replicas hear of it. Errors: Conflict
// (somebody wrote since), Unavailable.
func (s *Store) SwitchRelease(ctx context.Context, r *Release, switched int64) error {
	then := []clientv3.Op{clientv3.OpPut(switchedKey, r.Name)}
	for _, v := range r.Versions {
		if !slices.Contains(r.Removing, v.Version) {
			then = append(then, clientv3.OpDelete(closedKey(r.Name+"/"+v.Version)))
		}
	}
	if len(r.Removing) > 0 {
		lease, err := s.lease(ctx, closedLife)
		if err != nil {
			return err
		}
		for _, v := range r.Removing {
			then = append(then, clientv3.OpPut(closedKey(r.Name+"/"+v), "", clientv3.WithLease(lease)))
		}
	}
	return s.putRelease(ctx, r, unchanged(switchedKey, switched, 0), then)
}

// closedLife is longer than any replica takes to hear that a version is gone.
const closedLife = time.Hour

// closedKey is there while no instance may begin to use a version
// ("name/version"). It is what makes removing a version safe: whoever makes an
// instance of it on a replica that has not heard yet is refused by the compare.
func closedKey(ref string) string {
	name, version, _ := strings.Cut(ref, "/")
	return key(releasesKey, name, version)
}

// open compares that instances may begin to use a version.
func open(ref string) clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(closedKey(ref)), "=", 0)
}

// ReleaseUsers lists the instances that are made with one of the versions
// ("name/version") of a service release, or are on the way to it, as they are
// stored. Errors: Unavailable.
func (s *Store) ReleaseUsers(ctx context.Context, refs ...string) (ids []string, err error) {
	_, err = s.pages(ctx, instancesKey, func(kvs []*mvccpb.KeyValue) {
		for _, kv := range kvs {
			if sum, ok := decodeSummary(kv); ok && (slices.Contains(refs, sum.Release) || slices.Contains(refs, sum.Moving)) {
				ids = append(ids, sum.ID)
			}
		}
	})
	return ids, err
}

func (s *Store) putRelease(ctx context.Context, r *Release, compares []clientv3.Cmp, then []clientv3.Op) error {
	place := key(releasesKey, r.Name, current)
	r.header = header{recordVersion, 1}
	value, err := encode(place, r.Unknown, r)
	if err != nil {
		return err
	}
	put := clientv3.OpPut(place, value)
	if len(r.Versions) == 0 && r.Installing == nil {
		put = clientv3.OpDelete(place)
	}
	answer, err := s.commit(ctx, append(unchanged(place, r.Revision, 0), compares...), append(then, put), nil)
	if err != nil {
		return err
	}
	if !answer.Succeeded {
		return serviceforge.Errorf(serviceforge.Conflict, "service releases were changed by somebody else meanwhile: try again")
	}
	if r.Revision = answer.Header.Revision; put.IsDelete() {
		r.Revision = 0
	}
	return nil
}

func releaseFolder(name, version, digest string) string {
	return key(releasesKey, name, version, digest) + "/"
}

// PutReleaseFiles stores the files of a version, by their paths. Nobody looks at
// them before a record names the version. Errors: Unavailable.
func (s *Store) PutReleaseFiles(ctx context.Context, name string, v *ReleaseVersion, files map[string][]byte) error {
	folder := releaseFolder(name, v.Version, v.Digest)
	var puts []clientv3.Op
	for path, text := range files {
		put := clientv3.OpPut(key(folder, path), string(text))
		if len(puts) == maxOps || len(puts) > 0 && bytesOf(puts)+len(text) > maxBytes {
			if _, err := s.commit(ctx, nil, puts, nil); err != nil {
				return err
			}
			puts = nil
		}
		puts = append(puts, put)
	}
	_, err := s.commit(ctx, nil, puts, nil)
	return err
}

// ReleaseFiles reads the files of a version, by their paths. Errors: NotFound,
// Unavailable.
func (s *Store) ReleaseFiles(ctx context.Context, name string, v *ReleaseVersion) (map[string][]byte, error) {
	folder := releaseFolder(name, v.Version, v.Digest)
	files := map[string][]byte{}
	_, err := s.pages(ctx, folder, func(kvs []*mvccpb.KeyValue) {
		for _, kv := range kvs {
			files[unescape(strings.TrimPrefix(string(kv.Key), folder))] = kv.Value
		}
	})
	if err == nil && len(files) == 0 {
		err = serviceforge.Errorf(serviceforge.NotFound, "the files of the service release %s/%s are not in the store", name, v.Version)
	}
	return files, err
}

// CleanRelease removes files that the record of a release does not name: of an
// install that was cut off, or of versions that are not kept any more. Errors:
// Conflict (somebody wrote the record since), Unavailable.
func (s *Store) CleanRelease(ctx context.Context, r *Release) error {
	place := key(releasesKey, r.Name) + "/"
	kept := []string{place + current}
	closed := func(key string) bool { return !strings.Contains(strings.TrimPrefix(key, place), "/") }
	for _, v := range r.Versions {
		kept = append(kept, releaseFolder(r.Name, v.Version, v.Digest))
	}
	if v := r.Installing; v != nil { // its files may be on the way
		kept = append(kept, releaseFolder(r.Name, v.Version, v.Digest))
	}
	answer, err := s.get(ctx, place, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return err
	}
	var removals []clientv3.Op
	for _, kv := range answer.Kvs {
		if closed(string(kv.Key)) {
			continue
		}
		if !slices.ContainsFunc(kept, func(prefix string) bool { return strings.HasPrefix(string(kv.Key), prefix) }) {
			removals = append(removals, clientv3.OpDelete(string(kv.Key)))
		}
	}
	for some := range slices.Chunk(removals, maxOps) {
		answer, err := s.commit(ctx, unchanged(place+current, r.Revision, 0), some, nil)
		if err != nil {
			return err
		}
		if !answer.Succeeded {
			return serviceforge.Errorf(serviceforge.Conflict, "the service release %s was changed by somebody else meanwhile: try again", r.Name)
		}
	}
	return nil
}

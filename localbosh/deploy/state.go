package deploy

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/serviceforge/serviceforge/localbosh/bosherr"
	"github.com/serviceforge/serviceforge/localbosh/durable"
	"github.com/serviceforge/serviceforge/localbosh/manifest"
)

// ValidName is what the director takes as the name of a deployment.
var validName = regexp.MustCompile(`\A[-A-Za-z0-9_.]+\z`)

// ValidName says whether name may be the name of a deployment. The limit of its
// length is that of the file it becomes.
func ValidName(name string) bool { return validName.MatchString(name) && len(name) <= 200 }

// State is every deployment, in memory and on disk. It is safe for concurrent
// use.
type State struct {
	dir     string
	mu      sync.Mutex
	byName  map[string]*Deployment
	orphans []OrphanedDisk
	created int
}

// OpenState reads the deployments kept in dir.
func OpenState(dir string) (*State, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open deployments: %w", err)
	}
	s := &State{dir: dir, byName: map[string]*Deployment{}}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open deployments: %w", err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".deployment") {
			continue
		}
		d := &Deployment{}
		if err := durable.ReadJSON(filepath.Join(dir, e.Name()), d); err != nil {
			return nil, fmt.Errorf("open deployments: %w", err)
		}
		s.byName[d.Name] = d
		s.created = max(s.created, d.Created)
	}
	err = durable.ReadJSON(s.orphansFile(), &s.orphans)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open orphaned disks: %w", err)
	}
	return s, nil
}

func (s *State) file(name string) string { return filepath.Join(s.dir, name+".deployment") }

func (s *State) orphansFile() string { return filepath.Join(s.dir, "orphaned-disks") }

// List returns all deployments by name.
func (s *State) List() []Deployment {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Deployment, 0, len(s.byName))
	for _, d := range s.byName {
		out = append(out, d.clone())
	}
	slices.SortFunc(out, func(a, b Deployment) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Get returns a deployment; error 70000.
func (s *State) Get(name string) (Deployment, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, ok := s.byName[name]
	if !ok {
		return Deployment{}, notFound(name)
	}
	return d.clone(), nil
}

func notFound(name string) error {
	return bosherr.New(bosherr.DeploymentNotFound, "Deployment '%s' doesn't exist", name)
}

// Ensure creates the deployment if there is none of that name.
func (s *State) Ensure(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.byName[name]; ok {
		return nil
	}
	s.created++
	d := &Deployment{Name: name, Created: s.created, Releases: []NameVersion{}, Stemcells: []NameVersion{}}
	if err := durable.WriteJSON(s.file(name), d, durable.Power); err != nil {
		return err
	}
	s.byName[name] = d
	return nil
}

// Update changes a deployment; what fn leaves is stored before anybody sees it.
// fn must not block: it runs under the lock of all deployments.
func (s *State) Update(name string, level durable.Level, fn func(*Deployment)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, ok := s.byName[name]
	if !ok {
		return notFound(name)
	}
	next := d.clone()
	fn(&next)
	slices.SortFunc(next.Instances, byGroup)
	if err := durable.WriteJSON(s.file(name), &next, level); err != nil {
		return err
	}
	s.byName[name] = &next
	return nil
}

// UpdateInstance changes one instance of a deployment, if it is still there.
func (s *State) UpdateInstance(deployment, id string, level durable.Level, fn func(*Instance)) error {
	return s.Update(deployment, level, func(d *Deployment) {
		if i := d.Instance(id); i != nil {
			fn(i)
		}
	})
}

// Delete forgets a deployment.
func (s *State) Delete(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := os.Remove(s.file(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete deployment: %w", err)
	}
	delete(s.byName, name)
	return durable.SyncDir(s.dir)
}

// Taken returns the addresses that other deployments than name hold.
func (s *State) Taken(name string) []manifest.TakenIP {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []manifest.TakenIP
	for _, d := range s.byName {
		if d.Name == name {
			continue
		}
		for _, i := range d.Instances {
			for _, n := range i.Networks {
				out = append(out, manifest.TakenIP{IP: n.IP, Network: n.Name, Deployment: d.Name, Instance: i.Name()})
			}
		}
	}
	return out
}

// Orphans returns the orphaned disks, oldest first.
func (s *State) Orphans() []OrphanedDisk {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.orphans)
}

// SetOrphans replaces the list of orphaned disks by what fn makes of it.
func (s *State) SetOrphans(fn func([]OrphanedDisk) []OrphanedDisk) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := fn(slices.Clone(s.orphans))
	if err := durable.WriteJSON(s.orphansFile(), next, durable.Power); err != nil {
		return err
	}
	s.orphans = next
	return nil
}

// Instance returns the instance with that id, or nil; it may be changed inside
// State.Update.
func (d *Deployment) Instance(id string) *Instance {
	for i := range d.Instances {
		if d.Instances[i].ID == id {
			return &d.Instances[i]
		}
	}
	return nil
}

// Find returns the instance of a group by index or id; error 70001.
func (d *Deployment) Find(group, indexOrID string) (Instance, error) {
	for _, i := range d.Instances {
		if i.Group == group && (i.ID == indexOrID || fmt.Sprint(i.Index) == indexOrID) {
			return i, nil
		}
	}
	return Instance{}, bosherr.New(bosherr.InstanceNotFound, "'%s/%s' doesn't exist", group, indexOrID)
}

// clone copies what Update may change.
func (d *Deployment) clone() Deployment {
	c := *d
	c.Instances = make([]Instance, len(d.Instances))
	for n, i := range d.Instances {
		if i.VM != nil {
			vm := *i.VM
			i.VM = &vm
		}
		if i.Disk != nil {
			disk := *i.Disk
			i.Disk = &disk
		}
		i.Networks = slices.Clone(i.Networks)
		c.Instances[n] = i
	}
	return c
}

func byGroup(a, b Instance) int {
	if a.Group != b.Group {
		return strings.Compare(a.Group, b.Group)
	}
	return a.Index - b.Index
}

// Ignore makes deploys leave an instance alone, or not any more.
func (e *Engine) Ignore(deployment, id string, ignore bool) error {
	return e.State.UpdateInstance(deployment, id, durable.Power, func(i *Instance) { i.Ignore = ignore })
}

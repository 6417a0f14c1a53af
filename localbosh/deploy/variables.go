package deploy

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"github.com/serviceforge/serviceforge/localbosh/durable"
	"github.com/serviceforge/serviceforge/localbosh/manifest"
)

// Variables is the config server of the director: generated values by absolute
// name, on disk, readable by their owner only. It is safe for concurrent use.
type Variables struct {
	file   string
	mu     sync.Mutex
	values map[string]value
}

type value struct {
	ID    int    `json:"id"`
	Type  string `json:"type"`
	Value any    `json:"value"`
}

// OpenVariables reads the values kept in file.
func OpenVariables(file string) (*Variables, error) {
	v := &Variables{file: file, values: map[string]value{}}
	if err := durable.ReadJSON(file, &v.values); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open variables: %w", err)
	}
	return v, nil
}

// Lookup is a manifest.Lookup.
func (v *Variables) Lookup(name string) (any, bool, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	found, ok := v.values[name]
	return found.Value, ok, nil
}

// ID returns the number of a value, and whether there is one.
func (v *Variables) ID(name string) (int, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	found, ok := v.values[name]
	return found.ID, ok
}

// Generate makes the values that are missing, in order, and stores them.
func (v *Variables) Generate(director, deployment string, vars []manifest.Variable) error {
	for _, want := range vars {
		name := manifest.AbsoluteName(want.Name, director, deployment)
		if _, ok := v.ID(name); ok && want.UpdateMode != "overwrite" {
			continue
		}
		ca := func(ref string) (any, bool, error) {
			return v.Lookup(manifest.AbsoluteName(ref, director, deployment))
		}
		made, err := manifest.Generate(want, ca)
		if err != nil {
			return err
		}
		if err := v.put(name, want.Type, made); err != nil {
			return err
		}
	}
	return nil
}

func (v *Variables) put(name, kind string, made any) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	next := make(map[string]value, len(v.values)+1)
	id := 0
	for n, old := range v.values {
		next[n] = old
		id = max(id, old.ID+1)
	}
	next[name] = value{ID: id, Type: kind, Value: made}
	if err := durable.WriteJSON(v.file, next, durable.Power); err != nil {
		return err
	}
	v.values = next
	return nil
}

package deploy

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/serviceforge/serviceforge/localbosh/bosherr"
	"github.com/serviceforge/serviceforge/localbosh/durable"
)

// Config is one version of a cloud, runtime, cpi or other config.
type Config struct {
	ID      int       `json:"id"`
	Type    string    `json:"type"`
	Name    string    `json:"name"`
	Content string    `json:"content"`
	Created time.Time `json:"created"`
	// Deleted versions stay: deployments refer to them.
	Deleted bool `json:"deleted,omitempty"`
}

// Configs is every version of every config, on disk. It is safe for concurrent
// use.
type Configs struct {
	file string
	mu   sync.Mutex
	all  []Config // by id
}

// OpenConfigs reads the configs kept in file.
func OpenConfigs(file string) (*Configs, error) {
	c := &Configs{file: file}
	if err := durable.ReadJSON(file, &c.all); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open configs: %w", err)
	}
	return c, nil
}

// ConfigFilter selects configs; empty fields select all.
type ConfigFilter struct {
	Type, Name string
	// Limit is the greatest number of versions of one type and name; 0 is all.
	Limit int
}

// List returns configs by type and name, newest version first.
func (c *Configs) List(f ConfigFilter) []Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	count := map[string]int{}
	out := []Config{}
	for _, v := range slices.Backward(c.all) {
		key := v.Type + "\x00" + v.Name
		if v.Deleted || f.Type != "" && f.Type != v.Type || f.Name != "" && f.Name != v.Name ||
			f.Limit > 0 && count[key] >= f.Limit {
			continue
		}
		count[key]++
		out = append(out, v)
	}
	slices.SortStableFunc(out, func(a, b Config) int {
		return strings.Compare(a.Type+"\x00"+a.Name, b.Type+"\x00"+b.Name)
	})
	return out
}

// Latest returns the current version of every name of a type.
func (c *Configs) Latest(kind string) []Config { return c.List(ConfigFilter{Type: kind, Limit: 1}) }

// Current says whether v is the newest version of its type and name.
func (c *Configs) Current(v Config) bool {
	l := c.List(ConfigFilter{Type: v.Type, Name: v.Name, Limit: 1})
	return len(l) == 1 && l[0].ID == v.ID
}

// Get returns a version by its id, deleted ones included; error 440012.
func (c *Configs) Get(id string) (Config, error) {
	n, err := strconv.Atoi(id)
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.all, func(v Config) bool { return v.ID == n })
	if err != nil || i < 0 {
		return Config{}, bosherr.New(bosherr.ConfigNotFound, "Config %s not found", id)
	}
	return c.all[i], nil
}

// Put stores a new version, unless the newest one has the same content.
func (c *Configs) Put(kind, name, content string) (Config, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range slices.Backward(c.all) {
		if v.Type == kind && v.Name == name {
			if !v.Deleted && v.Content == content {
				return v, nil
			}
			break
		}
	}
	v := Config{ID: 1, Type: kind, Name: name, Content: content, Created: time.Now().UTC()}
	if len(c.all) > 0 {
		v.ID = c.all[len(c.all)-1].ID + 1
	}
	return v, c.store(append(slices.Clone(c.all), v))
}

// Delete deletes the versions of a type and name, or the one with id; it says
// whether there was any.
func (c *Configs) Delete(match func(Config) bool) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next, found := slices.Clone(c.all), false
	for i := range next {
		if !next[i].Deleted && match(next[i]) {
			next[i].Deleted, found = true, true
		}
	}
	if !found {
		return false, nil
	}
	return true, c.store(next)
}

func (c *Configs) store(next []Config) error {
	if err := durable.WriteJSON(c.file, next, durable.Power); err != nil {
		return err
	}
	c.all = next
	return nil
}

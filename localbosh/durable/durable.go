// Package durable replaces files so that a reader, and a restart after a
// crash, finds either the old content or the new one.
package durable

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// Level says what a write must survive.
type Level int

const (
	// Process survives the death of this process; it costs no fsync.
	Process Level = iota
	// Power survives the loss of power: file and folder are synced.
	Power
)

// WriteFile replaces path by data, readable by its owner only.
func WriteFile(path string, data []byte, level Level) error {
	dir, base := filepath.Split(path)
	tmp, err := os.CreateTemp(dir, "."+base+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = tmp.Write(data)
	if err == nil && level == Power {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
		return fmt.Errorf("write %s: %w", path, err)
	}
	if level == Power {
		return SyncDir(dir)
	}
	return nil
}

// WriteJSON replaces path by v in JSON form.
func WriteJSON(path string, v any, level Level) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return WriteFile(path, append(data, '\n'), level)
}

// ReadJSON decodes the file at path into v. A missing file is an error that
// errors.Is(err, fs.ErrNotExist) tells.
func ReadJSON(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

// SyncDir makes the names in dir (new, renamed, removed files) survive the
// loss of power.
func SyncDir(dir string) error {
	if dir == "" {
		dir = "."
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync folder %s: %w", dir, err)
	}
	return nil
}

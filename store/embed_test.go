package store_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/store"
)

// TestEtcdThatCannotGoOnSaysWhy has a folder whose path leaves no room for the
// names of etcd's log files: etcd panics over that, as over a full disk.
func TestEtcdThatCannotGoOnSaysWhy(t *testing.T) {
	const longest = 4095 // bytes of a path, on Linux
	dir := t.TempDir()
	for len(dir) < longest-300 {
		dir = filepath.Join(dir, strings.Repeat("d", 200))
	}
	dir = filepath.Join(dir, strings.Repeat("d", longest-len("/data/member/snap/0000000000000000.db")-len(dir)-1))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	etcd, err := store.StartEmbedded(dir, "")
	if err == nil {
		etcd.Close()
	}
	if serviceforge.CodeOf(err) != serviceforge.Unavailable || !strings.Contains(err.Error(), "cannot go on: failed to create WAL: ") || !strings.Contains(err.Error(), "file name too long") {
		t.Errorf("%v", err)
	}
}

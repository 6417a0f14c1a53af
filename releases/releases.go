// Package releases loads service releases, and renders what they say of an
// instance: its manifest, its secrets, and how its users get at it.
package releases

import (
	"embed"
	"io/fs"
)

//go:embed all:etcd
var embedded embed.FS

// Etcd returns the files of the service release that comes with ServiceForge.
func Etcd() fs.FS {
	files, err := fs.Sub(embedded, "etcd")
	if err != nil {
		panic(err) // "etcd" is a valid path
	}
	return files
}

// BOSHRelease is one BOSH release that a service release needs.
type BOSHRelease struct {
	Name, Version string
	File          string // path of its tarball in the service release; empty = must be on the director
	Source        string // folder of its source, where it is built by Package or BuildBOSH; may be empty
	URL, SHA256   string // where a director can fetch it; may be empty
}

package localbosh

import (
	"context"
	"errors"
	"fmt"

	"github.com/serviceforge/serviceforge/localbosh/blobs"
)

// defaultCloudConfig has one network over a part of 127.0.0.0/8; sizes mean
// nothing on one machine, but manifests name them.
const defaultCloudConfig = `azs:
- name: z1
- name: z2
- name: z3
vm_types:
- name: small
- name: medium
- name: large
disk_types:
- {name: small, disk_size: 1024}
- {name: medium, disk_size: 10240}
- {name: large, disk_size: 102400}
networks:
- name: default
  type: manual
  subnets:
  - range: %s
    gateway: %s
    azs: [z1, z2, z3]
    dns: []
compilation:
  workers: 4
  reuse_compilation_vms: true
  az: z1
  vm_type: small
  network: default
`

var errNotStarted = errors.New("localbosh: the director does not run")

// EnsureCloudConfig stores the default cloud config if the director has none:
// availability zones z1 to z3 on one manual network "default" over
// Options.Network, vm_types and disk_types small, medium and large.
func (d *Director) EnsureCloudConfig(context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.engine == nil || d.stopped {
		return errNotStarted
	}
	if len(d.engine.Configs.Latest("cloud")) > 0 {
		return nil
	}
	text := fmt.Sprintf(defaultCloudConfig, d.network, d.network.Addr().Next())
	_, err := d.engine.Configs.Put("cloud", "default", text)
	return err
}

// EnsureRelease registers the release tarball at path, unless the director has
// its name and version with the same content. References maps
// "package/path/of/file" to a file of this machine which takes the place of that
// source file by a hard link, so that big binaries are neither packed nor copied.
func (d *Director) EnsureRelease(ctx context.Context, path string, references map[string]string) error {
	d.mu.Lock()
	store, running := d.blobs, d.engine != nil && !d.stopped
	d.mu.Unlock()
	if !running {
		return errNotStarted
	}
	_, err := store.UploadReleaseFile(ctx, path, blobs.UploadOptions{References: references})
	return err
}

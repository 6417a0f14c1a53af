package vm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Paths inside of a sandbox.
const (
	vcapDir     = "/var/vcap"
	programPath = "/.vm/program"
	// vrootPath is the view of processes that run as vcap in single-map mode:
	// the same tree, except that its passwd says vcap = 1000.
	vrootPath = "/.vm/vroot"
)

// view says what a sandbox sees. Sources are host paths.
type view struct {
	Root     string `json:"root"` // an empty folder, the new root is mounted on it
	Vcap     string `json:"vcap"` // becomes /var/vcap
	Tmp      string `json:"tmp"`  // becomes /tmp
	Etc      string `json:"etc"`  // holds passwd, group, hosts [, passwd.vcap, group.vcap]
	Program  string `json:"program"`
	Hostname string `json:"hostname"`
	// Masks are folders that must not be seen.
	Masks []string `json:"masks"`
	Binds []bind   `json:"binds"`
	// SingleMap: a user namespace in which only uid 0 exists.
	SingleMap bool `json:"single_map"`
}

// bind is one folder or file of the host that is seen in the sandbox.
type bind struct {
	Source   string `json:"source"`
	Target   string `json:"target"`
	Writable bool   `json:"writable"`
}

// enter turns the calling process, which is alone in new namespaces, into one
// that sees the view and nothing else of the host.
func (v view) enter() error {
	// A slave gets the host's unmounts, so that no VM keeps a disk busy, and
	// gives nothing back.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("make / a slave: %w", err)
	}
	if err := unix.Mount("tmpfs", v.Root, "tmpfs", 0, "mode=0755,size=16m"); err != nil {
		return fmt.Errorf("mount a tmpfs: %w", err)
	}
	// Unbindable, so that binding the folder that holds v.Root does not bind it again.
	if err := unix.Mount("", v.Root, "", unix.MS_UNBINDABLE, ""); err != nil {
		return fmt.Errorf("make the new root unbindable: %w", err)
	}
	for _, step := range []func() error{v.system, v.mask, v.own, v.identity, v.vroot, v.pivot} {
		if err := step(); err != nil {
			return err
		}
	}
	if v.Hostname != "" {
		return unix.Sethostname([]byte(v.Hostname[:min(len(v.Hostname), 64)]))
	}
	return nil
}

// at is the place of an inner path while the new root is being built.
func (v view) at(path string) string { return filepath.Join(v.Root, path) }

// system shows the host's system folders, read-only.
func (v view) system() error {
	skip := []string{"/proc", "/dev", "/tmp", "/var", "/run", "/lost+found"}
	for _, m := range v.Masks {
		skip = append(skip, filepath.Clean(m))
	}
	if err := v.mirror("/", skip); err != nil {
		return err
	}
	for _, d := range []string{"/var", "/run"} {
		if fi, err := os.Lstat(d); err == nil && fi.Mode()&os.ModeSymlink != 0 {
			return fmt.Errorf("%s is a symbolic link on this machine", d)
		}
		if err := os.Mkdir(v.at(d), 0o755); err != nil {
			return err
		}
		if err := v.mirror(d, append(skip, "/var/vcap", "/var/tmp", "/run/user", "/run/lock")); err != nil {
			return err
		}
	}
	if err := os.Symlink("/tmp", v.at("/var/tmp")); err != nil {
		return err
	}
	if err := sticky(v.at("/run/lock")); err != nil {
		return err
	}
	return v.devices()
}

// devices shows /dev with a /dev/shm of its own, and mounts the namespace's /proc.
func (v view) devices() error {
	if err := os.Mkdir(v.at("/dev"), 0o755); err != nil {
		return err
	}
	if err := rbind("/dev", v.at("/dev")); err != nil {
		return err
	}
	if fi, err := os.Lstat(v.at("/dev/shm")); err == nil && fi.IsDir() {
		if err := unix.Mount("tmpfs", v.at("/dev/shm"), "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777"); err != nil {
			return fmt.Errorf("mount /dev/shm: %w", err)
		}
	}
	if err := os.Mkdir(v.at("/proc"), 0o555); err != nil {
		return err
	}
	flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC)
	if err := unix.Mount("proc", v.at("/proc"), "proc", flags, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	return nil
}

// mirror repeats one level of a host folder on the tmpfs: folders and files are
// bound read-only, links are made anew; sockets and what may not be bound are
// left out.
func (v view) mirror(dir string, skip []string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		source := filepath.Join(dir, e.Name())
		if slices.Contains(skip, source) {
			continue
		}
		target := v.at(source)
		switch {
		case e.Type()&os.ModeSymlink != 0:
			link, err := os.Readlink(source)
			if err == nil {
				err = os.Symlink(link, target)
			}
			if err != nil {
				return err
			}
			continue
		case e.IsDir():
			err = os.Mkdir(target, 0o755)
		case e.Type().IsRegular():
			err = touch(target)
		default:
			continue
		}
		if err != nil {
			return err
		}
		if err := rbind(source, target); err != nil {
			continue // a stale or foreign mount: stays an empty entry
		}
		if err := readOnly(target); err != nil {
			return err
		}
	}
	return nil
}

// mask hides the folders that jobs must not see. Those directly below / were
// never bound; they are made as empty folders.
func (v view) mask() error {
	for _, m := range v.Masks {
		target := v.at(m)
		if filepath.Dir(filepath.Clean(m)) == "/" {
			if err := os.MkdirAll(target, 0o755); err != nil {
				return err
			}
			continue
		}
		if fi, err := os.Lstat(target); err != nil || !fi.IsDir() {
			continue
		}
		if err := unix.Mount("tmpfs", target, "tmpfs", unix.MS_RDONLY, "mode=0555,size=4k"); err != nil {
			return fmt.Errorf("mask %s: %w", m, err)
		}
	}
	home := v.at("/home/vcap")
	if err := os.MkdirAll(home, 0o755); err != nil {
		return err
	}
	if v.SingleMap {
		return nil
	}
	return os.Chown(home, vcapUID, vcapUID)
}

// own adds what belongs to this sandbox alone.
func (v view) own() error {
	binds := []bind{
		{Source: v.Vcap, Target: vcapDir, Writable: true},
		{Source: v.Tmp, Target: "/tmp", Writable: true},
		{Source: v.Program, Target: programPath},
	}
	for _, b := range append(binds, v.Binds...) {
		fi, err := os.Stat(b.Source)
		if err != nil {
			return err
		}
		target := v.at(b.Target)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if fi.IsDir() {
			err = os.MkdirAll(target, 0o755)
		} else {
			err = touch(target)
		}
		if err != nil {
			return err
		}
		if err := rbind(b.Source, target); err != nil {
			return err
		}
		if b.Writable {
			continue
		}
		if err := readOnly(target); err != nil {
			return err
		}
	}
	return nil
}

// identity puts the sandbox's own passwd, group and hosts over the host's.
func (v view) identity() error {
	for _, name := range []string{"passwd", "group", "hosts"} {
		target := v.at("/etc/" + name)
		if fi, err := os.Lstat(target); err != nil || !fi.Mode().IsRegular() {
			continue
		}
		if err := rbind(filepath.Join(v.Etc, name), target); err != nil {
			return err
		}
	}
	return nil
}

// vroot builds the second view for processes of a nested user namespace. They
// are put there with chroot(2), which needs no program in between.
func (v view) vroot() error {
	if err := unix.Mount("", v.Root, "", unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the new root private: %w", err)
	}
	if !v.SingleMap {
		return nil
	}
	vroot := v.at(vrootPath)
	if err := os.Mkdir(vroot, 0o755); err != nil {
		return err
	}
	if err := rbind(v.Root, vroot); err != nil {
		return err
	}
	for _, name := range []string{"passwd", "group"} {
		if err := rbind(filepath.Join(v.Etc, name+".vcap"), filepath.Join(vroot, "etc", name)); err != nil {
			return err
		}
	}
	return nil
}

// pivot makes the new root the root and lets go of the old one.
func (v view) pivot() error {
	if err := os.Chdir(v.Root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount the old root: %w", err)
	}
	return os.Chdir("/")
}

// rbind binds with everything below: in a user namespace a bind that would
// uncover what a mount hides is refused.
func rbind(source, target string) error {
	if err := unix.Mount(source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind %s: %w", source, err)
	}
	return nil
}

// readOnly makes a bind and all below it read-only. Kernels before 5.12 can only
// do the bind itself; the remount must then repeat the flags of the source.
func readOnly(target string) error {
	err := unix.MountSetattr(unix.AT_FDCWD, target, unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
	if errors.Is(err, unix.ENOSYS) {
		var st unix.Statfs_t
		if err := unix.Statfs(target, &st); err != nil {
			return err
		}
		keep := uintptr(st.Flags) & (unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME | unix.MS_RELATIME)
		err = unix.Mount("", target, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|keep, "")
	}
	if err != nil {
		return fmt.Errorf("make %s read-only: %w", strings.TrimPrefix(target, "/"), err)
	}
	return nil
}

func touch(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

// sticky makes a folder that everybody may write to, whatever the umask.
func sticky(path string) error {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	return os.Chmod(path, 0o777|os.ModeSticky)
}

package vm

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// vcapUID is vcap's id when the director is root: outside of the ranges that
// logins get. nestedUID is vcap's id in single-map mode.
const (
	vcapUID   = 64200
	nestedUID = 1000
)

// singleMap tells whether sandboxes need a user namespace: when this process is
// not root, or is a root that may not mount or change owners.
func singleMap() bool {
	if os.Geteuid() != 0 {
		return true
	}
	need := uint64(1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID | 1<<unix.CAP_CHOWN | 1<<unix.CAP_SYS_CHROOT)
	if effectiveCaps()&need != need {
		return true
	}
	return !idMapped("/proc/self/uid_map") || !idMapped("/proc/self/gid_map")
}

func effectiveCaps() (caps uint64) {
	b, _ := os.ReadFile("/proc/self/status")
	if _, after, ok := strings.Cut(string(b), "\nCapEff:"); ok {
		fmt.Sscanf(after, "%x", &caps)
	}
	return caps
}

// idMapped tells whether vcap's id exists in this user namespace.
func idMapped(file string) bool {
	b, _ := os.ReadFile(file)
	for line := range strings.Lines(string(b)) {
		var inside, outside, size int64
		if n, _ := fmt.Sscan(line, &inside, &outside, &size); n == 3 && inside <= vcapUID && vcapUID < inside+size {
			return true
		}
	}
	return false
}

// namespaces is how a sandbox is cloned.
func namespaces(single bool) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{
		Setsid:     true,
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWPID,
	}
	if single {
		a.Cloneflags |= unix.CLONE_NEWUSER
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	return a
}

// asVcap changes how a process inside of a sandbox is cloned, so that it runs
// as vcap.
func asVcap(a *syscall.SysProcAttr, single bool) {
	if !single {
		a.Credential = &syscall.Credential{Uid: vcapUID, Gid: vcapUID}
		return
	}
	a.Cloneflags |= unix.CLONE_NEWUSER
	a.UidMappings = []syscall.SysProcIDMap{{ContainerID: nestedUID, HostID: 0, Size: 1}}
	a.GidMappings = []syscall.SysProcIDMap{{ContainerID: nestedUID, HostID: 0, Size: 1}}
	a.Chroot = vrootPath
}

// writeEtc makes the passwd, group and hosts files of a sandbox out of the
// host's. In single-map mode vcap is 0, so that "root" scripts can chown to it,
// and 1000 in the files for processes that run as vcap.
func writeEtc(dir string, single bool) error {
	uid := vcapUID
	if single {
		uid = 0
		if err := writeIDs(dir, ".vcap", nestedUID); err != nil {
			return err
		}
	}
	if err := writeIDs(dir, "", uid); err != nil {
		return err
	}
	hosts, err := os.ReadFile("/etc/hosts")
	if err != nil {
		hosts = []byte("127.0.0.1 localhost\n")
	}
	return os.WriteFile(filepath.Join(dir, "hosts"), hosts, 0o644)
}

func writeIDs(dir, suffix string, id int) error {
	passwd := idLines("/etc/passwd", id) + fmt.Sprintf("vcap:x:%d:%d:BOSH System User:/home/vcap:/bin/bash\n", id, id)
	if err := os.WriteFile(filepath.Join(dir, "passwd"+suffix), []byte(passwd), 0o644); err != nil {
		return err
	}
	group := idLines("/etc/group", id) + fmt.Sprintf("vcap:x:%d:\n", id)
	return os.WriteFile(filepath.Join(dir, "group"+suffix), []byte(group), 0o644)
}

// idLines answers the lines of a passwd or group file without those of vcap and
// of its id; root keeps its line.
func idLines(file string, id int) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return "root:x:0:0:root:/root:/bin/bash\n"
	}
	var out strings.Builder
	for line := range strings.Lines(string(b)) {
		f := strings.Split(line, ":")
		if len(f) < 3 || f[0] == "vcap" || id != 0 && f[2] == fmt.Sprint(id) {
			continue
		}
		out.WriteString(strings.TrimRight(line, "\n") + "\n")
	}
	return out.String()
}

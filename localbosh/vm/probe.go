package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Probe runs `true` in a sandbox as VMs use it. Its error is one line that says
// what the kernel forbids and what to do about it.
func (h *Host) Probe(ctx context.Context) error {
	_, err := h.once(ctx, "probe", once{Argv: []string{"true"}, Dir: "/", Env: []string{"PATH=/usr/bin:/bin"}}, nil)
	if err != nil {
		return fmt.Errorf("VMs cannot run on this machine: %w", err)
	}
	return nil
}

// advised is an error with the way out of it.
type advised struct {
	cause  error
	advice string
}

func (e *advised) Error() string { return e.cause.Error() + ": " + e.advice }
func (e *advised) Unwrap() error { return e.cause }

// explain adds to an error of a sandbox what to do about it. Errors of a child
// come as text.
func explain(err error) error {
	text := err.Error()
	is := func(e unix.Errno) bool { return errors.Is(err, e) || strings.Contains(text, e.Error()) }
	forbidden := is(unix.EPERM) || is(unix.EACCES)
	switch {
	case is(unix.ENOSPC):
		return &advised{err, "user namespaces are switched off or used up; as root run `sysctl user.max_user_namespaces=15000`, or run this program as root"}
	case forbidden && sysctl("kernel/apparmor_restrict_unprivileged_userns") == "1":
		return &advised{err, "AppArmor restricts user namespaces; as root run `sysctl kernel.apparmor_restrict_unprivileged_userns=0`, or run this program as root"}
	case forbidden && sysctl("kernel/unprivileged_userns_clone") == "0":
		return &advised{err, "the kernel keeps user namespaces for root; as root run `sysctl kernel.unprivileged_userns_clone=1`, or run this program as root"}
	case forbidden && strings.Contains(text, "mount /proc"):
		return &advised{err, "parts of /proc are masked, as in a container; run the container with `--security-opt systempaths=unconfined`, or this program on the machine itself"}
	case forbidden:
		return &advised{err, "the kernel forbids namespaces or mounts, as in a container; run the container with `--privileged`, or this program on the machine itself"}
	case is(unix.ENOSYS) || is(unix.EINVAL):
		return &advised{err, "the kernel lacks namespaces; Linux 5.10 or newer with user namespaces is needed"}
	}
	return err
}

func sysctl(name string) string {
	b, _ := os.ReadFile("/proc/sys/" + name)
	return strings.TrimSpace(string(b))
}

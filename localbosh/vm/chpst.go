package vm

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ChpstMain is the entry point of `Program __chpst …`, a stand-in for runit's
// chpst inside of VMs: -u and -U choose the user, options about limits are
// accepted and not applied. It answers the exit code.
func ChpstMain(args []string) int {
	user, argv, err := parseChpst(args)
	if err == nil {
		var code int
		if code, err = chpst(user, argv); err == nil {
			return code
		}
	}
	fmt.Fprintln(os.Stderr, "chpst:", err)
	return 111
}

// parseChpst answers the user without group, and the program.
func parseChpst(args []string) (user string, argv []string, err error) {
	for len(args) > 0 && strings.HasPrefix(args[0], "-") && args[0] != "--" {
		flag, value := args[0], ""
		args = args[1:]
		if len(flag) < 2 {
			return "", nil, errors.New("unknown option -")
		}
		if strings.ContainsRune("uUbenmdopfcrt/C", rune(flag[1])) {
			if value = flag[2:]; value == "" {
				if len(args) == 0 {
					return "", nil, fmt.Errorf("option %s needs a value", flag)
				}
				value, args = args[0], args[1:]
			}
		}
		if flag[1] == 'u' {
			user, _, _ = strings.Cut(strings.TrimPrefix(value, ":"), ":")
		}
	}
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		return "", nil, errors.New("no program is given")
	}
	return user, args, nil
}

// chpst becomes the program, or runs it as a child in a nested user namespace:
// a Go process has threads and cannot enter one itself.
func chpst(user string, argv []string) (int, error) {
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return 0, err
	}
	uid, err := lookupUser(user)
	if err != nil {
		return 0, err
	}
	if user == "vcap" && uid == 0 && os.Getuid() == 0 {
		return chpstNested(path, argv)
	}
	if uid >= 0 && uid != os.Getuid() {
		if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(uid), syscall.Setuid(uid)); err != nil {
			return 0, err
		}
	}
	return 0, syscall.Exec(path, argv, os.Environ())
}

// chpstNested stays as the parent, whose pid the caller knows: it passes
// signals on and ends as the child does.
func chpstNested(path string, argv []string) (int, error) {
	runtime.LockOSThread() // the kernel kills the child when this thread ends
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM, unix.SIGCONT)
	cmd := exec.Command(path)
	cmd.Args = argv
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	asVcap(cmd.SysProcAttr, true)
	wd, err := os.Getwd()
	if err != nil {
		return 0, err
	}
	cmd.Dir = wd // the chroot moves to its root
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	go func() {
		for sig := range signals {
			cmd.Process.Signal(sig)
		}
	}()
	err = cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 0, err
	}
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal()), nil
	}
	return cmd.ProcessState.ExitCode(), nil
}

// lookupUser answers the uid that passwd knows; -1 for no user.
func lookupUser(name string) (int, error) {
	if name == "" {
		return -1, nil
	}
	if n, err := strconv.Atoi(name); err == nil {
		return n, nil
	}
	b, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Split(line, ":"); len(f) > 2 && f[0] == name {
			return strconv.Atoi(f[2])
		}
	}
	return 0, fmt.Errorf("unknown user %s", name)
}

package render

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"
)

// readyLine is what a child says once Ruby waits for a deployment.
const readyLine = "ready\n"

// ErbMain is the child process `Program __erb CACHEDIR` ("" for no cache): it prepares Ruby, says "ready", renders
// the one deployment that comes on stdin, writes the answers to stdout and returns the exit code. It ends when its
// stdin is closed, thus with its parent.
func ErbMain(args []string) int {
	if len(args) != 1 {
		fmt.Fprintln(os.Stderr, "__erb is started by the local director: __erb CACHEDIR")
		return 2
	}
	go endWithParent()
	if err := serveOne(context.Background(), args[0], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// endWithParent waits until nobody can write to stdin any more. It reads nothing.
func endWithParent() {
	for {
		set := []unix.PollFd{{Fd: 0}}
		if _, err := unix.Poll(set, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
		if set[0].Revents != 0 {
			os.Exit(1)
		}
	}
}

func serveOne(ctx context.Context, cacheDir string, in io.Reader, out io.Writer) error {
	if cacheDir != "" {
		if err := fillCache(ctx, cacheDir); err != nil {
			fmt.Fprintln(os.Stderr, "cannot keep compiled Ruby, rendering will be slow:", err)
			cacheDir = ""
		}
	}
	compiled, err := compileRuby(ctx, cacheDir)
	if err != nil {
		return fmt.Errorf("compile Ruby: %w", err)
	}
	ruby, err := compiled.boot(ctx)
	if err != nil {
		return fmt.Errorf("start Ruby: %w", err)
	}
	debug.FreeOSMemory()
	if _, err := io.WriteString(out, readyLine); err != nil {
		return err
	}
	var size [8]byte
	if _, err := io.ReadFull(in, size[:]); err != nil {
		return nil // not needed any more
	}
	ruby.stdin = io.LimitReader(in, int64(binary.BigEndian.Uint64(size[:])))
	if err := ruby.eval(ctx, "ServiceForgeRender.run"); err != nil {
		return err
	}
	_, err = out.Write(ruby.stdout.Bytes())
	return err
}

// fillCache compiles Ruby into cacheDir unless that was done before, one process at a time. Compiling takes
// several hundred MB which Go would not give back, so afterwards the process begins anew.
func fillCache(ctx context.Context, cacheDir string) error {
	if err := os.MkdirAll(cacheDir, 0o700); err != nil {
		return err
	}
	sum := sha256.Sum256(rubyWasm)
	marker := filepath.Join(cacheDir, "ruby-"+hex.EncodeToString(sum[:8])+"-"+wazeroVersion()+".compiled")
	if _, err := os.Stat(marker); err == nil {
		return nil
	}
	lock, err := os.OpenFile(filepath.Join(cacheDir, "compile.lock"), os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return err
	}
	if _, err := os.Stat(marker); err == nil {
		return nil
	}
	if _, err := compileRuby(ctx, cacheDir); err != nil {
		return err
	}
	if err := os.WriteFile(marker, nil, 0o600); err != nil {
		return err
	}
	if strings.HasPrefix(os.Args[0], "/") {
		_ = unix.Exec(os.Args[0], os.Args, os.Environ())
	}
	return nil // then with more memory
}

// wazeroVersion names the compiler in the marker; another one has other code.
func wazeroVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path == "github.com/tetratelabs/wazero" {
				return module.Version
			}
		}
	}
	return "dev"
}

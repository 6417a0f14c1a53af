package vm

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// scriptPath is the PATH of scripts, as the agent sets it, and the stand-in for
// chpst.
const scriptPath = "PATH=/usr/sbin:/usr/bin:/sbin:/bin:" + vcapDir + "/bosh/bin"

// Headers of an answer to exec. Its body is stdout, then stderr.
const (
	exitCodeHeader     = "X-Exit-Code"
	stdoutLengthHeader = "X-Stdout-Length"
)

// serveExec runs a program as root until it ends or the caller goes away. A
// program that does not exist is 404.
//
// Output goes to files, not to pipes: a daemon that a script leaves behind then
// holds nobody up.
func (s *supervisor) serveExec(w http.ResponseWriter, r *http.Request) {
	var e Exec
	if !readBody(w, r, &e) {
		return
	}
	if len(e.Argv) == 0 {
		http.Error(w, "argv is empty", http.StatusBadRequest)
		return
	}
	if filepath.IsAbs(e.Argv[0]) {
		if _, err := os.Stat(e.Argv[0]); errors.Is(err, os.ErrNotExist) {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
	}
	var out [2]*os.File
	var from [2]int64
	for i, suffix := range []string{".stdout.log", ".stderr.log"} {
		f, err := s.capture(e.Log, suffix)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer f.Close()
		out[i] = f
		from[i], _ = f.Seek(0, io.SeekEnd)
	}
	code, err := s.runToEnd(r, e, out[0], out[1])
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	var size [2]int64
	for i, f := range out {
		end, _ := f.Seek(0, io.SeekEnd)
		from[i] = min(from[i], end)
		size[i] = end - from[i]
	}
	w.Header().Set(exitCodeHeader, strconv.Itoa(code))
	w.Header().Set(stdoutLengthHeader, strconv.FormatInt(size[0], 10))
	w.Header().Set("Content-Length", strconv.FormatInt(size[0]+size[1], 10))
	for i, f := range out {
		io.Copy(w, io.NewSectionReader(f, from[i], size[i]))
	}
}

// runToEnd answers the exit code; 126 when the program cannot be executed.
func (s *supervisor) runToEnd(r *http.Request, e Exec, stdout, stderr *os.File) (int, error) {
	dir := e.Dir
	if dir == "" {
		dir = "/"
	}
	env := append([]string{scriptPath}, s.config.Env...)
	c, err := s.children.start(launch{argv: e.Argv, env: append(env, e.Env...), dir: dir, stdout: stdout, stderr: stderr})
	if err != nil {
		stderr.WriteString(err.Error() + "\n")
		return 126, nil
	}
	select {
	case <-c.done:
		return c.code(), nil
	case <-r.Context().Done():
		killFamily(c.pid)
		<-c.done
		killOrphans(c.pid)
		return 0, r.Context().Err()
	}
}

// capture opens what takes a program's output: the log file, or a file without
// a name.
func (s *supervisor) capture(log, suffix string) (*os.File, error) {
	if log != "" {
		if err := os.MkdirAll(filepath.Dir(log), 0o750); err != nil {
			return nil, err
		}
		return s.openLog(log+suffix, 0)
	}
	f, err := os.CreateTemp(filepath.Join(vcapDir, "data/tmp"), "output-")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	// two writers (the program, a child of it) must not overwrite each other
	_, err = unix.FcntlInt(f.Fd(), unix.F_SETFL, unix.O_APPEND)
	return f, err
}

package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// process is one that carries the state folder in its environment.
type process struct {
	pid  int
	name string // base name of its program
}

// processesOf lists the processes that were started for the state folder.
func processesOf(state string) []process {
	mark := []byte("SERVICEFORGE_STATE=" + state)
	entries, _ := os.ReadDir("/proc")
	var found []process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		environment, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		if !bytes.HasPrefix(environment, mark) && !bytes.Contains(environment, append([]byte{0}, mark...)) {
			continue
		}
		command, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		program, _, _ := bytes.Cut(command, []byte{0})
		found = append(found, process{pid, filepath.Base(string(program))})
	}
	return found
}

func etcdsOf(state string) []int {
	var pids []int
	for _, p := range processesOf(state) {
		if p.name == "etcd" {
			pids = append(pids, p.pid)
		}
	}
	return pids
}

// crash kills one server: the data is still served, and the server comes back.
func (s *session) crash(ctx context.Context) (string, error) {
	before := etcdsOf(s.State)
	if len(before) != servers {
		return "", fmt.Errorf("%d etcd processes run, not %d", len(before), servers)
	}
	victim := before[0]
	if err := syscall.Kill(victim, syscall.SIGKILL); err != nil {
		return "", fmt.Errorf("killing process %d: %w", victim, err)
	}
	if err := s.binding.readUntil(ctx); err != nil {
		return "", err
	}
	s.progress(fmt.Sprintf("process %d was killed; the data is still served", victim))
	for {
		after := etcdsOf(s.State)
		if len(after) == servers && !slices.Contains(after, victim) && s.allServe() {
			break
		}
		if err := pause(ctx); err != nil {
			return "", errors.New("the killed process does not come back")
		}
	}
	return fmt.Sprintf("killed process %d: the data was served on, and the process came back", victim), nil
}

// allServe says whether every server takes connections.
func (s *session) allServe() bool {
	for _, host := range s.binding.Hosts {
		if !listens(host, s.binding.Port) {
			return false
		}
	}
	return true
}

func listens(host string, port int) bool {
	connection, err := net.DialTimeout("tcp", net.JoinHostPort(host, strconv.Itoa(port)), attempt)
	if err != nil {
		return false
	}
	_ = connection.Close()
	return true
}

// nothingLeft looks for what a deleted instance could leave behind.
func (s *session) nothingLeft(context.Context) (string, error) {
	if pids := etcdsOf(s.State); len(pids) > 0 {
		return "", fmt.Errorf("etcd processes %v still run", pids)
	}
	for _, host := range s.binding.Hosts {
		if listens(host, s.binding.Port) {
			return "", fmt.Errorf("%s:%d still answers", host, s.binding.Port)
		}
	}
	for _, dir := range []string{"vms", "disks"} {
		left, err := os.ReadDir(filepath.Join(s.State, "bosh", dir))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
		if len(left) > 0 {
			return "", fmt.Errorf("%d folders are left in %s", len(left), dir)
		}
	}
	return "no process, no address, no folder", nil
}

// Gone makes sure that nothing of a removed state folder is left on the machine.
func Gone(state string) error {
	if left := processesOf(state); len(left) > 0 {
		return fmt.Errorf("%d processes of %s still run: %v", len(left), state, left)
	}
	if _, err := os.Lstat(state); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("the folder %s is still there", state)
	}
	return nil
}

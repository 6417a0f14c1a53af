// Package services_test runs the lifecycles of the services in releases/, with
// their real servers: one file a service, on the harness in this one.
package services_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/serviceforge/serviceforge/spec"
)

// service is an offering of a running dev.
type service struct {
	*spec.Dev
	t      *testing.T
	id     string            // of the offering
	plans  map[string]string // name: id
	server string            // what a process of it is called
}

// offer starts dev as the account, with the service release in a folder
// installed. network is its part of 127.0.0.0/8, as of spec.StartDev.
func offer(t *testing.T, a spec.Account, network, folder, server string) *service {
	t.Helper()
	s := &service{Dev: spec.StartDev(t, a, network), t: t, plans: map[string]string{}, server: server}
	if out, errs, code := s.CLI("install", folder); code != 0 {
		t.Fatalf("install (%d): %s%s", code, out, errs)
	}
	var catalog struct {
		Services []struct {
			ID, Name string
			Plans    []struct{ ID, Name string }
		}
	}
	if status := s.Call("GET", "/v2/catalog", nil, &catalog); status != http.StatusOK {
		t.Fatalf("catalog: %d", status)
	}
	for _, offered := range catalog.Services {
		if !strings.HasPrefix(offered.Name, filepath.Base(folder)+"-") {
			continue
		}
		s.id = offered.ID
		for _, p := range offered.Plans {
			s.plans[p.Name] = p.ID
		}
	}
	if s.id == "" {
		t.Fatalf("%s is not offered: %+v", folder, catalog)
	}
	return s
}

// release is the folder of a service release of this repository.
func release(t *testing.T, name string) string {
	t.Helper()
	folder, err := filepath.Abs(filepath.Join("../../releases", name))
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

// copyRelease copies a release of this repository for everybody to read, with
// changes to its service.yml.
func copyRelease(t *testing.T, name, to string, changes ...string) {
	t.Helper()
	if err := errors.Join(os.Chmod(filepath.Dir(to), 0o755), os.CopyFS(to, os.DirFS(release(t, name)))); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(to, "service.yml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.NewReplacer(changes...).Replace(string(text))), 0o644); err != nil {
		t.Fatal(err)
	}
}

// change asks for one and returns its operation. In want it is 202.
func (s *service) change(method, id string, body map[string]any) (status int, operation, description string) {
	s.t.Helper()
	if body == nil {
		body = map[string]any{}
	}
	body["service_id"] = s.id
	var answer struct{ Operation, Description string }
	status = s.Call(method, "/v2/service_instances/"+url.PathEscape(id)+"?accepts_incomplete=true", body, &answer)
	return status, answer.Operation, answer.Description
}

// refuses asks for parameters that are wrong, one after the other.
func (s *service) refuses(id string, wrong ...map[string]any) {
	s.t.Helper()
	for _, parameters := range wrong {
		status, _, description := s.change("PATCH", id, map[string]any{"parameters": parameters})
		if status != http.StatusBadRequest || !strings.Contains(description, "parameter ") {
			s.t.Errorf("%v: %d %s", parameters, status, description)
		}
	}
}

// create begins an instance; Await its operation.
func (s *service) create(id, plan string, parameters map[string]any) (operation string) {
	s.t.Helper()
	status, operation, description := s.change("PUT", id, map[string]any{
		"plan_id": s.plans[plan], "organization_guid": "o", "space_guid": "s", "parameters": parameters})
	if status != http.StatusAccepted {
		s.t.Fatalf("create %s: %d %s", id, status, description)
	}
	return operation
}

// update changes an instance's plan ("" = not) and parameters to the end.
func (s *service) update(id, plan string, parameters map[string]any) {
	s.t.Helper()
	body := map[string]any{}
	if plan != "" {
		body["plan_id"] = s.plans[plan]
	}
	if parameters != nil {
		body["parameters"] = parameters
	}
	status, operation, description := s.change("PATCH", id, body)
	if status != http.StatusAccepted {
		s.t.Fatalf("update %s: %d %s", id, status, description)
	}
	s.Await(id, operation)
}

// bind makes a binding and decodes its credentials.
func (s *service) bind(id, plan, binding string, credentials any) {
	s.t.Helper()
	answer := struct {
		Credentials any
		Description string
	}{Credentials: credentials}
	status := s.Call("PUT", "/v2/service_instances/"+id+"/service_bindings/"+binding, map[string]any{"service_id": s.id, "plan_id": s.plans[plan]}, &answer)
	if status != http.StatusCreated {
		s.t.Fatalf("bind %s: %d %s", id, status, answer.Description)
	}
}

func (s *service) unbind(id, plan, binding string) {
	s.t.Helper()
	path := "/v2/service_instances/" + id + "/service_bindings/" + binding + "?service_id=" + s.id + "&plan_id=" + s.plans[plan]
	if status := s.Call("DELETE", path, nil, nil); status != http.StatusOK {
		s.t.Fatalf("unbind %s: %d", binding, status)
	}
}

// remove begins the end of an instance; Await its operation.
func (s *service) remove(id, plan string) (operation string) {
	s.t.Helper()
	var answer struct{ Operation string }
	status := s.Call("DELETE", "/v2/service_instances/"+id+"?accepts_incomplete=true&service_id="+s.id+"&plan_id="+s.plans[plan], nil, &answer)
	if status != http.StatusAccepted {
		s.t.Fatalf("delete %s: %d", id, status)
	}
	return answer.Operation
}

// servers lists the processes of the service, in the order of their start: those
// in the VMs' PID namespaces, as databases write over their environment. One
// whose parent is a server, too, is a part of it.
func (s *service) servers() (pids []int) {
	spaces := map[string]bool{}
	for _, pid := range spec.ProcessesOf(s.State) {
		spaces[namespace(pid)] = true
	}
	delete(spaces, namespace(os.Getpid())) // dev's own
	delete(spaces, "")                     // of processes that ended
	processes, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range processes {
		pid, err := strconv.Atoi(strings.Split(path, "/")[2])
		if err != nil || !spaces[namespace(pid)] {
			continue
		}
		if name, parent := processOf(pid); name == s.server {
			if name, _ := processOf(parent); name != s.server {
				pids = append(pids, pid)
			}
		}
	}
	slices.Sort(pids)
	return pids
}

// processOf tells a process's name and its parent; of one that ended nothing.
func processOf(pid int) (name string, parent int) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(text), "(")
	name, rest, _ = strings.Cut(rest, ") ")
	_, _ = fmt.Sscanf(rest, "%1s %d", new(string), &parent)
	return name, parent
}

func namespace(pid int) string {
	link, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
	return link
}

// killAll kills every server, and waits until others are there.
func (s *service) killAll() {
	s.t.Helper()
	s.kill("")
}

// kill kills the servers whose command line holds a mark, and waits until as
// many others are there.
func (s *service) kill(mark string) {
	s.t.Helper()
	before := s.servers()
	killed := slices.DeleteFunc(slices.Clone(before), func(pid int) bool {
		command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		return !strings.Contains(string(command), mark)
	})
	if len(killed) == 0 {
		s.t.Fatalf("none of the servers %v is %q", before, mark)
	}
	for _, pid := range killed {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			s.t.Fatal(err)
		}
	}
	spec.Eventually(s.t, "killed servers are started again", func() error {
		now := s.servers()
		if len(now) < len(before) || slices.ContainsFunc(now, func(pid int) bool { return slices.Contains(killed, pid) }) {
			return fmt.Errorf("before %v, now %v", before, now)
		}
		return nil
	})
}

// files finds files of the servers: below the folders of their VMs, or disks.
func (s *service) files(pattern string) []string {
	s.t.Helper()
	found, err := filepath.Glob(filepath.Join(s.State, "bosh", pattern))
	if err != nil || len(found) == 0 {
		s.t.Fatalf("%s: %v, %v", pattern, found, err)
	}
	return found
}

// nothingIsLeft of any instance: no process, VM or disk.
func (s *service) nothingIsLeft() {
	s.t.Helper()
	spec.Eventually(s.t, "nothing is left", func() error {
		var left []error
		if pids := s.servers(); len(pids) > 0 {
			left = append(left, fmt.Errorf("processes %v", pids))
		}
		for _, folder := range []string{"vms", "disks"} {
			entries, err := os.ReadDir(filepath.Join(s.State, "bosh", folder))
			if err != nil || len(entries) > 0 {
				left = append(left, fmt.Errorf("%s: %v, %v", folder, entries, err))
			}
		}
		return errors.Join(left...)
	})
}

// settings reads lines of "name = value".
func settings(text []byte) map[string]string {
	all := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, "=")
		all[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	return all
}

package vm

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/serviceforge/serviceforge/localbosh/monit"
)

// apply makes the VM hold a state. Everything is checked before anything is
// changed; running processes are stopped first. The state that it holds already
// changes nothing.
func (s *supervisor) apply(st State) error {
	digest, err := digestOf(st)
	if err != nil {
		return err
	}
	s.mu.Lock()
	same := s.applied == digest
	s.mu.Unlock()
	if same {
		return nil
	}
	procs, err := processes(st.Jobs)
	if err != nil {
		return err
	}
	for name, dir := range st.Packages {
		if !plainName(name) || !filepath.IsLocal(dir) {
			return fmt.Errorf("package %q in folder %q: not the name of a package and a path in the store", name, dir)
		}
		if _, err := os.Stat(filepath.Join(vcapDir, "data/packages", dir)); err != nil {
			return fmt.Errorf("package %s: %w", name, err)
		}
	}
	s.halt(time.Time{})
	s.order.Lock()
	defer s.order.Unlock()
	s.mu.Lock()
	s.applied = "" // half of it, until all is done
	s.mu.Unlock()
	if err := s.applyJobs(st.Jobs); err != nil {
		return err
	}
	if err := s.applyPackages(st.Packages); err != nil {
		return err
	}
	if err := applyHosts(st.Hosts); err != nil {
		return err
	}
	s.mu.Lock()
	s.procs, s.applied = procs, digest
	s.bump()
	s.mu.Unlock()
	return nil
}

// processes reads the monit files into processes, with their dependencies.
func processes(jobs []Job) ([]*proc, error) {
	var procs []*proc
	byName := map[string]*proc{}
	for _, j := range jobs {
		if !plainName(j.Name) {
			return nil, fmt.Errorf("job %q: not a name", j.Name)
		}
		checks, err := monit.Parse(j.Monit)
		if err != nil {
			return nil, fmt.Errorf("job %s: monit: %w", j.Name, err)
		}
		for _, c := range checks {
			if c.Kind != "process" {
				continue
			}
			if !plainName(c.Name) {
				return nil, fmt.Errorf("job %s: monit: line %d: %q is not a name", j.Name, c.Line, c.Name)
			}
			if other := byName[c.Name]; other != nil {
				return nil, fmt.Errorf("job %s: monit: line %d: service name conflict, %s is defined by job %s as well", j.Name, c.Line, c.Name, other.Job)
			}
			p := &proc{Process: Process{Job: j.Name, Name: c.Name, State: Stopped}, check: c}
			procs, byName[c.Name] = append(procs, p), p
		}
	}
	return procs, depend(procs, byName)
}

// depend links the processes to those they depend on and refuses circles.
func depend(procs []*proc, byName map[string]*proc) error {
	for _, p := range procs {
		for _, name := range p.check.Depends {
			dep := byName[name]
			if dep == nil {
				return fmt.Errorf("job %s: monit: %s depends on %s, which is not defined", p.Job, p.Name, name)
			}
			p.after = append(p.after, dep)
		}
	}
	const visiting, visited = 1, 2
	mark := map[*proc]int{}
	var visit func(*proc) error
	visit = func(p *proc) error {
		if mark[p] == visiting {
			return fmt.Errorf("job %s: monit: %s depends on itself", p.Job, p.Name)
		}
		if mark[p] == visited {
			return nil
		}
		mark[p] = visiting
		for _, dep := range p.after {
			if err := visit(dep); err != nil {
				return err
			}
		}
		mark[p] = visited
		return nil
	}
	for _, p := range procs {
		if err := visit(p); err != nil {
			return err
		}
	}
	return nil
}

// applyJobs writes each job to data/jobs/NAME/<digest> and points jobs/NAME and
// monit/NAME at it, as the agent does; other jobs are removed.
func (s *supervisor) applyJobs(jobs []Job) error {
	var names, monits []string
	for _, j := range jobs {
		digest, err := digestOf(j)
		if err != nil {
			return err
		}
		base := filepath.Join(vcapDir, "data/jobs", j.Name)
		dir := filepath.Join(base, digest)
		if err := os.RemoveAll(base); err != nil {
			return err
		}
		if err := s.writeJob(dir, j); err != nil {
			return fmt.Errorf("job %s: %w", j.Name, err)
		}
		if err := relink(dir, filepath.Join(vcapDir, "jobs", j.Name)); err != nil {
			return err
		}
		if err := relink(filepath.Join(dir, "monit"), filepath.Join(vcapDir, "monit", j.Name+".monitrc")); err != nil {
			return err
		}
		names, monits = append(names, j.Name), append(monits, j.Name+".monitrc")
		for _, d := range []string{"data", "sys/log", "sys/run"} {
			d = filepath.Join(vcapDir, d, j.Name)
			if _, err := os.Lstat(d); err == nil {
				continue // bpm may have given it to vcap
			}
			if err := s.mkdir(d, 0o770); err != nil {
				return err
			}
		}
	}
	return errors.Join(keepOnly(filepath.Join(vcapDir, "jobs"), names),
		keepOnly(filepath.Join(vcapDir, "monit"), monits), keepOnly(filepath.Join(vcapDir, "data/jobs"), names))
}

func (s *supervisor) writeJob(dir string, j Job) error {
	files := append([]File{{Path: "monit", Data: j.Monit}}, j.Files...)
	for _, f := range files {
		if !filepath.IsLocal(f.Path) {
			return fmt.Errorf("the path %q leaves the job", f.Path)
		}
		path := filepath.Join(dir, f.Path)
		if err := s.mkdirAll(dir, filepath.Dir(path)); err != nil {
			return err
		}
		mode := os.FileMode(f.Mode).Perm()
		if mode == 0 {
			mode = 0o640
			if strings.HasPrefix(filepath.Clean(f.Path), "bin/") {
				mode = 0o750
			}
		}
		if err := os.WriteFile(path, f.Data, mode); err != nil {
			return err
		}
		if err := os.Chmod(path, mode); err != nil {
			return err
		}
		if err := s.give(path, 0); err != nil {
			return err
		}
	}
	return nil
}

// mkdirAll makes path and what is missing between it and base, with the agent's
// owner and mode.
func (s *supervisor) mkdirAll(base, path string) error {
	if err := os.MkdirAll(filepath.Dir(base), 0o755); err != nil {
		return err
	}
	rel, err := filepath.Rel(base, path)
	if err != nil {
		return err
	}
	for dir, rest := base, strings.Split(rel, "/"); ; dir, rest = filepath.Join(dir, rest[0]), rest[1:] {
		if _, err := os.Stat(dir); err != nil {
			if err := s.mkdir(dir, 0o750); err != nil {
				return err
			}
		}
		if len(rest) == 0 {
			return nil
		}
	}
}

func digestOf(v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:20]), nil
}

// applyPackages points packages/NAME at the compiled packages in the store.
func (s *supervisor) applyPackages(packages map[string]string) error {
	var names []string
	for name, dir := range packages {
		names = append(names, name)
		if err := relink(filepath.Join(vcapDir, "data/packages", dir), filepath.Join(vcapDir, "packages", name)); err != nil {
			return err
		}
	}
	return keepOnly(filepath.Join(vcapDir, "packages"), names)
}

// hostsMark divides the machine's hosts from those of the deployment.
const hostsMark = "# instances of the deployment"

func applyHosts(hosts map[string][]string) error {
	const file = "/etc/hosts"
	old, err := os.ReadFile(file)
	if err != nil || len(hosts) == 0 && !strings.Contains(string(old), hostsMark) {
		return nil // no hosts file on this machine, or nothing to say
	}
	base, _, _ := strings.Cut(string(old), hostsMark)
	var out strings.Builder
	out.WriteString(strings.TrimRight(base, "\n") + "\n" + hostsMark + "\n")
	ips := make([]string, 0, len(hosts))
	for ip := range hosts {
		ips = append(ips, ip)
	}
	slices.Sort(ips)
	for _, ip := range ips {
		fmt.Fprintf(&out, "%s %s\n", ip, strings.Join(hosts[ip], " "))
	}
	return os.WriteFile(file, []byte(out.String()), 0o644) // in place: it is a bind
}

// relink points a symbolic link at a target in one step.
func relink(target, link string) error {
	if old, err := os.Readlink(link); err == nil && old == target {
		return nil
	}
	tmp := link + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Symlink(target, tmp); err != nil {
		return err
	}
	return os.Rename(tmp, link)
}

// keepOnly removes all other entries of a folder.
func keepOnly(dir string, names []string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !slices.Contains(names, e.Name()) {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// plainName tells whether a name can be a file's name.
func plainName(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= 200 && !strings.ContainsAny(name, "/\x00\n")
}

package monit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

const bpmProgram = "/var/vcap/jobs/bpm/bin/bpm"

// BPM tells whether a start program is `bpm start JOB [-p PROCESS]` and answers
// the two names; without -p the process has the job's name.
func BPM(command string) (job, process string, ok bool) {
	f := strings.Fields(command)
	if len(f) < 3 || f[0] != bpmProgram || f[1] != "start" {
		return "", "", false
	}
	for args := f[2:]; len(args) > 0; args = args[1:] {
		switch a := args[0]; {
		case a == "-p" || a == "--process":
			if len(args) < 2 {
				return "", "", false
			}
			process, args = args[1], args[1:]
		case strings.HasPrefix(a, "--process="):
			process = strings.TrimPrefix(a, "--process=")
		case strings.HasPrefix(a, "-p") && !strings.HasPrefix(a, "--"):
			process = strings.TrimPrefix(strings.TrimPrefix(a, "-p"), "=")
		case strings.HasPrefix(a, "-") || job != "":
			return "", "", false
		default:
			job = a
		}
	}
	if process == "" {
		process = job
	}
	return job, process, job != ""
}

// Process is one process of a bpm.yml (bpm-release, docs/config.md).
type Process struct {
	Name              string            `yaml:"name"`
	Executable        string            `yaml:"executable"`
	Args              []string          `yaml:"args"`
	Env               map[string]string `yaml:"env"`
	Workdir           string            `yaml:"workdir"`
	Hooks             Hooks             `yaml:"hooks"`
	Limits            Limits            `yaml:"limits"`
	ShutdownSignal    string            `yaml:"shutdown_signal"` // TERM (default) or INT
	EphemeralDisk     bool              `yaml:"ephemeral_disk"`
	PersistentDisk    bool              `yaml:"persistent_disk"`
	AdditionalVolumes []Volume          `yaml:"additional_volumes"`
	Capabilities      []string          `yaml:"capabilities"`
	Unsafe            Unsafe            `yaml:"unsafe"`
}

// Hooks are run by bpm.
type Hooks struct {
	PreStart string `yaml:"pre_start"` // before each start
}

// Limits are the limits of a process; a zero value is no limit.
type Limits struct {
	Memory    string `yaml:"memory"`
	OpenFiles uint64 `yaml:"open_files"`
	Processes int64  `yaml:"processes"`
}

// Volume is a folder that the process sees besides its own.
type Volume struct {
	Path            string `yaml:"path"`
	Writable        bool   `yaml:"writable"`
	AllowExecutions bool   `yaml:"allow_executions"`
	MountOnly       bool   `yaml:"mount_only"`
	Shared          bool   `yaml:"shared"`
}

// Unsafe lifts restrictions.
type Unsafe struct {
	Privileged          bool     `yaml:"privileged"`
	UnrestrictedVolumes []Volume `yaml:"unrestricted_volumes"`
	HostPIDNamespace    bool     `yaml:"host_pid_namespace"`
}

// ParseBPM reads a bpm.yml with bpm's rules. Unknown keys are errors.
func ParseBPM(src []byte) ([]Process, error) {
	var doc struct {
		Processes []Process `yaml:"processes"`
	}
	d := yaml.NewDecoder(bytes.NewReader(src))
	d.KnownFields(true)
	if err := d.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	for _, p := range doc.Processes {
		if err := p.validate(); err != nil {
			return nil, err
		}
	}
	return doc.Processes, nil
}

func (p Process) validate() error {
	if p.Name == "" || strings.ContainsAny(p.Name, "/\x00") || p.Name == ".." {
		return errors.New("invalid config: name")
	}
	if p.Executable == "" {
		return errors.New("invalid config: executable")
	}
	if s := strings.TrimPrefix(strings.ToUpper(p.ShutdownSignal), "SIG"); !slices.Contains([]string{"", "TERM", "INT"}, s) {
		return fmt.Errorf("invalid config: shutdown_signal %q is neither TERM nor INT", p.ShutdownSignal)
	}
	for _, v := range p.AdditionalVolumes {
		if clean := path.Clean(v.Path); clean != v.Path {
			return fmt.Errorf("volume path must be canonical, expected %s but got %s", clean, v.Path)
		}
		if !strings.HasPrefix(v.Path, "/var/vcap/data/") && !strings.HasPrefix(v.Path, "/var/vcap/store/") &&
			!strings.HasPrefix(v.Path, "/var/vcap/sys/run/") {
			return fmt.Errorf("invalid volume path: %s must be within (/var/vcap/data, /var/vcap/store, /var/vcap/sys/run)", v.Path)
		}
	}
	return nil
}

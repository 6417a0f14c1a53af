package validate

import (
	"io"
	"io/fs"
	"path"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/serviceforge/serviceforge/releases"
	"github.com/serviceforge/serviceforge/releases/archive"
	"github.com/serviceforge/serviceforge/releases/tarball"
	"github.com/serviceforge/serviceforge/releases/yamldoc"
)

// jobSpec is a job's spec file, as much of it as validation reads.
type jobSpec struct {
	Name       string                  `yaml:"name"`
	Templates  map[string]string       `yaml:"templates"` // to where in the job
	Packages   []string                `yaml:"packages"`
	Properties map[string]propertySpec `yaml:"properties"`
	Provides   []linkSpec              `yaml:"provides"`
	Consumes   []linkSpec              `yaml:"consumes"`
}

// writes says whether the job has that file.
func (j *jobSpec) writes(file string) bool {
	for _, target := range j.Templates {
		if target == file {
			return true
		}
	}
	return false
}

type propertySpec struct {
	Default any `yaml:"default"`
}

type linkSpec struct {
	Name     string `yaml:"name"`
	Type     string `yaml:"type"`
	Optional bool   `yaml:"optional"`
}

// jobSpecs reads the specs of a service's BOSH releases, of their source or
// tarballs, by release/job; and an empty one by release where it is known.
func (v *validation) jobSpecs(s *releases.Outline) map[string]*jobSpec {
	out := map[string]*jobSpec{}
	for _, b := range s.Releases {
		var specs []*jobSpec
		switch {
		case v.isFolder(b.Source):
			specs = v.sourceSpecs(b.Source)
		case b.File != "":
			specs = v.tarballSpecs(b)
		}
		for _, spec := range specs {
			out[b.Name], out[b.Name+"/"+spec.Name] = &jobSpec{}, spec
		}
	}
	return out
}

// isFolder says whether there is source: a packed release has none.
func (v *validation) isFolder(source string) bool {
	info, err := fs.Stat(v.files, source)
	return source != "" && err == nil && info.IsDir()
}

func (v *validation) sourceSpecs(source string) (out []*jobSpec) {
	found, err := fs.Glob(v.files, path.Join(source, "jobs", "*", "spec"))
	if err != nil {
		return nil
	}
	for _, name := range found {
		if text, err := archive.ReadFile(v.files, name); err == nil {
			before := len(out)
			if out = v.keep(out, name, []byte(text)); len(out) > before {
				v.jobTemplates(path.Dir(name), out[before])
			}
		}
	}
	return out
}

func (v *validation) keep(out []*jobSpec, name string, text []byte) []*jobSpec {
	var spec jobSpec
	if err := yaml.Unmarshal(text, &spec); err != nil {
		v.add("error", name, "the job's spec cannot be read: %s", yamldoc.Reason(err))
		return out
	}
	return append(out, &spec)
}

// tarballSpecs reads jobs/*.tgz of a BOSH release, and of each its job.MF.
func (v *validation) tarballSpecs(b releases.BOSHRelease) (out []*jobSpec) {
	f, err := v.files.Open(b.File)
	if err != nil {
		v.add("error", "service.yml", "BOSH release %s: %s is missing", b.Name, b.File)
		return nil
	}
	defer f.Close()
	err = tarball.Each(f, func(name string, in io.Reader) error {
		if !strings.HasPrefix(name, "jobs/") {
			return nil
		}
		return tarball.Each(in, func(inner string, in io.Reader) error {
			if inner != "job.MF" {
				return nil
			}
			text, err := io.ReadAll(io.LimitReader(in, archive.MaxFile))
			if err == nil {
				out = v.keep(out, b.File+": "+name, text)
			}
			return err
		})
	})
	if err != nil {
		v.add("error", b.File, "the tarball cannot be read")
	}
	return out
}

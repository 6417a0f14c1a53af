package blobs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/serviceforge/serviceforge/localbosh/bosherr"
	"github.com/serviceforge/serviceforge/localbosh/manifest"
)

// No template or job.MF is larger than this.
const maxTemplate = 16 << 20

func (s *Store) jobDir(name, fingerprint string) string { return s.path("jobs", name+"-"+fingerprint) }

// readJob checks an unpacked job as the director does at an upload and returns its spec. Errors 80000 to 80014.
func readJob(dir, name string) (*manifest.JobSpec, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, bosherr.New(bosherr.JobInvalidArchive, "Extracting job '%s' archive failed. Check task debug log for details.", name)
	}
	defer root.Close()
	text, err := readFile(root, "job.MF")
	if err != nil {
		return nil, bosherr.New(bosherr.JobMissingManifest, "Missing job manifest for '%s'", name)
	}
	spec, err := manifest.ParseJobSpec(text)
	if err != nil {
		return nil, err
	}
	if spec.Name != name {
		return nil, bosherr.New(80007, "Inconsistent name for job '%s'(exptected: '%s', got: '%s')", name, name, spec.Name)
	}
	for _, t := range spec.Templates {
		st, err := root.Stat(path.Join("templates", t.Source))
		if err != nil || !st.Mode().IsRegular() {
			return nil, bosherr.New(bosherr.JobMissingTemplateFile, "Missing template file '%s' for job '%s'", t.Source, name)
		}
		if !filepath.IsLocal(t.Dest) {
			return nil, bosherr.New(bosherr.JobInvalidArchive, "Template '%s' of job '%s' would be written to '%s', outside of the job", t.Source, name, t.Dest)
		}
	}
	if _, err := root.Stat("monit"); err != nil {
		more, _ := fs.Glob(root.FS(), "*.monit")
		if len(more) == 0 {
			return nil, bosherr.New(bosherr.JobMissingMonit, "Job '%s' is missing monit file", name)
		}
	}
	return spec, nil
}

func readFile(root *os.Root, name string) ([]byte, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxTemplate+1))
	if err == nil && len(b) > maxTemplate {
		err = fmt.Errorf("%s is larger than %d bytes", name, maxTemplate)
	}
	return b, err
}

// Template is one template of a job, or its monit file.
type Template struct {
	Source, Dest string
	Body         []byte
}

// JobTemplates returns a job's templates in the order of its spec, followed by its monit file ("monit", "monit")
// if it has one.
func (s *Store) JobTemplates(job *manifest.JobSpec) ([]Template, error) {
	root, err := os.OpenRoot(s.jobDir(job.Name, job.Fingerprint))
	if err != nil {
		return nil, fmt.Errorf("templates of job '%s': %w", job.Name, err)
	}
	defer root.Close()
	var out []Template
	for _, t := range job.Templates {
		body, err := readFile(root, path.Join("templates", t.Source))
		if err != nil {
			return nil, fmt.Errorf("templates of job '%s': %w", job.Name, err)
		}
		out = append(out, Template{Source: t.Source, Dest: t.Dest, Body: body})
	}
	monit, err := readFile(root, "monit")
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	if err != nil {
		return nil, fmt.Errorf("monit file of job '%s': %w", job.Name, err)
	}
	return append(out, Template{Source: "monit", Dest: "monit", Body: monit}), nil
}

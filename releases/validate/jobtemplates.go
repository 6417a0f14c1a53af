package validate

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/serviceforge/serviceforge/releases/archive"
)

var (
	usedPackage = regexp.MustCompile(`/var/vcap/packages/([A-Za-z0-9_.-]+)`)
	// usedProperty is a property without a default of the template's own, and not
	// one of a link.
	usedProperty = regexp.MustCompile(`(?:^|[^.\w])p\(\s*['"]([^'"]+)['"]\s*\)`)
)

// jobTemplates compares what a job's templates use with what its spec, at
// folder, says: BOSH tells of the one when it deploys, of the other never.
func (v *validation) jobTemplates(folder string, spec *jobSpec) {
	for source := range spec.Templates {
		name := path.Join(folder, "templates", source)
		text, err := archive.ReadFile(v.files, name)
		if err != nil {
			continue // the build tells
		}
		for i, line := range strings.Split(text, "\n") {
			where := fmt.Sprintf("%s line %d", name, i+1)
			for _, m := range usedPackage.FindAllStringSubmatch(line, -1) {
				if !slices.Contains(spec.Packages, m[1]) {
					v.add("warning", where, "the package %s is not among `packages` of the job's spec: the VM has it only if another job brings it", m[1])
				}
			}
			for _, m := range usedProperty.FindAllStringSubmatch(line, -1) {
				if !spec.knows(m[1]) {
					v.add("error", where, "the job's spec does not know the property %s: the template cannot be filled in", m[1])
				}
			}
		}
	}
}

// knows says whether a template gets the property: it, something above it or
// something below it is in the spec.
func (j *jobSpec) knows(property string) bool {
	for name := range j.Properties {
		if name == property || strings.HasPrefix(name, property+".") || strings.HasPrefix(property, name+".") {
			return true
		}
	}
	return false
}

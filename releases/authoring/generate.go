package authoring

import (
	"crypto/rand"
	"embed"
	"fmt"
	"io/fs"
	"regexp"
	"strings"

	"github.com/serviceforge/serviceforge"
)

//go:embed all:example
var example embed.FS

// serviceName is a name that begins the names of deployments, too.
var serviceName = regexp.MustCompile(`^[a-z][-a-z0-9]{0,29}$`)

// Generate makes the files of a new service release, a complete example that is
// valid as it is. Ids are new with every call. Errors: Invalid (the name).
func Generate(name string) (map[string][]byte, error) {
	if !serviceName.MatchString(name) {
		return nil, serviceforge.Errorf(serviceforge.Invalid, "the name must be at most 30 lower case letters, digits and -, and begin with a letter")
	}
	put := strings.NewReplacer("NAME", name, "ID-SERVICE", newUUID(), "ID-SMALL", newUUID(), "ID-MEDIUM", newUUID())
	out := map[string][]byte{}
	err := fs.WalkDir(example, "example", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := example.ReadFile(path)
		if err != nil {
			return err
		}
		out[put.Replace(strings.TrimPrefix(path, "example/"))] = []byte(put.Replace(string(text)))
		return nil
	})
	if err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Internal, "the example cannot be read")
	}
	return out, nil
}

// newUUID makes a random UUID (RFC 9562, version 4), as OSB wants for ids.
func newUUID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

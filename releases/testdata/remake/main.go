// Remake makes the golden files with the spiff command: for every case it
// writes the documents that are merged, and keeps what `spiff merge` prints.
// It knows nothing of ServiceForge's own way.
package main

import (
	"bytes"
	"fmt"
	"log"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

type file struct {
	Services []struct {
		ID     string `yaml:"id"`
		Prefix string `yaml:"deployment_name_prefix"`
		BOSH   struct {
			Templates struct {
				Base            string            `yaml:"base_path"`
				Templates       []string          `yaml:"templates"`
				Infrastructures map[string]string `yaml:"infrastructure_stubs"`
				Stub            string            `yaml:"deployment_stub"`
			} `yaml:"release_templates"`
		} `yaml:"bosh_release"`
		Plans []struct {
			Name string    `yaml:"name"`
			Stub yaml.Node `yaml:"bosh_deployment_stub"`
		} `yaml:"plans"`
	} `yaml:"services"`
}

type pool struct {
	Pool struct {
		Name           string `yaml:"name"`
		Infrastructure string `yaml:"infrastructure"`
	} `yaml:"pool"`
	Stub yaml.Node `yaml:"stub"`
}

func main() {
	log.SetFlags(0)
	spiff := os.Args[1]
	for _, dir := range os.Args[2:] {
		var f file
		read(filepath.Join(dir, "service.yml"), &f)
		if f.Services[0].BOSH.Templates.Infrastructures == nil {
			blocksOf2014(spiff, dir, f)
		} else {
			forPools(spiff, dir, f)
		}
	}
}

// blocksOf2014: templates… pool-network-file plan-stub deployment-stub.
func blocksOf2014(spiff, dir string, f file) {
	for _, s := range f.Services {
		infrastructure := strings.TrimPrefix(s.Prefix, "kv-")
		for _, p := range s.Plans {
			var documents []string
			for _, t := range s.BOSH.Templates.Templates {
				documents = append(documents, filepath.Join(dir, s.BOSH.Templates.Base, t))
			}
			if network := filepath.Join(dir, "pools", infrastructure+".yml"); exists(network) {
				documents = append(documents, network)
			}
			documents = append(documents, written(text(&p.Stub)), stub(dir, s.BOSH.Templates.Base, s.BOSH.Templates.Stub, s.Prefix+"-i1"))
			merge(spiff, filepath.Join(dir, "golden", infrastructure+"-"+p.Name+".yml"), nil, documents)
		}
	}
}

// forPools: templates… infrastructure-stub pool-stub plan-stub deployment-stub,
// with the values of values/POOL-PLAN.yml.
func forPools(spiff, dir string, f file) {
	values, err := filepath.Glob(filepath.Join(dir, "values", "*.yml"))
	check(err)
	for _, v := range slices.Sorted(maps.Keys(set(values))) {
		s := f.Services[0]
		name := strings.TrimSuffix(filepath.Base(v), ".yml")
		poolName, planName, _ := strings.Cut(name, "--")
		var in pool
		read(filepath.Join(dir, "pools", poolName+".yml"), &in)
		t := s.BOSH.Templates
		var documents []string
		for _, name := range t.Templates {
			documents = append(documents, filepath.Join(dir, t.Base, name))
		}
		infrastructure, ok := t.Infrastructures[in.Pool.Infrastructure]
		if !ok {
			infrastructure = t.Infrastructures["default"]
		}
		documents = append(documents, filepath.Join(dir, t.Base, infrastructure))
		if len(in.Stub.Content) > 0 {
			documents = append(documents, written(text(&in.Stub)))
		}
		for _, p := range s.Plans {
			if p.Name == planName {
				documents = append(documents, written(text(&p.Stub)))
			}
		}
		documents = append(documents, stub(dir, t.Base, t.Stub, s.Prefix+"-i1"))
		merge(spiff, filepath.Join(dir, "golden", name+".yml"), []string{"--bindings", v}, documents)
	}
}

func stub(dir, base, name, deployment string) string {
	text, err := os.ReadFile(filepath.Join(dir, base, name))
	check(err)
	return written(strings.NewReplacer("NAME", deployment, "PLACEHOLDER-DIRECTOR-UUID", "uuid-1").Replace(string(text)))
}

func merge(spiff, to string, flags, documents []string) {
	command := exec.Command(spiff, append(append([]string{"merge"}, flags...), documents...)...)
	var out, complaint bytes.Buffer
	command.Stdout, command.Stderr = &out, &complaint
	if err := command.Run(); err != nil {
		log.Fatalf("%s: %v\n%s", to, err, complaint.String())
	}
	check(os.MkdirAll(filepath.Dir(to), 0o755))
	check(os.WriteFile(to, out.Bytes(), 0o644))
	fmt.Println(to)
}

func text(n *yaml.Node) string {
	out, err := yaml.Marshal(n)
	check(err)
	return string(out)
}

func written(text string) string {
	f, err := os.CreateTemp("", "remake-*.yml")
	check(err)
	_, err = f.WriteString(text)
	check(err)
	check(f.Close())
	return f.Name()
}

func read(name string, to any) {
	text, err := os.ReadFile(name)
	check(err)
	check(yaml.Unmarshal(text, to))
}

func set(list []string) map[string]bool {
	out := map[string]bool{}
	for _, item := range list {
		out[item] = true
	}
	return out
}

func exists(name string) bool { _, err := os.Stat(name); return err == nil }

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

package manifest

import (
	"strings"

	"github.com/serviceforge/serviceforge/localbosh/bosherr"
)

func parseCloudConfig(text []byte) (*CloudConfig, error) {
	v, err := decodeYAML(text)
	if err != nil {
		return nil, bosherr.New(bosherr.BadManifest, "Incorrect YAML structure of the uploaded manifest: %s", err)
	}
	if v == nil {
		v = map[string]any{}
	}
	return ParseCloudConfigTree(v)
}

// ParseCloudConfigTree is ParseCloudConfig of a tree, such as several cloud configs merged.
func ParseCloudConfigTree(v any) (*CloudConfig, error) {
	s := newSpec(v)
	c := &CloudConfig{}
	if s.err == nil {
		c.parseAZs(s)
	}
	if s.err == nil {
		c.parseNetworks(s)
	}
	if s.err == nil {
		c.parseTypes(s)
	}
	if s.err == nil {
		c.parseCompilation(s)
	}
	if s.err != nil {
		return nil, s.err
	}
	return c, nil
}

func (c *CloudConfig) parseAZs(s *spec) {
	seen := map[string]bool{}
	for _, v := range s.optList("azs") {
		e := newSpec(v)
		az := AZ{Name: e.str("name"), CloudProperties: e.optHash("cloud_properties")}
		if s.adopt(e); s.err != nil {
			return
		}
		if seen[az.Name] {
			s.fail(bosherr.DeploymentDuplicateAZName, "Duplicate az name '%s'", az.Name)
		}
		seen[az.Name] = true
		c.AZs = append(c.AZs, az)
	}
}

// adopt takes over the error of a part.
func (s *spec) adopt(part *spec) {
	if s.err == nil {
		s.err = part.err
	}
}

func (c *CloudConfig) parseNetworks(s *spec) {
	list := s.list("networks")
	if s.err == nil && len(list) == 0 {
		s.fail(bosherr.DeploymentNoNetworks, "No networks specified")
	}
	seen := map[string]bool{}
	for _, v := range list {
		n := c.parseNetwork(s, v)
		if s.err != nil {
			return
		}
		c.Networks = append(c.Networks, n)
	}
	for _, n := range c.Networks {
		if name := canonical(n.Name); seen[name] {
			s.fail(bosherr.DeploymentCanonicalNetworkNameTaken, "Invalid network name '%s', canonical name already taken", n.Name)
		} else {
			seen[name] = true
		}
	}
}

func (c *CloudConfig) parseTypes(s *spec) {
	for _, v := range s.optList("vm_types") {
		e := newSpec(v)
		t := &VMType{Name: e.str("name"), CloudProperties: e.optHash("cloud_properties")}
		if s.adopt(e); s.err != nil {
			return
		}
		if c.vmType(t.Name) != nil {
			s.fail(bosherr.DeploymentDuplicateVMTypeName, "Duplicate vm type name '%s'", t.Name)
		}
		c.VMTypes = append(c.VMTypes, t)
	}
	for _, v := range s.optList("vm_extensions") {
		e := newSpec(v)
		x := &VMExtension{Name: e.str("name"), CloudProperties: e.optHash("cloud_properties")}
		if s.adopt(e); s.err != nil {
			return
		}
		if c.vmExtension(x.Name) != nil {
			s.fail(bosherr.DeploymentDuplicateVMExtensionName, "Duplicate vm extension name '%s'", x.Name)
		}
		c.VMExtensions = append(c.VMExtensions, x)
	}
	c.parseDiskTypes(s)
}

func (c *CloudConfig) parseDiskTypes(s *spec) {
	pools, types := s.optList("disk_pools"), s.optList("disk_types")
	kind := "type"
	if len(pools) > 0 {
		if len(types) > 0 {
			s.fail(bosherr.DeploymentInvalidDiskSpecification, "Both 'disk_types' and 'disk_pools' are specified, only one key is allowed. "+
				"'disk_pools' key will be DEPRECATED in the future.")
		}
		kind, types = "pool", pools
	}
	for _, v := range types {
		e := newSpec(v)
		d := &DiskType{Name: e.str("name"), Size: e.integer("disk_size"), CloudProperties: e.optHash("cloud_properties")}
		if e.err == nil && d.Size < 0 {
			e.fail(bosherr.DiskTypeInvalidDiskSize, "Disk types '%s' references an invalid peristent disk size '%d'", d.Name, d.Size)
		}
		if s.adopt(e); s.err != nil {
			return
		}
		if c.diskType(d.Name) != nil {
			s.fail(bosherr.DeploymentDuplicateDiskTypeName, "Duplicate disk %s name '%s'", kind, d.Name)
		}
		c.DiskTypes = append(c.DiskTypes, d)
	}
}

func (c *CloudConfig) parseCompilation(s *spec) {
	e := newSpec(s.hash("compilation"))
	if s.err != nil {
		return
	}
	p := Compilation{Workers: e.integer("workers")}
	if e.err == nil && p.Workers < 1 {
		e.fail(bosherr.ValidationViolatedMin, "'workers' value (%d) should be greater than 1", p.Workers)
	}
	p.Network = e.str("network")
	p.ReuseVMs = e.optBool("reuse_compilation_vms", false)
	p.CloudProperties, p.Env = e.optHash("cloud_properties"), e.optHash("env")
	p.AZ, p.VMType = e.optStr("az"), e.optStr("vm_type")
	if e.err == nil {
		c.checkCompilation(e, p)
	}
	s.adopt(e)
	c.Compilation = p
}

func (c *CloudConfig) checkCompilation(e *spec, p Compilation) {
	if p.AZ != "" && !c.hasAZ(p.AZ) {
		e.fail(bosherr.CompilationConfigInvalidAZ, "Compilation config references unknown az '%s'. Known azs are: [%s]", p.AZ,
			joinNames(c.AZs, func(a AZ) string { return a.Name }))
	}
	if p.VMType != "" {
		if c.vmType(p.VMType) == nil {
			e.fail(bosherr.CompilationConfigInvalidVMType, "Compilation config references unknown vm type '%s'. Known vm types are: %s", p.VMType,
				joinNames(c.VMTypes, func(t *VMType) string { return t.Name }))
		}
		if len(p.CloudProperties) > 0 {
			e.fail(bosherr.CompilationConfigCloudProperties, "Compilation config is using vm type '%s' and should not be configuring cloud_properties.", p.VMType)
		}
	}
	for _, name := range e.optStrings("vm_extensions") {
		if c.vmExtension(name) == nil {
			e.fail(bosherr.CompilationConfigInvalidVMExtension, "Compilation config references unknown vm extension '%s'. Known vm extensions are: %s", name,
				joinNames(c.VMExtensions, func(x *VMExtension) string { return x.Name }))
		}
	}
	n := c.Network(p.Network)
	if n == nil {
		e.fail(bosherr.CompilationConfigUnknownNetwork, "Compilation config references an unknown network '%s'", p.Network)
		return
	}
	var azs []string
	if p.AZ != "" {
		azs = []string{p.AZ}
	}
	if !n.hasAZs(azs) {
		e.fail(bosherr.JobNetworkMissingRequiredAZ, "Compilation config refers to az '%s' but network '%s' has no matching subnet(s).", p.AZ, n.Name)
	}
}

func joinNames[T any](list []T, name func(T) string) string {
	names := make([]string, len(list))
	for i, e := range list {
		names[i] = name(e)
	}
	return strings.Join(names, ", ")
}

func (c *CloudConfig) hasAZ(name string) bool {
	for _, a := range c.AZs {
		if a.Name == name {
			return true
		}
	}
	return false
}

func (c *CloudConfig) vmType(name string) *VMType {
	for _, t := range c.VMTypes {
		if t.Name == name {
			return t
		}
	}
	return nil
}

func (c *CloudConfig) vmExtension(name string) *VMExtension {
	for _, x := range c.VMExtensions {
		if x.Name == name {
			return x
		}
	}
	return nil
}

func (c *CloudConfig) diskType(name string) *DiskType {
	for _, d := range c.DiskTypes {
		if d.Name == name {
			return d
		}
	}
	return nil
}

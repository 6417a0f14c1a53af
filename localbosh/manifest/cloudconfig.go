package manifest

import "net/netip"

// CloudConfig is a checked cloud config.
type CloudConfig struct {
	AZs          []AZ
	Networks     []*Network
	VMTypes      []*VMType
	DiskTypes    []*DiskType
	VMExtensions []*VMExtension
	Compilation  Compilation
}

// AZ is an availability zone.
type AZ struct {
	Name            string
	CloudProperties map[string]any
}

// Network types.
const (
	ManualNetwork  = "manual"
	DynamicNetwork = "dynamic"
	VIPNetwork     = "vip"
)

// Network is a network of the cloud config.
type Network struct {
	Name    string
	Type    string
	Subnets []*Subnet
}

// Subnet is a subnet of a manual or dynamic network.
type Subnet struct {
	// Range is the zero Prefix on a dynamic network.
	Range   netip.Prefix
	Gateway netip.Addr
	DNS     []string
	// AZs is empty when the subnet names none.
	AZs             []string
	CloudProperties map[string]any

	reserved, static addrSet
}

// VMType is a `vm_types:` entry.
type VMType struct {
	Name            string
	CloudProperties map[string]any
}

// VMExtension is a `vm_extensions:` entry.
type VMExtension struct {
	Name            string
	CloudProperties map[string]any
}

// DiskType is a `disk_types:` entry; Size is in MiB.
type DiskType struct {
	Name            string
	Size            int
	CloudProperties map[string]any
}

// Compilation is the `compilation:` block.
type Compilation struct {
	Workers             int
	Network, AZ, VMType string
	ReuseVMs            bool
	CloudProperties     map[string]any
	Env                 map[string]any
}

// ParseCloudConfig reads and checks a cloud config. An empty text is an empty cloud config, with which the
// director refuses every deployment: "Required property 'networks' was not specified in object ({})".
// The director runs it when it deploys, not when a cloud config is uploaded (see CheckCloudConfigText).
func ParseCloudConfig(text []byte) (*CloudConfig, error) { return parseCloudConfig(text) }

// Network returns the network of that name, or nil.
func (c *CloudConfig) Network(name string) *Network {
	for _, n := range c.Networks {
		if n.Name == name {
			return n
		}
	}
	return nil
}

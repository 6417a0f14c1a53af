package deploy

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/serviceforge/serviceforge/localbosh/bosherr"
	"github.com/serviceforge/serviceforge/localbosh/durable"
	"github.com/serviceforge/serviceforge/localbosh/manifest"
	"github.com/serviceforge/serviceforge/localbosh/tasks"
)

// prepared is a deploy up to the point where VMs are touched.
type prepared struct {
	name     string
	manifest *manifest.Manifest
	cloud    *manifest.CloudConfig
	plan     *manifest.Plan
	jobs     map[string]rendered // by instance id
	hosts    map[string][]string
}

// parse reads and checks a manifest against the given cloud configs.
func (e *Engine) parse(name, text string, cloudIDs []int) (*prepared, error) {
	tree, err := manifest.ParseTree([]byte(text))
	if err != nil {
		return nil, err
	}
	if err := e.latestReleases(tree); err != nil {
		return nil, err
	}
	cloudText, err := e.cloudConfig(cloudIDs)
	if err != nil {
		return nil, err
	}
	cloud, err := manifest.ParseCloudConfig(cloudText)
	if err != nil {
		return nil, err
	}
	tree, err = manifest.InterpolateManifest(tree, e.Director, name, e.lookup())
	if err != nil {
		return nil, err
	}
	m, err := manifest.Parse(tree, cloud, e.Blobs.Catalog().Releases)
	if err != nil {
		return nil, err
	}
	return &prepared{name: name, manifest: m, cloud: cloud}, nil
}

// latestReleases makes sure that releases asked for at their latest version are
// there at all: a director looks for them before it reads its cloud config.
func (e *Engine) latestReleases(tree map[string]any) error {
	entries, _ := tree["releases"].([]any)
	for _, entry := range entries {
		r, _ := entry.(map[string]any)
		version, _ := r["version"].(string)
		known := slices.ContainsFunc(e.Blobs.Catalog().Releases, func(o *manifest.Release) bool { return o.Name == r["name"] })
		if strings.HasSuffix(version, "latest") && !known {
			return bosherr.New(bosherr.ReleaseNotFound, "Release '%v' doesn't exist", r["name"])
		}
	}
	return nil
}

func (e *Engine) lookup() manifest.Lookup {
	if e.Variables == nil {
		return nil
	}
	return e.Variables.Lookup
}

// cloudConfig is the text of the cloud configs with these ids, merged; nil ids
// mean the current ones.
func (e *Engine) cloudConfig(ids []int) ([]byte, error) {
	configs := e.Configs.Latest("cloud")
	if ids != nil {
		configs = configs[:0]
		for _, id := range ids {
			c, err := e.Configs.Get(strconv.Itoa(id))
			if err != nil {
				return nil, err
			}
			configs = append(configs, c)
		}
	}
	if len(configs) == 0 {
		return nil, nil
	}
	if len(configs) == 1 {
		return []byte(configs[0].Content), nil
	}
	merged := map[string]any{}
	for _, c := range configs {
		tree, err := manifest.ParseTree([]byte(c.Content))
		if err != nil {
			return nil, fmt.Errorf("cloud config '%s': %w", c.Name, err)
		}
		for key, v := range tree {
			list, ok := v.([]any)
			old, had := merged[key].([]any)
			if ok && had {
				v = slices.Concat(old, list)
			} else if _, twice := merged[key]; twice {
				return nil, fmt.Errorf("Cloud config 'compilation' key cannot be defined in multiple cloud configs.")
			}
			merged[key] = v
		}
	}
	return yaml.Marshal(merged)
}

// configIDs are the ids of the current configs of a type.
func (e *Engine) configIDs(kind string) []int {
	ids := []int{}
	for _, c := range e.Configs.Latest(kind) {
		ids = append(ids, c.ID)
	}
	return ids
}

// resolve places the instances and stores what they are to be, with their
// addresses, before anything is made. Also what could be placed of a deployment
// for which addresses ran out stays stored, as on a real director. Of errand
// groups only those in errands, which are about to run, get addresses.
func (e *Engine) resolve(p *prepared, errands ...string) error {
	d, err := e.State.Get(p.name)
	if err != nil {
		return err
	}
	if len(p.manifest.Variables) > 0 {
		if e.Variables == nil {
			v := manifest.AbsoluteName(p.manifest.Variables[0].Name, e.Director, p.name)
			return bosherr.New(bosherr.ConfigServerDisabled, "Failed to generate variable '%s' from config server: Director is not configured with a config server", v)
		}
		if err := e.Variables.Generate(e.Director, p.name, p.manifest.Variables); err != nil {
			return err
		}
	}
	previous := make([]manifest.Instance, len(d.Instances))
	for n, i := range d.Instances {
		previous[n] = i.Instance
	}
	e.choosing.Lock()
	defer e.choosing.Unlock()
	plan, err := manifest.Resolve(manifest.Request{
		Manifest: p.manifest, Cloud: p.cloud, Catalog: e.Blobs.Catalog(), Previous: previous,
		Taken: e.State.Taken(p.name), DynamicRange: e.Dynamic, NewID: newUUID, Random: rand.IntN,
		Errands: errands,
	})
	if plan == nil {
		return err
	}
	p.plan = plan
	if serr := e.storePlan(p); serr != nil {
		return serr
	}
	return err
}

// storePlan stores the intent: which instances there will be and where.
func (e *Engine) storePlan(p *prepared) error {
	return e.State.Update(p.name, durable.Power, func(d *Deployment) {
		d.Releases, d.Stemcells = []NameVersion{}, []NameVersion{}
		for _, r := range p.manifest.Releases {
			d.Releases = append(d.Releases, NameVersion{r.Name, r.Version})
		}
		d.Variables = nil
		for _, v := range p.manifest.Variables {
			d.Variables = append(d.Variables, manifest.AbsoluteName(v.Name, e.Director, p.name))
		}
		for _, g := range p.plan.Groups {
			s := NameVersion{g.Stemcell.Name, g.Stemcell.Version}
			if s.Name != "" && !slices.Contains(d.Stemcells, s) {
				d.Stemcells = append(d.Stemcells, s)
			}
			for _, i := range g.Instances {
				d.intend(g, i)
			}
		}
	})
}

// intend makes d's row of a planned instance say where it is to be; what it was
// brought to (Digest) stays.
func (d *Deployment) intend(g *manifest.PlannedGroup, i *manifest.PlannedInstance) {
	row := d.Instance(i.ID)
	if row == nil {
		d.Instances = append(d.Instances, Instance{State: Started, Dirty: !g.Errand()})
		row = &d.Instances[len(d.Instances)-1]
	}
	digest, disk := row.Digest, row.HasDisk
	row.Instance = i.Instance
	row.Digest, row.HasDisk, row.Errand = digest, disk, g.Errand()
}

// bind fetches variables and renders every template of the deployment, so that
// all mistakes are known before any instance is touched.
func (e *Engine) bind(ctx context.Context, r *tasks.Run, p *prepared) error {
	if err := p.plan.Bind(e.Director, e.lookup()); err != nil {
		return err
	}
	var err error
	if p.jobs, err = e.render(ctx, p.plan); err != nil {
		return err
	}
	p.hosts = hosts(p.plan)
	return nil
}

// hosts maps the addresses of a deployment to the names BOSH DNS would give
// them: ID.GROUP.NETWORK.DEPLOYMENT.bosh, and q-s0 for all of a group.
func hosts(plan *manifest.Plan) map[string][]string {
	out := map[string][]string{}
	for _, g := range plan.Groups {
		for _, i := range g.Instances {
			for _, n := range i.Networks {
				if !n.IP.IsValid() {
					continue
				}
				tail := "." + label(g.Name) + "." + label(n.Name) + "." + label(plan.Deployment) + ".bosh"
				out[n.IP.String()] = append(out[n.IP.String()], i.ID+tail, strconv.Itoa(i.Index)+tail, "q-s0"+tail)
			}
		}
	}
	return out
}

// label is the director's canonical form of a name in DNS.
func label(s string) string { return strings.ToLower(strings.ReplaceAll(s, "_", "-")) }

// override replaces canaries and max_in_flight of every group ("3", "50%").
func (p *prepared) override(canaries, inFlight string) error {
	for _, o := range []struct {
		text string
		to   func(*manifest.Update) *manifest.Count
	}{
		{canaries, func(u *manifest.Update) *manifest.Count { return &u.Canaries }},
		{inFlight, func(u *manifest.Update) *manifest.Count { return &u.MaxInFlight }},
	} {
		if o.text == "" {
			continue
		}
		digits, percent := strings.CutSuffix(o.text, "%")
		n, err := strconv.Atoi(digits)
		if err != nil || n < 0 {
			return bosherr.New(bosherr.BadManifest, "'%s' is neither a number nor a percentage of instances", o.text)
		}
		for _, g := range p.manifest.InstanceGroups {
			*o.to(&g.Update) = manifest.Count{N: n, Percent: percent}
		}
	}
	return nil
}

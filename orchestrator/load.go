package orchestrator

import "github.com/serviceforge/serviceforge"

// Load is what the engine has to do, as far as this replica knows from memory.
type Load struct {
	Leading   bool
	Instances map[serviceforge.State]int
	Pools     []PoolLoad
	Seen      int64 // the revision of the store up to which all is known
}

// PoolLoad is the load of one pool.
type PoolLoad struct {
	Name      string
	Instances int
	InFlight  int // tasks of ours, running or about to be posted
	Queued    int // operations that wait for a worker
}

// Load looks at everything in memory once; no store and no director is asked.
func (e *Engine) Load() Load {
	load := Load{Leading: e.leads(), Instances: map[serviceforge.State]int{}}
	counts := map[string]*PoolStatus{}
	for _, p := range e.Pools.All() {
		counts[p.Name] = &PoolStatus{}
	}
	summaries := e.Store.Summaries()
	for n := range summaries {
		load.Instances[summaries[n].State]++
		if s := counts[summaries[n].Pool]; s != nil {
			s.count(&summaries[n])
		}
	}
	for _, p := range e.Pools.All() {
		s := counts[p.Name]
		load.Pools = append(load.Pools, PoolLoad{Name: p.Name, Instances: s.Instances, InFlight: s.InFlight, Queued: e.progress.Waiting(p.Name)})
	}
	_, _, load.Seen = e.Store.Summary("")
	return load
}

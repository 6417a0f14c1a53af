package dispatch

import "sync"

// Promises are the pools in whose lines instances wait that no record places
// yet: where a pool has no limit nothing needs to be claimed, and a place in a
// line costs no transaction. They are lost with the leader; the next one
// chooses again.
type Promises struct {
	mu     sync.Mutex
	made   map[string]promise // by instance
	counts map[promise]int    // a promise without a plan counts those of all plans
}

type promise struct{ pool, plan string }

// NewPromises returns none.
func NewPromises() *Promises {
	return &Promises{made: map[string]promise{}, counts: map[promise]int{}}
}

// Make notes the pool of an instance; "" takes the promise back.
func (p *Promises) Make(instance, pool, plan string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if old, ok := p.made[instance]; ok {
		delete(p.made, instance)
		p.count(old, -1)
	}
	if pool != "" {
		p.made[instance] = promise{pool, plan}
		p.count(promise{pool, plan}, 1)
	}
}

func (p *Promises) count(made promise, n int) {
	for _, key := range []promise{made, {pool: made.pool}} {
		if p.counts[key] += n; p.counts[key] == 0 {
			delete(p.counts, key)
		}
	}
}

// Pool is the one that the instance was promised, or "".
func (p *Promises) Pool(instance string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.made[instance].pool
}

// Use counts what is promised of a pool, and of that what is for a plan.
func (p *Promises) Use(pool, plan string) (instances, ofPlan int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts[promise{pool: pool}], p.counts[promise{pool, plan}]
}

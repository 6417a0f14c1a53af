package orchestrator_test

import "sync"

// faulty asks the fault of now: tests change it under d.mu while an engine runs.
func (d *scripted) faulty(when, name string) error {
	d.mu.Lock()
	fault := d.fault
	d.mu.Unlock()
	return fault(when, name)
}

// failing makes a director fail before each call, until heal is called.
func (d *scripted) failing(fail func(call string) error) (heal func()) {
	var mu sync.Mutex
	ill := true
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = func(when, call string) error {
		mu.Lock()
		now := ill
		mu.Unlock()
		if now && when == "before" {
			return fail(call)
		}
		return nil
	}
	return func() {
		mu.Lock()
		defer mu.Unlock()
		ill = false
	}
}

// dieAt makes everything fail from the n-th moment (before or after a call) on,
// as for a process that dies there; killed is closed then, moments counts them.
func (d *scripted) dieAt(n int) (killed chan struct{}, moments func() int) {
	killed = make(chan struct{})
	var mu sync.Mutex
	passed := 0
	d.fault = func(_, call string) error {
		mu.Lock()
		defer mu.Unlock()
		if passed++; passed == n {
			close(killed)
		}
		if passed >= n {
			return lost(call)
		}
		return nil
	}
	return killed, func() int {
		mu.Lock()
		defer mu.Unlock()
		return passed
	}
}

// failAt lets only the n-th moment of a kind of call fail.
func (d *scripted) failAt(n int, kind string) {
	var mu sync.Mutex
	passed := 0
	d.fault = func(_, call string) error {
		mu.Lock()
		defer mu.Unlock()
		if call == kind {
			passed++
		}
		if call == kind && passed == n {
			return lost(call)
		}
		return nil
	}
}

// live ends dieAt; no engine runs meanwhile.
func (d *scripted) live() { d.fault = func(string, string) error { return nil } }

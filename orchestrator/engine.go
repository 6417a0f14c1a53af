// Package orchestrator is the engine: it records wishes and fulfils them. The
// faces (OSB, admin, dashboard) call its request methods; Reconcile moves an
// instance one repeatable step at a time to where it should be.
package orchestrator

// Engine accepts requests on every replica and fulfils them on the leader.
type Engine struct{}

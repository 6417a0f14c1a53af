package dispatch

import (
	"context"
	"maps"
	"reflect"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/line"
	"github.com/serviceforge/serviceforge/orchestrator/progress"
	"github.com/serviceforge/serviceforge/orchestrator/work"
	"github.com/serviceforge/serviceforge/store"
)

const (
	// tellBytes is how much may be written of a pool in a second: a line of
	// many thousands is told less often.
	tellBytes = 32 << 10
	// toldPlaces bounds the places that are told; who is further back learns how
	// many wait.
	toldPlaces = 50_000
)

// flight is a slot that an instance holds.
type flight struct {
	plan, verb string
	since      time.Time
	whole      bool  // this leader saw its beginning
	revision   int64 // of the record that it began with
}

// left is about how long a slot will be held; false = not known. p.mu is held.
func (p *Dispatcher) left(f flight) (time.Duration, bool) {
	took, known := p.took.Of(f.verb, f.plan)
	return max(0, took-p.common.Now().Sub(f.since)), known
}

// learn notes how long a task took that succeeded. p.mu is held.
func (p *Dispatcher) learn(id string) {
	if f := p.inFlight[id]; f.whole {
		p.took.Learn(f.verb, f.plan, p.common.Now().Sub(f.since).Round(time.Millisecond))
	}
}

// Ran notes how long an errand took that succeeded: without it nothing could be
// foretold while one waits in the line.
func (p *Dispatcher) Ran(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.inFlight[id].verb == serviceforge.VerbErrand { // before a delete it has the slot of that
		p.learn(id)
	}
}

// RestoreTold takes over what was told last, by whichever leader.
func (p *Dispatcher) RestoreTold(t store.Told) {
	p.restored = t
	maps.Copy(p.took, t.Took)
}

// changed has tell look again.
func (p *Dispatcher) changed() {
	select {
	case p.news <- struct{}{}:
	default:
	}
}

// tell writes what the replicas are to know of the pool whenever it changed, at
// most every tellEvery, until ctx ends. While somebody waits or looks, time is
// a change too.
func (p *Dispatcher) tell(ctx context.Context) {
	before := p.restored
	for ctx.Err() == nil {
		if p.common.Gate.Wait(ctx) != nil {
			return
		}
		now := p.told()
		wait := progress.TellEvery
		if !reflect.DeepEqual(now, before) {
			size, err := p.common.Store.PutTold(ctx, p.Pool.Name, now, p.common.Term)
			if err == nil {
				before = now
			} else if ctx.Err() == nil {
				p.common.Log.Warn("the line of a pool was not told", "pool", p.Pool.Name, "error", serviceforge.DetailOf(err))
			}
			wait = max(wait, time.Duration(size)*time.Second/tellBytes)
		} else if now.Waiting == 0 && len(now.Tasks) == 0 {
			select {
			case <-ctx.Done():
			case <-p.news:
			}
			continue
		}
		work.Pause(ctx, wait)
	}
}

// told makes what the replicas are to know.
func (p *Dispatcher) told() store.Told {
	tasks := p.lookedAt()
	p.mu.Lock()
	defer p.mu.Unlock()
	breaker := p.Breaker.State()
	t := store.Told{Waiting: p.line.Len(), Trouble: breaker.Open()}
	for kind, took := range p.took {
		if t.Took == nil {
			t.Took = map[string]time.Duration{}
		}
		t.Took[kind] = line.Rough(took)
	}
	for id, task := range tasks {
		f := p.inFlight[id]
		if left, known := p.left(f); known && f.plan != "" {
			task.Left = line.Rough(left)
		}
		if t.Tasks == nil {
			t.Tasks = map[string]store.ToldTask{}
		}
		t.Tasks[task.operation] = task.ToldTask
	}
	if t.Waiting > 0 {
		p.foretell(&t)
	}
	return t
}

// foretell tells the line, and when whose turn will be. p.mu is held.
func (p *Dispatcher) foretell(t *store.Told) {
	known := !t.Trouble
	var left []time.Duration
	for _, f := range p.inFlight {
		l, ok := p.left(f)
		known = known && ok
		left = append(left, l)
	}
	slots := line.NewSlotTimes(max(1, p.Pool.MaxInFlight), left)
	last := time.Duration(-1)
	for waiting := range p.line.Turns(nil) {
		if t.Queue(waiting.Since); len(t.Line)/8 >= toldPlaces {
			return
		}
		var in, took time.Duration
		if known {
			took, known = p.took.Of(waiting.Verb, waiting.Plan)
			in = line.Rough(slots.Next(took))
		}
		if in != last {
			t.Turns = append(t.Turns, store.Turn{Place: len(t.Line) / 8, In: in})
			last = in
		}
	}
}

// lookedTask is a ToldTask with its operation.
type lookedTask struct {
	store.ToldTask
	operation string
}

// lookedAt are the pool's tasks that somebody looks at, by instance.
func (p *Dispatcher) lookedAt() map[string]lookedTask {
	tasks := map[string]lookedTask{}
	for _, id := range p.common.Board.Wanted() {
		s, found, _ := p.common.Store.Summary(id)
		if !found || s.Pool != p.Pool.Name || !s.HasTask() {
			continue
		}
		at := p.common.Board.At(id, s.OperationID)
		tasks[id] = lookedTask{store.ToldTask{Stage: at.Stage, Node: at.Node, Percent: at.Percent}, s.OperationID}
	}
	return tasks
}

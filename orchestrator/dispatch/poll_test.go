package dispatch

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
	"github.com/serviceforge/serviceforge/orchestrator/director"
	"github.com/serviceforge/serviceforge/orchestrator/work"
	"github.com/serviceforge/serviceforge/store"
)

// prompt is a director that answers at once, whatever it was asked to wait for:
// that its two tasks run.
type prompt struct {
	director.Director
	asked chan time.Time
}

func (d prompt) Tasks(context.Context, director.TaskQuery) ([]director.Task, error) {
	d.asked <- time.Now()
	return []director.Task{{ID: 2, State: director.TaskProcessing}, {ID: 1, State: director.TaskProcessing}}, nil
}

func (d prompt) Task(_ context.Context, id int, _ time.Duration) (director.Task, error) {
	d.asked <- time.Now()
	return director.Task{ID: id, State: director.TaskProcessing}, nil
}

// Calls that are made in a row learn nothing, and are missed when a task ends.
func TestADirectorThatAnswersAtOnceIsNotAskedInARow(t *testing.T) {
	for _, tasks := range []int{1, 2} {
		synctest.Test(t, func(t *testing.T) {
			d := prompt{asked: make(chan time.Time, 100)}
			pool, err := pools.Local()
			if err != nil {
				t.Fatal(err)
			}
			shared := &Common{Gate: work.NewGate(), Queue: work.NewQueue(work.OneLane), Now: time.Now, PostTimeout: time.Second}
			shared.Gate.Set(store.Switch{})
			p := newDispatcher(shared, pool, d, newBudget())
			for task := range tasks {
				p.Expect("instance", 1+task)
			}
			ctx, cancel := context.WithTimeout(t.Context(), window)
			defer cancel()
			p.watch(ctx)
			close(d.asked)
			last := <-d.asked // everything is news then
			n := 1
			for at := range d.asked {
				if n++; n > 2 && at.Sub(last) < taskHold {
					t.Errorf("%d tasks: call %d came %s after the one before", tasks, n, at.Sub(last))
				}
				last = at
			}
			if n < 8 {
				t.Errorf("%d tasks: %d calls in %s", tasks, n, window)
			}
		})
	}
}

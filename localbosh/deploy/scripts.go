package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/serviceforge/serviceforge/localbosh/bosherr"
	"github.com/serviceforge/serviceforge/localbosh/tasks"
	"github.com/serviceforge/serviceforge/localbosh/vm"
)

// jobs are the jobs the instance was last brought to, by name only.
func (i Instance) jobs() []vm.Job {
	out := make([]vm.Job, 0, len(i.Jobs))
	for _, name := range i.Jobs {
		out = append(out, vm.Job{Name: name})
	}
	return out
}

// runScripts runs bin/NAME of all jobs at once, as the agent does. A VM that is
// gone has no scripts to run when it is being stopped.
func runScripts(ctx context.Context, r *tasks.Run, v *vm.VM, name string, jobs []vm.Job) error {
	var (
		wg           sync.WaitGroup
		mu           sync.Mutex
		good, failed []string
		trouble      error
	)
	for _, j := range jobs {
		if !mayHave(j, "bin/"+name) {
			continue
		}
		wg.Go(func() {
			res, err := v.RunScript(ctx, j.Name, name)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				trouble = errors.Join(trouble, err)
			case res.Missing:
			case res.ExitCode != 0:
				r.Log().Error("script failed", "job", j.Name, "script", name, "exit", res.ExitCode, "stdout", res.Stdout, "stderr", res.Stderr)
				failed = append(failed, j.Name)
			default:
				good = append(good, j.Name)
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if trouble != nil {
		return trouble
	}
	if len(failed) == 0 {
		return nil
	}
	slices.Sort(failed)
	slices.Sort(good)
	text := fmt.Sprintf("%d of %d %s scripts failed. Failed Jobs: %s.", len(failed), len(failed)+len(good), name, strings.Join(failed, ", "))
	if len(good) > 0 {
		text += " Successful Jobs: " + strings.Join(good, ", ") + "."
	}
	return bosherr.New(bosherr.RPCRemoteException, "Action Failed get_task: Task %s result: %s", newUUID(), text)
}

// mayHave says whether a job can have a file; only a job whose rendered files are
// known can be said not to.
func mayHave(j vm.Job, path string) bool {
	return len(j.Files) == 0 || slices.ContainsFunc(j.Files, func(f vm.File) bool { return f.Path == path })
}

// drain runs the drain scripts. Each prints how many seconds to wait; a negative
// number means to wait that long and to ask again (BOSH: dynamic drain).
func drain(ctx context.Context, r *tasks.Run, v *vm.VM, jobs []vm.Job) error {
	return each(ctx, len(jobs), jobs, func(ctx context.Context, j vm.Job) error {
		mode := "job_shutdown"
		for {
			res, err := v.RunScript(ctx, j.Name, "drain", mode, "hash_unchanged")
			if err != nil || res.Missing {
				return err
			}
			seconds, perr := strconv.Atoi(strings.TrimSpace(res.Stdout))
			if res.ExitCode != 0 || perr != nil {
				r.Log().Error("drain failed", "job", j.Name, "exit", res.ExitCode, "stdout", res.Stdout, "stderr", res.Stderr)
				return bosherr.New(bosherr.RPCRemoteException,
					"Action Failed get_task: Task %s result: 1 of 1 drain scripts failed. Failed Jobs: %s.", newUUID(), j.Name)
			}
			if err := pause(ctx, time.Duration(max(seconds, -seconds))*time.Second); err != nil {
				return err
			}
			if seconds >= 0 {
				return nil
			}
			mode = "job_check_status"
		}
	})
}

// pause waits for d or for the end of ctx.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Package ownership tells whose a deployment is, and finds those on the directors
// that no instance has: only what is ours is ever touched.
package ownership

import (
	"context"
	"slices"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/director"
	"github.com/serviceforge/serviceforge/releases/deployed"
	"github.com/serviceforge/serviceforge/store"
)

// Owner says whose a deployment is.
type Owner int

// Whose it may be.
const (
	Nobody    Owner = iota // there is no such deployment
	Ours                   // this instance's
	Earlier                // that of an instance of the same id whose tombstone is there
	UnheardOf              // stamped for the instance's id, by an operation that neither record nor tombstone knows
	Others                 // somebody else's
)

// Of looks at the deployment of the instance's name. The stamp in its
// manifest decides; a deployment that never succeeded has no manifest, then the
// tasks do, and without those what the instance had wished to post when the name
// was free (DESIGN §4, "Stamp").
func Of(ctx context.Context, s *store.Store, d director.Director, i *serviceforge.Instance) (Owner, error) {
	manifest, err := d.Manifest(ctx, i.Deployment)
	if serviceforge.CodeOf(err) == serviceforge.NotFound {
		return Nobody, nil
	}
	if err != nil {
		return Others, err
	}
	if len(manifest) > 0 {
		stamp, ok := deployed.StampOf(manifest)
		switch {
		case !ok || stamp.Broker != s.BrokerID() || stamp.Instance != i.ID:
			return Others, nil
		case slices.Contains(i.Operations, stamp.Operation) || len(i.Facts) > 0: // a record with facts may be a restored one
			return Ours, nil
		}
		buried, err := buriedOf(ctx, s, i)
		switch {
		case err != nil:
			return Others, err
		case slices.Contains(buried, stamp.Operation):
			return Earlier, nil
		}
		return UnheardOf, nil
	}
	tasks, err := d.Tasks(ctx, director.TaskQuery{Deployment: i.Deployment})
	if err != nil {
		return Others, err
	}
	buried, err := buriedOf(ctx, s, i)
	if err != nil {
		return Others, err
	}
	found := tracesOf(tasks, i.Deployment, i.Operations, buried).owner
	switch {
	case found != Nobody:
		return found, nil
	case i.Operation.Superseded.Verb == serviceforge.VerbDeploy: // a director may die when it has made the deployment and not yet the task
		return Ours, nil
	}
	return Others, nil
}

// buriedOf lists the operations of the earlier instances of the same id.
func buriedOf(ctx context.Context, s *store.Store, i *serviceforge.Instance) ([]string, error) {
	stone, err := s.Tombstone(ctx, i.ID)
	switch {
	case serviceforge.CodeOf(err) == serviceforge.NotFound:
		return nil, nil
	case err != nil || stone.Deployment != i.Deployment:
		return nil, err
	}
	return stone.Operations, nil
}

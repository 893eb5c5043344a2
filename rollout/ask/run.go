package ask

import (
	"context"
	"sync"
	"time"

	"wasmxds/definition"
	"wasmxds/rollout"
)

// Open is a change that is on its way, and its policy.
type Open struct {
	Policy *definition.Rollout
	Change Change
}

// Run looks at what open gives every few seconds, and tells what the judges
// said of a change as soon as all of its own have answered. A change that is
// still being looked at is not looked at twice. Both functions are called from
// goroutines of Run's, tell from several at once; Run returns when ctx has
// ended and all of them have.
//
// A change may have gone on to another wave meanwhile: what is told is of the
// wave that open gave.
func (a *Asker) Run(ctx context.Context, open func() []Open, tell func(Change, []rollout.VerdictStatus)) {
	var looks sync.WaitGroup
	defer looks.Wait()
	under := &underWay{ids: map[string]bool{}}
	every := time.NewTicker(Every)
	defer every.Stop()
	for {
		for _, o := range open() {
			if o.Policy == nil || len(o.Policy.Ask) == 0 || !under.begin(o.Change.ID) {
				continue
			}
			looks.Go(func() {
				defer under.end(o.Change.ID)
				said := a.Look(ctx, o.Policy, o.Change)
				if ctx.Err() == nil {
					tell(o.Change, said)
				}
			})
		}
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
	}
}

// underWay are the changes that are being looked at.
type underWay struct {
	mu  sync.Mutex
	ids map[string]bool
}

func (u *underWay) begin(id string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ids[id] {
		return false
	}
	u.ids[id] = true
	return true
}

func (u *underWay) end(id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.ids, id)
}

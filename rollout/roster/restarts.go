package roster

import (
	"maps"
	"time"
)

const (
	// restartWithin is how long an Envoy may have been away that has restarted: a
	// supervisor that starts one again and again waits for up to five minutes.
	restartWithin = 10 * time.Minute
	// handOver is how long after an Envoy has come to a server as new another may say
	// that the one before is gone. One that starts hot, beside the one before, has that
	// there for much longer, and is no restart.
	handOver = 2 * time.Second
	// mostLeft is how many Envoys are remembered that have gone.
	mostLeft = 20_000
)

// restarts tell which Envoys have come back as new, maybe to another server.
type restarts struct {
	has   map[string]bool      // Envoys that are there have something of what they were sent
	left  map[string]time.Time // when those went that did
	fresh map[string]time.Time // when those came as new that another server had still
}

func newRestarts() restarts {
	return restarts{has: map[string]bool{}, left: map[string]time.Time{}, fresh: map[string]time.Time{}}
}

// anew says whether an Envoy that has nothing has come back as new. known: the server
// that it is connected to has seen it before; holders are how many have it.
func (r *restarts) anew(now time.Time, id string, known bool, holders int) bool {
	left, was := r.left[id]
	known = known || r.has[id] || was && now.Sub(left) < restartWithin
	switch {
	case !known:
		return false
	case holders > 1:
		r.fresh[id] = now
		return false
	}
	delete(r.left, id)
	delete(r.has, id)
	return true
}

// settled notes that an Envoy runs something of what it was sent. That it came back as
// new is not told after that: it would say that it runs nothing.
func (r *restarts) settled(id string) {
	r.has[id] = true
	delete(r.fresh, id)
}

// handedOver says whether an Envoy whom a server has no more, and another has, has
// come to that one as new.
func (r *restarts) handedOver(now time.Time, id string) bool {
	came, is := r.fresh[id]
	delete(r.fresh, id)
	if is = is && now.Sub(came) < handOver; is {
		delete(r.has, id)
	}
	return is
}

// went notes that an Envoy has gone.
func (r *restarts) went(now time.Time, id string, had bool) {
	had = had || r.has[id]
	delete(r.has, id)
	delete(r.fresh, id)
	if !had {
		return
	}
	if len(r.left) >= mostLeft {
		maps.DeleteFunc(r.left, func(_ string, at time.Time) bool { return now.Sub(at) >= restartWithin })
	}
	if len(r.left) < mostLeft {
		r.left[id] = now
	}
}

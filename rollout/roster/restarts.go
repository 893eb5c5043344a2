package roster

import (
	"maps"
	"time"
)

const (
	// restartWithin is how long an Envoy that restarts may be away. A supervisor that
	// starts one repeatedly waits for up to five minutes.
	restartWithin = 10 * time.Minute
	// handOver is how long after an Envoy has connected to a replica without resources
	// another may report that its predecessor is gone. During a hot restart the predecessor
	// stays much longer, so that is no restart.
	handOver = 2 * time.Second
	// mostLeft is how many disconnected Envoys are remembered.
	mostLeft = 20_000
)

// restarts determines which Envoys have restarted, even if they connect to another replica.
type restarts struct {
	has   map[string]bool      // connected Envoys that have something they were sent
	left  map[string]time.Time // when such Envoys disconnected
	fresh map[string]time.Time // when Envoys connected without resources while another replica still had them
}

func newRestarts() restarts {
	return restarts{has: map[string]bool{}, left: map[string]time.Time{}, fresh: map[string]time.Time{}}
}

// anew reports whether an Envoy without resources has restarted. known means that its
// replica has seen it before; holders is how many replicas have it.
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

// settled records that an Envoy runs something that it was sent. It is not reported as
// restarted after that, because this would mean that it runs nothing.
func (r *restarts) settled(id string) {
	r.has[id] = true
	delete(r.fresh, id)
}

// handedOver reports whether an Envoy that has left one replica had connected to another
// without resources, as after a restart.
func (r *restarts) handedOver(now time.Time, id string) bool {
	came, is := r.fresh[id]
	delete(r.fresh, id)
	if is = is && now.Sub(came) < handOver; is {
		delete(r.has, id)
	}
	return is
}

// went records that an Envoy has disconnected.
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

package xds

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"wasmxds/resource"
	"wasmxds/state"
)

// sentListeners saves the listeners that Envoys were sent, for the next process: in the
// state-of-the-world protocol, each response must contain the listeners that an Envoy
// should keep.
type sentListeners struct {
	kept state.View // keptListener, by version
	now  func() time.Time

	mu   sync.Mutex
	used map[string]time.Time // last saved time of use of each saved listener, by version
}

// keptListener is the saved form of a listener.
type keptListener struct {
	Name    string    `json:"name"`
	Version string    `json:"version"`
	Slots   []string  `json:"slots,omitempty"`
	Static  []string  `json:"static,omitempty"`
	Value   []byte    `json:"value"`
	Sum     string    `json:"sum"`  // of Value
	Used    time.Time `json:"used"` // when an Envoy was last seen to have it
}

const (
	sentKeep  = 30 * 24 * time.Hour // for Envoys that were away
	sentMost  = 2000                // listeners
	sentTouch = time.Hour           // how often the use of listeners is saved
)

func newSentListeners(kept state.View, now func() time.Time) *sentListeners {
	return &sentListeners{kept: kept, now: now, used: map[string]time.Time{}}
}

// load returns the saved listeners, and removes those that are old or were modified.
func (a *sentListeners) load(ctx context.Context) []*resource.Listener {
	a.mu.Lock()
	defer a.mu.Unlock()
	listeners := map[string]*resource.Listener{}
	state.Each(ctx, a.kept, "a listener that was sent", func(version string, c keptListener) error {
		l, err := c.listener(version)
		if err != nil {
			return err
		}
		listeners[version], a.used[version] = l, c.Used
		return nil
	})
	a.trim()
	var out []*resource.Listener
	for _, version := range a.newest() {
		out = append(out, listeners[version])
	}
	return out
}

// listener returns the listener that is saved at a version.
func (c *keptListener) listener(version string) (*resource.Listener, error) {
	r := &resource.Resource{TypeURL: resource.ListenerType, Name: c.Name, Version: c.Version, Value: c.Value}
	if c.Version != version || c.Sum != resource.VersionOf(c.Value) {
		return nil, errors.New("its content is not what was written")
	}
	return &resource.Listener{Resource: r, Slots: c.Slots, Static: c.Static}, nil
}

func decodeListener(version string, value []byte) (*resource.Listener, time.Time, error) {
	var c keptListener
	if err := json.Unmarshal(value, &c); err != nil {
		return nil, time.Time{}, err
	}
	l, err := c.listener(version)
	return l, c.Used, err
}

// seen records that an Envoy had a listener, of this replica or another.
func (a *sentListeners) seen(version string, used time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.used[version].Before(used) {
		a.used[version] = used
	}
}

// gone records that a listener is no longer saved.
func (a *sentListeners) gone(version string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.used, version)
}

// newest returns the versions of the saved listeners, most recently used first. The caller
// holds a.mu.
func (a *sentListeners) newest() []string {
	versions := make([]string, 0, len(a.used))
	for v := range a.used {
		versions = append(versions, v)
	}
	slices.SortFunc(versions, func(x, y string) int { return a.used[y].Compare(a.used[x]) })
	return versions
}

// trim removes listeners that are old or too many. The caller holds a.mu.
func (a *sentListeners) trim() {
	now := a.now()
	for i, v := range a.newest() {
		if i >= sentMost || now.Sub(a.used[v]) >= sentKeep {
			delete(a.used, v)
			a.kept.Remove(v)
		}
	}
}

// sent is called for each listener that is sent for the first time. It does not block.
func (a *sentListeners) sent(l *resource.Listener) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.now().Sub(a.used[l.Version]) >= sentTouch { // otherwise another replica has just saved it
		a.keep(l)
	}
}

// keep saves a listener as in use now. The caller holds a.mu.
func (a *sentListeners) keep(l *resource.Listener) {
	now := a.now()
	a.used[l.Version] = now
	a.kept.Put(l.Version, listenerInUse{l, now})
}

// run saves which listeners are in use, as held returns them, until ctx ends: they expire
// by the time when an Envoy was last seen to have them.
func (a *sentListeners) run(ctx context.Context, held func() []*resource.Listener) {
	ticker := time.NewTicker(sentTouch)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			a.touch(held())
			return
		case <-ticker.C:
			a.touch(held())
		}
	}
}

// touch saves that listeners are in use, unless that was saved recently.
func (a *sentListeners) touch(listeners []*resource.Listener) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, l := range listeners {
		if used, there := a.used[l.Version]; !there || a.now().Sub(used) >= sentTouch {
			a.keep(l)
		}
	}
	a.trim()
}

// listenerInUse encodes as a keptListener.
type listenerInUse struct {
	*resource.Listener
	used time.Time
}

func (k listenerInUse) MarshalJSON() ([]byte, error) {
	return json.Marshal(keptListener{k.Name, k.Version, k.Slots, k.Static, k.Value, resource.VersionOf(k.Value), k.used})
}

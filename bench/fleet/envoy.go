package fleet

import (
	"context"
	"maps"
	"net"
	"slices"
	"strings"
	"time"
)

// envoy is one Envoy. Only its goroutine uses it, except for code, which has a
// lock of its own.
type envoy struct {
	fleet *Fleet
	n     int
	role  Role
	ip    net.IP

	server int // number of the server that is next; it only grows

	subs      [kinds]sub
	listeners []listener
	slots     map[string]*slot
	routes    map[string]*content
	code      cache
	met       *Goal     // the last goal that it met
	pushes    int64     // extension responses
	last      time.Time // of the last of them
	ended     time.Time

	conn    *conn
	told    bool // it has sent its node on this stream
	resp    response
	scratch []byte
	applied bool // it has applied something since the last flush
}

// sub is the subscription to a type.
type sub struct {
	asked   bool   // it has sent a request on this stream
	version string // state of the world: the last one that was acknowledged
	nonce   string
	names   []string          // sorted; nil: all resources
	have    map[string]string // versions by name
}

type listener struct {
	*content
	warming bool
}

// slot is what Envoy has for one extension configuration.
type slot struct {
	last, active *content // the newest, even if it was rejected, and the one in use
	waiting      bool     // a warming listener waits for it
}

// resume subscribes on a new stream to what it subscribed to before.
func (e *envoy) resume() {
	e.told = false
	for k := range kinds {
		e.subs[k].asked, e.subs[k].nonce = false, ""
	}
	e.subscribe(clusters)
	if len(e.subs[clusters].have) > 0 {
		e.subscribe(listeners)
	}
	e.askForNames()
}

// subscribe sends the first request of a type on this stream.
func (e *envoy) subscribe(k kind) {
	s := &e.subs[k]
	if s.asked {
		return
	}
	s.asked = true
	r := request{kind: k, names: s.names}
	if e.fleet.options.Delta {
		r.initial = s.have
	} else {
		r.version = s.version
	}
	e.send(&r)
}

func (e *envoy) send(r *request) {
	if !e.told {
		e.told = true
		r.node = e.fleet.nodeFor(e.n)
	}
	e.scratch = r.append(e.scratch[:0], e.fleet.options.Delta)
	e.conn.send(e.scratch)
	if cap(e.scratch) > readBuffer {
		e.scratch = nil
	}
}

// wanted returns the names of a type to which its listeners refer.
func (e *envoy) wanted(k kind) []string {
	var names []string
	for _, l := range e.listeners {
		if k == routes {
			names = append(names, l.routes...)
		} else {
			names = append(names, l.slots...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// askForNames subscribes to changed names, with a request for each new name, as
// Envoy does when it finds them.
func (e *envoy) askForNames() {
	for _, k := range [...]kind{routes, extensions} {
		s := &e.subs[k]
		want := e.wanted(k)
		if !s.asked && len(s.names) > 0 {
			e.subscribe(k)
		}
		if slices.Equal(want, s.names) {
			continue
		}
		var gone []string
		kept := s.names[:0:0]
		for _, n := range s.names {
			if _, ok := slices.BinarySearch(want, n); ok {
				kept = append(kept, n)
			} else {
				gone = append(gone, n)
				delete(s.have, n)
			}
		}
		for _, n := range want {
			if _, ok := slices.BinarySearch(s.names, n); !ok {
				kept = append(kept, n)
				e.rename(k, slices.Clone(kept), []string{n}, nil)
			}
		}
		s.names = want
		if len(gone) > 0 {
			e.rename(k, want, nil, gone)
		}
	}
}

func (e *envoy) rename(k kind, all, added, gone []string) {
	s := &e.subs[k]
	r := request{kind: k, names: added, gone: gone}
	if !e.fleet.options.Delta {
		r.names, r.gone, r.version, r.nonce = all, nil, s.version, s.nonce
	}
	s.asked = true
	e.send(&r)
}

// receive takes a response and answers it.
func (e *envoy) receive(b []byte) error {
	f := e.fleet
	r := &e.resp
	if err := r.decode(b, f.options.Delta); err != nil {
		return err
	}
	f.responded()
	if r.kind == kinds {
		return nil
	}
	s := &e.subs[r.kind]
	s.nonce = string(r.nonce)
	refused, err := e.take(r)
	if err != nil {
		return err
	}
	answer := request{kind: r.kind, nonce: s.nonce, refused: refused}
	if refused == "" {
		s.version = f.contents.string(r.version)
		for _, n := range r.removed {
			delete(s.have, string(n))
		}
	} else {
		f.counters.refused.Add(1)
	}
	if !f.options.Delta {
		answer.version, answer.names = s.version, s.names
	}
	e.send(&answer)
	if r.kind == clusters {
		e.subscribe(listeners)
	}
	e.settle()
	return nil
}

// take applies a response. If it rejects the response, it returns why.
func (e *envoy) take(r *response) (refused string, err error) {
	s := &e.subs[r.kind]
	if s.have == nil {
		s.have = map[string]string{}
	}
	all := make([]*content, len(r.resources))
	for i, res := range r.resources {
		if all[i], err = e.fleet.contents.get(r.kind, res.value); err != nil {
			return "", err
		}
	}
	switch r.kind {
	case routes:
		if e.routes == nil {
			e.routes = map[string]*content{}
		}
		for _, c := range all {
			e.routes[c.name], e.applied = c, true
		}
	case listeners:
		refused = e.setListeners(all, r.removed)
	case extensions:
		refused = e.setSlots(all)
	}
	if refused != "" {
		return refused, nil
	}
	if !e.fleet.options.Delta && r.kind.wholeState() {
		clear(s.have)
	}
	for i, res := range r.resources {
		s.have[all[i].name] = e.fleet.contents.string(res.version)
	}
	return "", nil
}

func (e *envoy) setListeners(all []*content, removed [][]byte) (refused string) {
	var bad []string
	for _, l := range all {
		at := slices.IndexFunc(e.listeners, func(o listener) bool { return o.name == l.name })
		if at >= 0 && e.listeners[at].content == l {
			continue
		}
		if slices.ContainsFunc(l.slots, func(n string) bool { s := e.slots[n]; return s != nil && s.last != s.active }) {
			// Envoy builds a listener from the newest content of each slot, and rejects
			// again what it has rejected before.
			bad = append(bad, l.name)
			continue
		}
		for _, n := range l.slots {
			if e.slots[n] == nil {
				e.slots[n] = &slot{waiting: true}
			}
		}
		if at < 0 {
			e.listeners = append(e.listeners, listener{l, true})
		} else {
			e.listeners[at] = listener{l, true}
		}
	}
	e.listeners = slices.DeleteFunc(e.listeners, func(l listener) bool {
		if e.fleet.options.Delta {
			return slices.ContainsFunc(removed, func(n []byte) bool { return string(n) == l.name })
		}
		return !slices.ContainsFunc(all, func(c *content) bool { return c.name == l.name })
	})
	if len(bad) > 0 {
		return "Error adding/updating listener(s) " + strings.Join(bad, ": no\n") + ": no\n"
	}
	return ""
}

func (e *envoy) setSlots(all []*content) (refused string) {
	e.pushes++
	e.last = time.Now()
	for _, c := range all {
		s := e.slots[c.name]
		if s == nil || s.last == c {
			continue // the same bytes as before, which are not applied even if they were rejected
		}
		s.last = c
		if !e.accepts(c) {
			refused = "Unable to create Wasm plugin " + strings.TrimPrefix(c.name, "primer/")
			s.waiting = false
			continue
		}
		s.active, s.waiting = c, false
		e.applied = true
		if runs := e.fleet.options.Runs; runs != nil && c.filter != "" && !strings.HasPrefix(c.name, "primer/") {
			runs(nodeID(e.n), c.filter, c.revision)
		}
	}
	if refused != "" && !e.fleet.options.Delta {
		for _, s := range e.slots {
			s.waiting = false // one NACK ends all waits
		}
	}
	return refused
}

// accepts decides as createWasm of Envoy does. Without nack_on_code_cache_miss, an
// update whose module is missing is accepted without effect.
func (e *envoy) accepts(c *content) bool {
	if e.role == Refusing && c.revision > e.fleet.options.RefuseAbove {
		return false
	}
	if c.sha256 == "" || !c.nack || e.code.has(c.sha256) {
		return true
	}
	e.fleet.fetch(e, c)
	return false
}

// settle puts warm listeners in service, and subscribes to what is new.
func (e *envoy) settle() {
	for i, l := range e.listeners {
		e.listeners[i].warming = slices.ContainsFunc(l.slots, func(n string) bool { return e.slots[n].waiting }) ||
			slices.ContainsFunc(l.routes, func(n string) bool { _, ok := e.subs[routes].have[n]; return !ok })
	}
	e.askForNames()
	names := e.subs[routes].names
	if len(e.routes) > len(names) {
		maps.DeleteFunc(e.routes, func(n string, _ *content) bool { _, ok := slices.BinarySearch(names, n); return !ok })
	}
	names = e.subs[extensions].names
	if len(e.slots) > len(names) {
		maps.DeleteFunc(e.slots, func(n string, _ *slot) bool { _, ok := slices.BinarySearch(names, n); return !ok })
	}
}

// runs returns the content that requests meet of a filter: in the slot with its
// name, or in a slot whose content has its name.
func (e *envoy) runs(filter string) *content {
	if s := e.slots[filter]; s != nil {
		return s.active
	}
	for name, s := range e.slots {
		if s.active != nil && s.active.filter == filter && !strings.HasPrefix(name, "primer/") {
			return s.active
		}
	}
	return nil
}

// ready reports whether all its listeners are in service.
func (e *envoy) ready() bool {
	return len(e.listeners) > 0 && !slices.ContainsFunc(e.listeners, func(l listener) bool { return l.warming })
}

// run keeps it connected until ctx ends.
func (e *envoy) run(ctx context.Context) {
	defer func() { e.ended = time.Now() }()
	for pause := e.fleet.options.Backoff; ctx.Err() == nil; {
		began := time.Now()
		err := e.session(ctx)
		if ctx.Err() != nil {
			return
		}
		e.fleet.lost(e, err)
		e.server++
		if time.Since(began) > time.Second {
			pause = e.fleet.options.Backoff
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, 5*time.Second)
	}
}

func (e *envoy) session(ctx context.Context) error {
	nc, err := e.fleet.dial(ctx, e)
	if err != nil {
		return err
	}
	defer nc.Close()
	e.fleet.joined(e, nc)
	defer e.fleet.left(e)
	defer context.AfterFunc(ctx, func() { nc.Close() })()
	if e.role == Restless {
		defer time.AfterFunc(time.Second+time.Duration(e.n%1000)*time.Millisecond, func() { nc.Close() }).Stop()
	}
	e.conn = newConn(nc, e.fleet.opening)
	e.resume()
	for {
		if err := e.conn.flush(); err != nil {
			return err
		}
		if e.applied || e.met != e.fleet.goal.Load() {
			e.applied = false
			e.fleet.meets(e)
		}
		if e.role == Stalled && e.ready() {
			<-ctx.Done()
			return ctx.Err()
		}
		before := e.conn.received
		err := e.conn.read(e.receive)
		e.fleet.counters.bytes.Add(e.conn.received - before)
		if err != nil {
			return err
		}
	}
}

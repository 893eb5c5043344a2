// Package recording keeps requests that an Envoy tells of, for a while and up to a count,
// so that somebody can send them again. Secrets are masked before anything is kept.
//
// Start with [Recorder.Begin]; what comes goes to [Recorder.Take]. A Recorder is safe for
// concurrent use, and starts no goroutine.
package recording

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"wasmxds/signal"
)

// Bounds of recordings.
const (
	MaxTime  = 10 * time.Minute
	MaxCount = 1000
	maxOpen  = 8       // recordings at once
	maxBytes = 4 << 20 // of one
)

// Order says what is recorded.
type Order struct {
	ID      string    `json:"id"`
	Node    string    `json:"node"`
	Count   int       `json:"count"`   // at most so many requests
	Headers []string  `json:"headers"` // names, or globs as x-*; in lower case
	Since   time.Time `json:"since"`
	Until   time.Time `json:"until"`
	By      string    `json:"by"` // who asked for it
}

// Check says what is wrong with an order.
func (o Order) Check() error {
	switch d := o.Until.Sub(o.Since); {
	case o.Node == "":
		return errors.New("the node is missing")
	case d <= 0 || d > MaxTime:
		return fmt.Errorf("requests are recorded for up to %v", MaxTime)
	case o.Count < 1 || o.Count > MaxCount:
		return fmt.Errorf("1 to %d requests are recorded", MaxCount)
	case len(o.Headers) > 100:
		return errors.New("more than 100 names of headers")
	}
	for _, glob := range o.Headers {
		if _, err := path.Match(glob, ""); err != nil || glob == "" || len(glob) > 200 {
			return fmt.Errorf("%.200q is no name of a header, and no pattern like x-*", glob)
		}
	}
	return nil
}

// Request is one that was recorded.
type Request struct {
	At      time.Time   `json:"at"`
	Method  string      `json:"method"`
	Host    string      `json:"host"`
	Path    string      `json:"path"`
	Headers [][2]string `json:"headers,omitempty"`
	Status  int         `json:"status,omitempty"` // that the upstream answered; 0: it did not, or it is not known
}

// Recorder has the recordings of a server.
type Recorder struct {
	mu   sync.Mutex
	open map[string]*recording // by node
}

type recording struct {
	Order
	requests []Request
	size     int
	told     int           // requests that other servers have told of
	full     chan struct{} // closed when no more is taken
	isFull   bool
}

// State is a recording that is under way.
type State struct {
	Order
	Taken int `json:"taken"`
}

// ErrBusy says that there is a recording of the node, or too many of others.
var ErrBusy = errors.New("recording")

// Begin begins a recording. full is closed when it takes no more.
func (r *Recorder) Begin(o Order) (full <-chan struct{}, err error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := r.open[o.Node]; now != nil {
		return nil, fmt.Errorf("%w: requests of %s are being recorded by %s until %s", ErrBusy, o.Node, now.By, now.Until.UTC().Format(time.TimeOnly))
	}
	if len(r.open) >= maxOpen {
		return nil, fmt.Errorf("%w: requests of %d other nodes are being recorded, which is the most", ErrBusy, len(r.open))
	}
	if r.open == nil {
		r.open = map[string]*recording{}
	}
	made := &recording{Order: o, full: make(chan struct{})}
	r.open[o.Node] = made
	return made.full, nil
}

// Records says whether requests of a node are recorded.
func (r *Recorder) Records(node string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.open[node]
	return now != nil && !now.isFull
}

// Take keeps a request of a node.
func (r *Recorder) Take(node string, at time.Time, q signal.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.open[node]
	if now == nil || now.isFull {
		return
	}
	kept := Request{At: at, Method: q.Method, Host: host(q.Authority), Path: maskPath(q.Path)}
	if !q.Own {
		kept.Status = q.Status
	}
	for _, h := range q.Headers {
		if now.wants(h[0]) {
			kept.Headers = append(kept.Headers, [2]string{h[0], maskHeader(h[0], h[1])})
		}
	}
	now.size += kept.size()
	if now.size <= maxBytes {
		now.requests = append(now.requests, kept)
	}
	if now.size >= maxBytes || len(now.requests) >= now.Count {
		now.isFull = true
		close(now.full)
	}
}

func (o Order) wants(name string) bool {
	for _, glob := range o.Headers {
		if match, _ := path.Match(glob, name); match {
			return true
		}
	}
	return false
}

func (q Request) size() int {
	n := 200 + len(q.Method) + len(q.Host) + len(q.Path) // about
	for _, h := range q.Headers {
		n += 50 + len(h[0]) + len(h[1])
	}
	return n
}

// Taken is how many requests a recording has.
func (r *Recorder) Taken(node, id string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := r.open[node]; now != nil && now.ID == id {
		return len(now.requests)
	}
	return 0
}

// Elsewhere says how many requests of the same recording other servers have by now. It ends if
// they are enough together.
func (r *Recorder) Elsewhere(node, id string, told int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.open[node]
	if now == nil || now.ID != id {
		return
	}
	now.told = told
	if !now.isFull && len(now.requests)+told >= now.Count {
		now.isFull = true
		close(now.full)
	}
}

// End ends a recording, and gives what was recorded. One that has ended gives nothing.
func (r *Recorder) End(node, id string) []Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.open[node]
	if now == nil || now.ID != id {
		return nil
	}
	delete(r.open, node)
	return now.requests
}

// States are the recordings that are under way.
func (r *Recorder) States() []State {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []State
	for _, now := range r.open {
		all = append(all, State{now.Order, len(now.requests) + now.told})
	}
	return all
}

// Missing are the names of an order that no access log of listeners has: they log those of
// logged, and those that all have.
func (o Order) Missing(logged []string) (names []string) {
	for _, name := range o.Headers {
		pattern := strings.ContainsAny(name, `*?[\`)
		if !pattern && !slices.Contains(signal.LoggedHeaders, name) && !slices.Contains(logged, name) {
			names = append(names, name)
		}
	}
	return names
}

package harness

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Origin is a web server that modules are published on, with faults to order.
type Origin struct {
	site *site

	mu      sync.Mutex
	modules map[string][]byte // by path, with the slash
	faults  map[string]OriginFault
	hits    map[string]int
}

// OriginFault is what an [Origin] does instead of answering well. The zero
// value is no fault.
type OriginFault struct {
	Delay    time.Duration // before the answer
	Status   int           // instead of 200
	Body     []byte        // instead of the module, with status 200
	Truncate int           // so many bytes are sent of the length that was promised
	Hangup   bool          // the connection is cut instead of an answer
}

// StartOrigin returns an origin that listens.
func StartOrigin() (*Origin, error) {
	o := &Origin{modules: map[string][]byte{}, faults: map[string]OriginFault{}, hits: map[string]int{}}
	var err error
	o.site, err = serve(http.HandlerFunc(o.answer))
	return o, err
}

// Close ends the origin. Connections are refused from then on.
func (o *Origin) Close() error { return o.site.close() }

// Address is host:port.
func (o *Origin) Address() string { return o.site.addr }

// Put publishes a module, or a new one in its place, and returns its URL.
func (o *Origin) Put(name string, module []byte) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.modules["/"+name] = module
	return "http://" + o.site.addr + "/" + name
}

// Fail orders a fault for a module; the zero fault ends it.
func (o *Origin) Fail(name string, f OriginFault) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.faults["/"+name] = f
}

// Hits is how many requests for a module came.
func (o *Origin) Hits(name string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.hits["/"+name]
}

func (o *Origin) answer(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	module, ok := o.modules[r.URL.Path]
	fault := o.faults[r.URL.Path]
	o.hits[r.URL.Path]++
	o.mu.Unlock()

	if fault.Delay > 0 {
		select {
		case <-r.Context().Done():
			return
		case <-time.After(fault.Delay):
		}
	}
	switch {
	case fault.Hangup:
		panic(http.ErrAbortHandler)
	case fault.Status != 0:
		http.Error(w, http.StatusText(fault.Status), fault.Status)
		return
	case !ok:
		http.NotFound(w, r)
		return
	case fault.Body != nil:
		module = fault.Body
	}
	w.Header().Set("Content-Type", "application/wasm")
	if fault.Truncate > 0 {
		w.Header().Set("Connection", "close")
		w.Header().Set("Content-Length", strconv.Itoa(len(module)))
		_, _ = w.Write(module[:min(fault.Truncate, len(module))])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	// ServeContent answers conditional requests.
	w.Header().Set("ETag", `"`+SHA256(module)+`"`)
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(module)))
}

// SHA256 is the lower-case hex digest of a module, as definitions pin it.
func SHA256(module []byte) string {
	sum := sha256.Sum256(module)
	return hex.EncodeToString(sum[:])
}

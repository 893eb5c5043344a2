// Package serve is the HTTP server that Envoys download modules from.
//
// Start with [Server]. No client's downloads can block those of another:
// waiting downloads get places by peer, and a download whose client does not
// read continues without a place.
package serve

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"wasmxds/module"
)

// Event is an event of a download.
type Event int

const (
	Started Event = iota // requested; it may still wait for its turn
	Done                 // the client's machine has every byte
	Aborted              // it ended before Done
)

func (e Event) String() string {
	return [...]string{"started", "done", "aborted"}[e]
}

// Options are the options of New. Only Store is required.
type Options struct {
	Store *module.Store
	// OnDownload is called for each GET of a whole module: with Started, and
	// then with Done or Aborted, once each. The peer is that of the connection,
	// so behind a proxy it is the proxy. The size is that of the module in
	// bytes, for Done. It is called on the download's goroutine and must not
	// block.
	OnDownload func(peer netip.Addr, sha256 string, size int64, event Event)
	// Missing is called for a module that is not in the Store, to get it. It
	// must return an error soon if it can't. It may be nil.
	Missing   func(ctx context.Context, sha256 string) error
	Downloads int // maximum number of concurrent downloads; default 256
	Waiting   int // maximum number of waiting downloads; others get 503; default 16384
	Logger    *slog.Logger
}

// Server serves the modules of a [module.Store] at /modules/<sha256>.wasm. They
// never change, so they may be cached indefinitely. It is safe for concurrent
// use, and its memory doesn't grow with the size of modules: it sends small
// ones from memory ([module.Store.Small]), others from their files.
type Server struct {
	options   Options
	places    *places
	downloads counters
}

type counters struct {
	open, waiting, done, aborted, bytes, notFound, refused atomic.Int64
}

// Stats are counters since the start of the server, except for Open and
// Waiting.
type Stats struct {
	Open, Waiting int64 // current numbers
	Done, Aborted int64 // downloads of whole modules
	Bytes         int64 // sent, for whole modules and ranges
	NotFound      int64 // requests for modules that don't exist
	Refused       int64 // requests that were rejected because too many waited
}

const (
	folder = "/modules/"
	ext    = ".wasm"
)

// Path returns the path of a module on a Server.
func Path(sha256 string) string { return folder + sha256 + ext }

// stall is how long a client may take to receive one chunk of a module.
const (
	stall = 30 * time.Second
	chunk = 256 << 10 // in bytes
)

func New(options Options) *Server {
	options.Downloads = cmp.Or(options.Downloads, 256)
	options.Waiting = cmp.Or(options.Waiting, 16384)
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	return &Server{options: options, places: newPlaces(options.Downloads)}
}

// Stats returns the server's counters.
func (s *Server) Stats() Stats {
	c := &s.downloads
	return Stats{
		Open: c.open.Load(), Waiting: c.waiting.Load(),
		Done: c.done.Load(), Aborted: c.aborted.Load(), Bytes: c.bytes.Load(),
		NotFound: c.notFound.Load(), Refused: c.refused.Load(),
	}
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD are served here", http.StatusMethodNotAllowed)
		return
	}
	name, ok := strings.CutPrefix(r.URL.Path, folder)
	sha256, wasm := strings.CutSuffix(name, ext)
	if !ok || !wasm || !module.IsSHA256(sha256) {
		s.notFound(w)
		return
	}
	ctx, stop := context.WithCancel(r.Context())
	defer stop()
	d := &download{ResponseWriter: w, control: http.NewResponseController(w), server: s, request: r.WithContext(ctx), sha256: sha256}
	defer d.end()
	place, now := s.places.enter(peerOf(r.RemoteAddr), d.taken, func() { d.cut(stop) })
	defer s.places.leave(place)
	if !now && !s.wait(d, place) {
		return
	}
	d.extend()
	if d.plain() {
		if content := s.options.Store.Small(sha256); content != nil {
			s.send(d, content)
			return
		}
	}
	f, info, err := s.open(ctx, sha256)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			s.options.Logger.Error("cannot serve module", "sha256", sha256, "error", err)
		}
		s.notFound(w)
		return
	}
	defer f.Close()
	s.serve(d, f, info)
}

// open opens a module, which Missing may have to get first.
func (s *Server) open(ctx context.Context, sha256 string) (*os.File, module.Info, error) {
	f, info, err := s.options.Store.Open(sha256)
	if s.options.Missing == nil || !errors.Is(err, fs.ErrNotExist) {
		return f, info, err
	}
	if failed := s.options.Missing(ctx, sha256); failed != nil {
		return f, info, err
	}
	return s.options.Store.Open(sha256)
}

// wait waits for the request's turn.
func (s *Server) wait(d *download, p *place) bool {
	if d.plain() && s.has(d.sha256) {
		d.begin() // a waiting download is in progress, too
	}
	waiting := s.downloads.waiting.Add(1)
	defer s.downloads.waiting.Add(-1)
	if waiting <= int64(s.options.Waiting) && p.wait(d.request.Context()) {
		return true
	}
	s.downloads.refused.Add(1)
	d.Header().Set("Retry-After", "1")
	http.Error(d.ResponseWriter, "too many downloads", http.StatusServiceUnavailable)
	return false
}

func (s *Server) serve(d *download, f *os.File, info module.Info) {
	s.downloads.open.Add(1)
	defer s.downloads.open.Add(-1)
	d.describe()
	// The content never changes, so the ETag suffices and there is no
	// modification time.
	http.ServeContent(d, d.request, "", time.Time{}, f)
	d.sent(info.Size)
}

// send sends a module from memory.
func (s *Server) send(d *download, content []byte) {
	s.downloads.open.Add(1)
	defer s.downloads.open.Add(-1)
	d.describe()
	d.Header().Set("Accept-Ranges", "bytes")
	d.Header().Set("Content-Length", strconv.Itoa(len(content)))
	d.WriteHeader(http.StatusOK)
	_, _ = d.Write(content) // written has the result
	d.sent(int64(len(content)))
}

// sent waits until all of a module has arrived.
func (d *download) sent(size int64) {
	d.server.downloads.bytes.Add(d.written.Load())
	// Data that net/http, and then the kernel, has buffered only counts when it
	// has arrived: a client with a slow connection has a module long after it
	// was passed to the kernel.
	d.done = d.written.Load() == size && d.control.Flush() == nil && arrived(d.request.Context())
}

func (s *Server) has(sha256 string) bool {
	if s.options.Store.Small(sha256) != nil {
		return true
	}
	_, err := s.options.Store.Stat(sha256)
	return err == nil
}

func (d *download) tell(event Event) {
	o := &d.server.options
	if o.OnDownload == nil {
		return
	}
	peer, err := netip.ParseAddrPort(d.request.RemoteAddr)
	if err != nil {
		o.Logger.Warn("download from an unknown peer", "address", d.request.RemoteAddr, "error", err)
		return
	}
	o.OnDownload(peer.Addr().Unmap(), d.sha256, d.written.Load(), event)
}

func (s *Server) notFound(w http.ResponseWriter) {
	s.downloads.notFound.Add(1)
	http.Error(w, "no such module", http.StatusNotFound)
}

// download is a response with a module, or with a part of it. It counts the
// bytes, reports downloads of whole modules, and ends when the client stalls.
type download struct {
	http.ResponseWriter
	control *http.ResponseController
	server  *Server
	request *http.Request
	sha256  string
	written atomic.Int64
	begun   bool // the start of the download was reported
	done    bool // all of it has arrived
}

// plain reports whether the request is certain to be for a whole module.
func (d *download) plain() bool {
	h := d.request.Header
	return d.request.Method == http.MethodGet && h.Get("Range") == "" && h.Get("If-None-Match") == "" && h.Get("If-Match") == ""
}

// describe sets the headers of the content.
func (d *download) describe() {
	h := d.Header()
	h.Set("Content-Type", "application/wasm")
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("ETag", `"`+d.sha256+`"`)
}

func (d *download) begin() {
	if !d.begun && d.request.Method == http.MethodGet {
		d.begun = true
		d.tell(Started)
	}
}

func (d *download) end() {
	switch {
	case !d.begun:
	case d.done:
		d.server.downloads.done.Add(1)
		d.tell(Done)
	default:
		d.server.downloads.aborted.Add(1)
		d.tell(Aborted)
	}
}

func (d *download) WriteHeader(status int) {
	if status == http.StatusOK {
		d.begin()
	}
	d.ResponseWriter.WriteHeader(status)
}

func (d *download) Write(b []byte) (int, error) {
	d.extend()
	n, err := d.ResponseWriter.Write(b)
	d.written.Add(int64(n))
	return n, err
}

// ReadFrom lets the kernel copy from file to socket, chunk by chunk.
func (d *download) ReadFrom(src io.Reader) (n int64, err error) {
	limited, ok := src.(*io.LimitedReader)
	to, can := d.ResponseWriter.(io.ReaderFrom)
	if !ok || !can {
		return io.Copy(struct{ io.Writer }{d}, src)
	}
	for err == nil && limited.N > 0 {
		if err = d.request.Context().Err(); err != nil {
			break // it was cut off
		}
		d.extend()
		part := &io.LimitedReader{R: limited.R, N: min(chunk, limited.N)}
		var m int64
		if m, err = to.ReadFrom(part); m == 0 && err == nil {
			break // the file has become shorter
		}
		limited.N -= m
		n += m
		d.written.Add(m)
	}
	return n, err
}

// extend extends the deadline for the next write. It can fail only if a
// connection has no deadlines.
func (d *download) extend() {
	_ = d.control.SetWriteDeadline(time.Now().Add(stall))
	if d.request.Context().Err() != nil { // just cut off
		_ = d.control.SetWriteDeadline(time.Unix(1, 0))
	}
}

// cut ends the download, even in the middle of a write.
func (d *download) cut(stop func()) {
	stop()
	_ = d.control.SetWriteDeadline(time.Unix(1, 0))
}

// taken returns how many bytes the client's machine has acknowledged, of this
// download and of all before it on the connection. If this is not known, it
// returns how many were written.
func (d *download) taken() int64 {
	if n, ok := acknowledged(d.request.Context()); ok {
		return n
	}
	return d.written.Load()
}

// Package serve is the HTTP server that Envoys download modules from.
//
// Start with [Server]. It lets no client's downloads hold up another's: who
// waits gets a place by peer, and who does not read what it asked for goes on
// without one.
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

// Event is what becomes of a download.
type Event int

const (
	Started Event = iota // it was asked for; it may still wait in line
	Done                 // the client's machine has every byte
	Aborted              // it ended before
)

func (e Event) String() string {
	return [...]string{"started", "done", "aborted"}[e]
}

// Options are for New; only the Store must be given.
type Options struct {
	Store *module.Store
	// OnDownload is told of each GET of a whole module: Started, and then Done
	// or Aborted, once each. The peer is the connection's, so behind a proxy
	// the proxy. The size is the module's, in bytes, where the event is Done. It
	// is called on the download's goroutine and must not block.
	OnDownload func(peer netip.Addr, sha256 string, size int64, event Event)
	// Missing is asked to have a module in the Store that is not there; nil: nobody is.
	// It gives an error soon where it can't.
	Missing   func(ctx context.Context, sha256 string) error
	Downloads int // at once; default 256
	Waiting   int // downloads that wait in line for their turn, others get 503; default 16384
	Logger    *slog.Logger
}

// Server serves the modules of a [module.Store] at /modules/<sha256>.wasm. What is
// there never changes, so it may be cached for ever. It is safe for
// concurrent use, and its memory doesn't grow with the size of modules: small ones
// are sent from memory ([module.Store.Small]), others from their files.
type Server struct {
	options   Options
	places    *places
	downloads counters
}

type counters struct {
	open, waiting, done, aborted, bytes, notFound, refused atomic.Int64
}

// Stats counts since the start of the server, but for Open and Waiting.
type Stats struct {
	Open, Waiting int64 // now
	Done, Aborted int64 // downloads of whole modules
	Bytes         int64 // sent, of whole modules and ranges
	NotFound      int64 // requests for what isn't there
	Refused       int64 // requests for which the line was too long
}

const (
	folder = "/modules/"
	ext    = ".wasm"
)

// Path is the path at which a Server has a module.
func Path(sha256 string) string { return folder + sha256 + ext }

// stall is how long a client may take for one chunk of a module.
const (
	stall = 30 * time.Second
	chunk = 256 << 10 // bytes
)

func New(options Options) *Server {
	options.Downloads = cmp.Or(options.Downloads, 256)
	options.Waiting = cmp.Or(options.Waiting, 16384)
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	return &Server{options: options, places: newPlaces(options.Downloads)}
}

// Stats gives the server's counters.
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

// open opens a module, which may have to be got first.
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
		d.begin() // who waits in line is under way, too
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
	// The content never changes: no time of modification, the ETag says all.
	http.ServeContent(d, d.request, "", time.Time{}, f)
	d.sent(info.Size)
}

// send sends a module that is in memory.
func (s *Server) send(d *download, content []byte) {
	s.downloads.open.Add(1)
	defer s.downloads.open.Add(-1)
	d.describe()
	d.Header().Set("Accept-Ranges", "bytes")
	d.Header().Set("Content-Length", strconv.Itoa(len(content)))
	d.WriteHeader(http.StatusOK)
	_, _ = d.Write(content) // what was written tells
	d.sent(int64(len(content)))
}

// sent waits for all of a module to arrive.
func (d *download) sent(size int64) {
	d.server.downloads.bytes.Add(d.written.Load())
	// What net/http still buffers, and then the kernel, counts as the client's
	// only once it has arrived: a client on a slow line has a module long
	// after it was handed to the kernel.
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
// bytes, tells of whole modules, and ends when the client stalls.
type download struct {
	http.ResponseWriter
	control *http.ResponseController
	server  *Server
	request *http.Request
	sha256  string
	written atomic.Int64
	begun   bool // it was told that a whole module is under way
	done    bool // all of it has arrived
}

// plain tells whether the request is sure to be for a whole module.
func (d *download) plain() bool {
	h := d.request.Header
	return d.request.Method == http.MethodGet && h.Get("Range") == "" && h.Get("If-None-Match") == "" && h.Get("If-Match") == ""
}

// describe writes what goes before the content.
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
			break // the file is shorter than it was
		}
		limited.N -= m
		n += m
		d.written.Add(m)
	}
	return n, err
}

// extend gives the client time for what is written next. It can fail only
// where a connection has no deadlines.
func (d *download) extend() {
	_ = d.control.SetWriteDeadline(time.Now().Add(stall))
	if d.request.Context().Err() != nil { // cut off just now
		_ = d.control.SetWriteDeadline(time.Unix(1, 0))
	}
}

// cut ends the download, in the middle of a write as well.
func (d *download) cut(stop func()) {
	stop()
	_ = d.control.SetWriteDeadline(time.Unix(1, 0))
}

// taken is how many bytes the client's machine has acknowledged, of this
// download and of all before it on the connection; where that can't be told,
// how many were written.
func (d *download) taken() int64 {
	if n, ok := acknowledged(d.request.Context()); ok {
		return n
	}
	return d.written.Load()
}

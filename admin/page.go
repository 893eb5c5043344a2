package admin

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"wasmxds/definition"
	"wasmxds/printable"
	"wasmxds/xds/swap"
)

//go:embed web
var web embed.FS

// pages are the page's templates, by file name. They are the same for every
// Server and never change.
type pages map[string]*template.Template

func parsePages(now func() time.Time) pages {
	base := template.Must(template.New("").Funcs(template.FuncMap{
		"ago":              func(t time.Time) string { return ago(now(), t) },
		"iso":              func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) },
		"date":             func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
		"clock":            clock,
		"filterCrashes":    func(c *swap.Crashes) string { return FilterCrashes(c, clock) },
		"filterDraining":   func(d *swap.Draining) string { return FilterDraining(d, clock) },
		"listenerDraining": func(d *swap.Draining) string { return ListenerDraining(d, clock) },
		"bytes":            bytesText,
		"path":             url.PathEscape,
		"plural":           plural,
		"minus":            func(a, b int) int { return a - b },
		"short":            short,
		"shortID":          ShortID,
		"typeName":         typeName,
	}).ParseFS(web, "web/base.html", "web/parts.html"))
	p := pages{}
	for _, name := range []string{"overview", "filter", "envoys", "envoy", "rollouts", "rollout", "error"} {
		p[name] = template.Must(template.Must(base.Clone()).ParseFS(web, "web/"+name+".html"))
	}
	return p
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05 UTC") }

// frame is what every page has.
type frame struct {
	Title   string
	Path    string // of the page in the navigation that it is
	Version string
	Now     time.Time
	Started time.Time
}

func (s *Server) frame(title, path string) frame {
	return frame{Title: title, Path: path, Version: s.opts.Version, Now: s.opts.Now(), Started: s.started}
}

// handlePages serves the page and what belongs to it.
func (s *Server) handlePages(mux *http.ServeMux) {
	mux.HandleFunc("GET /{$}", s.serveOverview)
	mux.HandleFunc("GET /filters/{name...}", s.serveFilter)
	mux.HandleFunc("GET /envoys", s.serveEnvoys)
	mux.HandleFunc("GET /envoys/{id...}", s.serveEnvoy)
	mux.HandleFunc("GET /rollouts", s.serveRollouts)
	mux.HandleFunc("GET /rollouts/{id}", s.serveChange)
	mux.HandleFunc("POST /rollouts/{id}", s.serveForm)
	mux.HandleFunc("GET /events", s.serveEvents)
	for _, name := range []string{"style.css", "live.js", "icon.svg"} {
		mux.HandleFunc("GET /assets/"+name, func(w http.ResponseWriter, r *http.Request) {
			secure(w.Header())
			w.Header().Set("Cache-Control", "no-cache")
			http.ServeFileFS(w, r, web, "web/"+name)
		})
	}
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		s.missing(w, "There is no such page", r.URL.Path)
	})
}

// show renders a page whole before the first byte is sent.
func (s *Server) show(w http.ResponseWriter, code int, name string, data any) {
	var b bytes.Buffer
	if err := s.pages[name].ExecuteTemplate(&b, "base", data); err != nil {
		s.opts.Log.Error("page not rendered", "page", name, "error", err)
		answer(w, http.StatusInternalServerError, "the page could not be rendered; the log says why")
		return
	}
	secure(w.Header())
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	io.WriteString(w, printable.Lines(b.String())) // HTML's escapes leave what turns text around
}

// secure lets a page load nothing but from here, nor be framed.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin") // without any, forms would not say that they are ours
}

func (s *Server) missing(w http.ResponseWriter, title, text string) {
	s.show(w, http.StatusNotFound, "error", struct {
		frame
		Text string
	}{s.frame(title, ""), text})
}

// stateCount is an entry of the legend.
type stateCount struct {
	State swap.State
	Nodes int
}

func (s *Server) serveOverview(w http.ResponseWriter, r *http.Request) {
	o := s.overview()
	data := struct {
		frame
		O        *overview
		All      int // Envoys, also those that are away
		Headline string
		Bar      bar
		States   []stateCount
		Problems []definition.Problem
		Errors   bool
		Filters  []filterView
		Open     []changeView
	}{
		frame: s.frame("Fleet", "/"), O: o, All: o.Envoys + o.States[swap.Away], Headline: s.headline(o),
		Problems: append(o.Status.Definitions.Errors, o.Status.Definitions.Warnings...),
		Errors:   len(o.Status.Definitions.Errors) > 0,
	}
	data.Title = data.Headline
	data.Bar.Label = data.Headline
	for _, state := range []swap.State{swap.Running, swap.Fetching, swap.Waiting, swap.Failed, swap.Away} {
		if n := o.States[state]; n > 0 || state == swap.Running {
			data.States = append(data.States, stateCount{state, n})
			data.Bar.add(string(state), n, data.All)
		}
	}
	if moving, err := s.moving(r.Context()); err == nil { // else the page of rollouts says why not
		data.Open, _ = viewChanges(moving.Changes)
	}
	for _, f := range o.Status.Filters {
		data.Filters = append(data.Filters, viewFilter(f, o.Versions[f.Name]))
	}
	s.show(w, http.StatusOK, "overview", data)
}

// headline is the one sentence that somebody in a hurry reads.
func (s *Server) headline(o *overview) string {
	if n := o.Status.Envoys.Draining; n > 0 && s.ready() && !s.draining.Load() {
		return fmt.Sprintf("%s; older connections of %d are not drained yet", s.running(o), n)
	}
	return s.running(o)
}

// running is how many Envoys run what is wanted.
func (s *Server) running(o *overview) string {
	switch {
	case s.draining.Load():
		return "This xds-server is about to end"
	case !s.ready():
		return "Starting: the definitions are not loaded yet"
	case o.Envoys == 0 && o.Status.Envoys.Awaited > 0:
		return fmt.Sprintf("No Envoy is connected, %d may come back", o.Status.Envoys.Awaited)
	case o.Envoys == 0:
		return "No Envoy is connected"
	case o.Good == o.Envoys && o.Status.Envoys.Awaited > 0:
		return fmt.Sprintf("%s connected, and run what is wanted; %d away", plural(o.Envoys, "Envoy"), o.Status.Envoys.Awaited)
	case o.Good == 1 && o.Envoys == 1:
		return "The one Envoy runs what is wanted"
	case o.Good == o.Envoys:
		return fmt.Sprintf("All %d Envoys run what is wanted", o.Envoys)
	case o.Good == 1:
		return fmt.Sprintf("1 of %d Envoys runs what is wanted", o.Envoys)
	}
	return fmt.Sprintf("%d of %s run what is wanted", o.Good, plural(o.Envoys, "Envoy"))
}

// bar is a row of parts, each as long as its share.
type bar struct {
	Label string
	Parts []barPart
	x     float64
}

type barPart struct {
	Class string
	X, W  float64 // in percent
}

func (b *bar) add(class string, n, of int) {
	if n == 0 || of == 0 {
		return
	}
	w := 100 * float64(n) / float64(of)
	b.Parts = append(b.Parts, barPart{class, b.x, w})
	b.x += w
}

func short(version string) string { return version[:min(len(version), 12)] }

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// typeName is the last word of a type URL.
func typeName(url string) string { return url[strings.LastIndexAny(url, "./")+1:] }

func bytesText(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1000*1000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}

// ago says how long before now t was, as live.js does.
func ago(now, t time.Time) string {
	d := max(0, now.Sub(t))
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	}
	return fmt.Sprintf("%d d ago", int(d.Hours()/24))
}

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

	"wasmxds/printable"
	"wasmxds/rollout"
	"wasmxds/xds/swap"
)

//go:embed web
var web embed.FS

// pages are the templates of the pages, by file name. They never change.
type pages map[string]*template.Template

func parsePages(now func() time.Time) pages {
	base := template.Must(template.New("").Funcs(template.FuncMap{
		"ago":              func(t time.Time) string { return ago(now(), t) },
		"thousands":        thousands,
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
		"state":            stateText,
		"base":             base,
	}).ParseFS(web, "web/base.html", "web/parts.html"))
	p := pages{}
	for _, name := range []string{"overview", "filters", "filter", "envoys", "envoy", "rollouts", "rollout", "error"} {
		p[name] = template.Must(template.Must(base.Clone()).ParseFS(web, "web/"+name+".html"))
	}
	return p
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05 UTC") }

// frame has what every page shows.
type frame struct {
	Title   string
	Path    string // of the page's entry in the navigation
	Version string
	Now     time.Time
	Started time.Time
	Icon    string // file of an icon for the state of the fleet

	fleet    *overview
	moving   rollout.Status // zero if not known; a finding has the reason
	findings []finding
	verdict  verdict
}

func (s *Server) frame(r *http.Request, title, path string) frame {
	moving, err := s.moving(r.Context())
	return s.frameOf(title, path, moving, err)
}

// frameOf is like frame, for callers that have the status of changes already:
// it may come from another server, which takes long if that server is
// unavailable.
func (s *Server) frameOf(title, path string, moving rollout.Status, err error) frame {
	f := frame{Title: title, Path: path, Version: s.opts.Version, Now: s.opts.Now(), Started: s.started, fleet: s.overview()}
	if err == nil {
		f.moving = moving
	}
	f.findings = s.findings(f.fleet, &f.moving, err)
	f.verdict = s.verdict(f.fleet, f.findings)
	f.Icon = iconOf(f.verdict.Level)
	return f
}

func iconOf(l level) string {
	switch l {
	case levelBad, levelWarn, levelBusy:
		return "icon-" + string(l) + ".svg"
	}
	return "icon.svg"
}

// handlePages registers the handlers of the pages and their assets.
func (s *Server) handlePages(mux *http.ServeMux) {
	mux.HandleFunc("GET /{$}", s.serveOverview)
	mux.HandleFunc("GET /filters", s.serveFilters)
	mux.HandleFunc("GET /filters/{name...}", s.serveFilter)
	mux.HandleFunc("GET /envoys", s.serveEnvoys)
	mux.HandleFunc("GET /envoys/{id...}", s.serveEnvoy)
	mux.HandleFunc("GET /rollouts", s.serveRollouts)
	mux.HandleFunc("GET /rollouts/{id}", s.serveChange)
	mux.HandleFunc("POST /rollouts/{id}", s.serveForm)
	mux.HandleFunc("GET /events", s.serveEvents)
	for _, name := range []string{"style.css", "live.js", "icon.svg", "icon-busy.svg", "icon-warn.svg", "icon-bad.svg", "icon-off.svg"} {
		mux.HandleFunc("GET /assets/"+name, func(w http.ResponseWriter, r *http.Request) {
			secure(w.Header())
			w.Header().Set("Cache-Control", "no-cache")
			http.ServeFileFS(w, r, web, "web/"+name)
		})
	}
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		s.missing(w, r, "There is no such page", r.URL.Path)
	})
}

// show renders the whole page before it sends the first byte.
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
	io.WriteString(w, printable.Lines(b.String())) // HTML escaping keeps bidirectional characters
}

// secure sets headers that prevent a page from loading anything from elsewhere,
// and from being framed.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin") // with no-referrer, forms would have no origin
}

func (s *Server) missing(w http.ResponseWriter, r *http.Request, title, text string) {
	s.show(w, http.StatusNotFound, "error", struct {
		frame
		Text string
	}{s.frame(r, title, ""), text})
}

// stateText describes a state.
func stateText(state any) string {
	switch text := fmt.Sprint(state); text {
	case string(swap.Unasked):
		return "not asked for"
	case string(swap.Unplaced):
		return "ready, in no listener"
	default:
		return text
	}
}

func short(version string) string { return version[:min(len(version), 12)] }

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// typeName returns the last element of a type URL.
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

// ago formats how long before now t was, like live.js.
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

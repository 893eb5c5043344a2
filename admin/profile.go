package admin

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"time"

	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/module/dryrun"
	"wasmxds/printable"
	"wasmxds/try"
)

// Profiler finds out which functions of a filter's module instructions are
// spent in.
type Profiler interface {
	// Kept returns the profile that was made last, or nil.
	Kept(try.ProfileSubject) *try.Profiled
	// Profile makes it, if necessary.
	Profile(context.Context, try.ProfileSubject) (*try.Profiled, error)
}

// profileTime bounds how long a request waits for a profile. It is less than
// the time in which a response must be written.
const profileTime = 40 * time.Second

// profileSubject returns the newest version of a filter that is good, with its
// tests. The error says why it can't be profiled.
func (s *Server) profileSubject(r *http.Request, name string) (subject try.ProfileSubject, err error) {
	l := s.loaded.Load()
	if l == nil || l.Set == nil {
		return subject, &refusal{http.StatusServiceUnavailable, "the definitions are not loaded yet: try again"}
	}
	var f *module.Filter
	for _, of := range l.Set.Filters {
		if of.Definition.Name == name {
			f = of
		}
	}
	switch {
	case f == nil:
		return subject, &refusal{http.StatusNotFound, fmt.Sprintf("there is no filter %q: xds-server status lists all filters", name)}
	case s.opts.Profiles == nil:
		return subject, &refusal{http.StatusConflict, "this xds-server makes no profiles"}
	case f.Definition.Untested() != "":
		return subject, &refusal{http.StatusConflict, fmt.Sprintf("%s %s", name, f.Definition.Untested())}
	case !f.Ready():
		return subject, &refusal{http.StatusConflict, fmt.Sprintf("the module of %s is not there: %s; try again when it is", name, f.Reason)}
	case s.secretFrom(r, f.Definition):
		return subject, &refusal{http.StatusForbidden, fmt.Sprintf("the configuration of %s comes from a Secret, so only clients with a token or a client certificate get its profile", name)}
	}
	return try.ProfileSubject{Filter: f.Definition, Module: f.Module, Tests: testsOf(l.Set, name)}, nil
}

func testsOf(set *module.Set, filter string) (tests []*definition.FilterTest) {
	for _, t := range set.Tests {
		if t.Filter == filter {
			tests = append(tests, t)
		}
	}
	return tests
}

// makeProfile makes a profile for a request, which waits for it.
func (s *Server) makeProfile(r *http.Request, subject try.ProfileSubject) (*try.Profiled, error) {
	ctx, cancel := context.WithTimeout(r.Context(), profileTime)
	defer cancel()
	made, err := s.opts.Profiles.Profile(ctx, subject)
	if err == nil {
		return made, nil
	}
	if _, only := errors.AsType[*dryrun.Unplayable](err); only {
		return nil, &refusal{http.StatusConflict, err.Error()}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, &refusal{http.StatusServiceUnavailable, fmt.Sprintf("it took more than %v: try again", profileTime)}
	}
	return nil, &refusal{http.StatusConflict, err.Error()}
}

// serveProfile handles GET /api/v1/profiles/NAME.
func (s *Server) serveProfile(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	if crossSite(r) {
		answer(w, http.StatusForbidden, "profiles are not made for other sites' pages")
		return
	}
	subject, err := s.profileSubject(r, name)
	if err != nil {
		answerRefusal(w, err)
		return
	}
	made, err := s.makeProfile(r, subject)
	if err != nil {
		answerRefusal(w, err)
		return
	}
	secure(w.Header())
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": fileName(name) + ".pb.gz"}))
	w.Header().Set("Cache-Control", "no-store")
	w.Write(made.Profile.Encode())
}

// crossSite reports whether a browser sends a request for another site's page.
func crossSite(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return site == "cross-site" || site == "same-site" // another port is another server
}

// fileName returns a filter's name as a file can have it.
func fileName(name string) string {
	b := []byte(printable.Text(name))
	for i, c := range b {
		if c == '/' || c == '\\' || c >= 0x80 {
			b[i] = '-'
		}
	}
	return string(b)
}

// profileView is the profile on a filter's page.
type profileView struct {
	Why     string // why there is none; "": it was not asked for, or is there
	Flame   *flame
	Played  string // what was played
	Partial string // what was left out; "": nothing
}

// viewProfile returns the profile of a filter, or nil if it can't have one. It
// is made only if this page asks for that, by ?profile=; the value is the part
// that is shown.
func (s *Server) viewProfile(r *http.Request, name string) *profileView {
	if s.opts.Profiles == nil {
		return nil
	}
	query := r.URL.Query()
	asked := query.Has("profile") && !crossSite(r)
	subject, err := s.profileSubject(r, name)
	if err != nil {
		if asked {
			return &profileView{Why: err.Error()}
		}
		return nil
	}
	made := s.opts.Profiles.Kept(subject)
	if made == nil && asked {
		if made, err = s.makeProfile(r, subject); err != nil {
			return &profileView{Why: err.Error()}
		}
	}
	if made == nil {
		return &profileView{}
	}
	v := &profileView{Flame: newFlame(made.Profile, query.Get("profile")), Played: "GET /"}
	if made.Of > 0 {
		v.Played = plural(made.Cases, "case") + " of its FilterTests"
	}
	if made.Cases < made.Of {
		v.Partial = fmt.Sprintf("The other %d would have taken too long.", made.Of-made.Cases)
	}
	return v
}

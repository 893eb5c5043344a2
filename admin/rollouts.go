package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"wasmxds/rollout"
)

// Mover moves changes from wave to wave. The Driver of package rollout/driver
// implements it.
type Mover interface {
	// Status is called ten times a second by each client that waits for a
	// change.
	Status(ctx context.Context) (rollout.Status, error)
	// Do returns when the command has been executed. Its error is, or wraps,
	// [rollout.ErrUnknown] or [rollout.ErrNot] if a retry would be useless.
	Do(ctx context.Context, c rollout.Command) error
}

// Rollouts is the document GET /api/v1/rollouts.
type Rollouts struct {
	rollout.Status
	Removal *Held `json:"removal,omitempty"` // held back until its id is promoted
}

// Operation is a command with its result: the change as it is now (for a
// rollback, the one that undoes), or what was removed.
type Operation struct {
	Done    rollout.Verb          `json:"done"`
	Change  *rollout.ChangeStatus `json:"change,omitempty"`
	Removal *Held                 `json:"removal,omitempty"`
}

// CommandOptions is the body of a command. All fields are for rollback.
type CommandOptions struct {
	// To is a base to go back to, or the beginning of its id: what joined later
	// is undone as well.
	To     string `json:"to,omitempty"`
	AtOnce bool   `json:"atOnce,omitempty"` // everywhere now, not in the waves of the policy
}

// Find returns the change with an id, or the only one whose id begins with it.
// If several changes have the same id, it returns the newest.
func (r *Rollouts) Find(id string) (*rollout.ChangeStatus, error) {
	var found *rollout.ChangeStatus
	for i := range r.Changes {
		switch c := &r.Changes[i]; {
		case c.ID == id:
			return c, nil
		case id == "" || !strings.HasPrefix(c.ID, id):
		case found == nil:
			found = c
		case found.ID != c.ID:
			return nil, &refusal{http.StatusConflict, fmt.Sprintf("several changes begin with %s, %s and %s among them: give more of the id", id, found.ID, c.ID)}
		}
	}
	if found == nil {
		return nil, &refusal{http.StatusNotFound, fmt.Sprintf("no change has the id %s: GET /api/v1/rollouts, or xds-server rollout, has those that there are", id)}
	}
	return found, nil
}

// Fits reports whether a command makes sense for a change in a state. It
// determines which commands are offered; the Mover decides.
func Fits(verb rollout.Verb, s rollout.State) bool {
	under := s == rollout.Waiting || s == rollout.Rolling
	switch verb {
	case rollout.Pause:
		return under
	case rollout.Stop, rollout.Promote:
		return under || s == rollout.Paused
	case rollout.Resume:
		return s == rollout.Paused || s == rollout.Stopped
	case rollout.Rollback:
		return s == rollout.Done
	}
	return false
}

// since returns the first change after a base, to undo everything since that
// base together with the change with an id.
func (r *Rollouts) since(base, id string) (string, error) {
	at := -1
	for i, b := range r.Bases {
		switch {
		case base == "" || !strings.HasPrefix(b.ID, base):
		case at < 0:
			at = i
		case r.Bases[at].ID != b.ID:
			return "", &refusal{http.StatusConflict, fmt.Sprintf("several bases begin with %s, %s and %s among them: give more of the id", base, r.Bases[at].ID, b.ID)}
		}
	}
	if at < 0 {
		return "", &refusal{http.StatusNotFound, fmt.Sprintf("no base has the id %s: GET /api/v1/rollouts, or xds-server rollout, has those that are kept", base)}
	}
	if !slices.ContainsFunc(r.Bases[:at], func(b rollout.BaseStatus) bool { return b.ID == id }) {
		return "", &refusal{http.StatusConflict, fmt.Sprintf("change %s did not join after base %s: there is nothing to go back from", id, r.Bases[at].ID)}
	}
	return r.Bases[at-1].ID, nil
}

// changesLimit is the timeout for the status of changes.
const changesLimit = 5 * time.Second

// moving returns the status of changes. Without a Mover, there are none.
func (s *Server) moving(ctx context.Context) (rollout.Status, error) {
	if s.opts.Rollouts == nil {
		return rollout.Status{}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, changesLimit)
	defer cancel()
	st, err := s.opts.Rollouts.Status(ctx)
	if err != nil {
		return st, &refusal{http.StatusServiceUnavailable, fmt.Sprintf("how far changes are is not known right now (%v): try again", err)}
	}
	return st, nil
}

// rollouts returns the current document.
func (s *Server) rollouts(ctx context.Context) (*Rollouts, error) {
	st, err := s.moving(ctx)
	if err != nil {
		return nil, err
	}
	return s.rolloutsOf(&st), nil
}

func (s *Server) rolloutsOf(st *rollout.Status) *Rollouts {
	r := &Rollouts{Status: rollout.Status{Changes: []rollout.ChangeStatus{}, Bases: []rollout.BaseStatus{}, Held: []rollout.HeldStatus{}}}
	r.Changes, r.Bases, r.Held, r.Stalled = append(r.Changes, st.Changes...), append(r.Bases, st.Bases...), append(r.Held, st.Held...), st.Stalled
	if n := len(r.Bases); n > 0 {
		oldest := r.Bases[n-1]
		r.Bases = append(r.Bases, rollout.BaseStatus{ID: beforeAll + oldest.ID, Title: "before " + oldest.Title})
	}
	if l := s.loaded.Load(); l != nil && l.Held.Definitions > 0 {
		r.Removal = &l.Held
	}
	return r
}

// beforeAll begins the id of the oldest base: the state before the oldest
// change that is stored.
const beforeAll = "before-"

// ShortID abbreviates the id of a change or base for people.
func ShortID(id string) string {
	if isRemoval(id) {
		return id
	}
	of, digits := "", id
	if rest, ok := strings.CutPrefix(id, beforeAll); ok {
		of, digits = beforeAll, rest
	}
	return of + digits[:min(len(digits), 8)]
}

// unfinished returns the part of the status about changes.
func (s *Server) unfinished(ctx context.Context) (open []Rollout, held []rollout.HeldStatus, err error) {
	st, err := s.moving(ctx)
	for _, c := range st.Changes {
		if !c.State.Open() {
			continue
		}
		r := Rollout{ID: c.ID, Title: c.Title, State: c.State, Words: c.Words, Wave: c.Wave, Waves: len(c.Waves)}
		for _, d := range c.Definitions {
			if d.Kind == filterKind {
				r.Filters = append(r.Filters, d.Name)
			}
		}
		open = append(open, r)
	}
	return open, st.Held, err
}

// operateLimit is the timeout of a command.
const operateLimit = 10 * time.Second

// operate executes an operator's command and logs it.
func (s *Server) operate(ctx context.Context, verb rollout.Verb, id string, o CommandOptions, by string) (*Operation, error) {
	ctx, cancel := context.WithTimeout(ctx, operateLimit)
	defer cancel()
	done, err := s.command(ctx, verb, id, o, by)
	if err != nil {
		s.opts.Log.Warn("rollout command refused", "command", verb, "change", id, "by", by, "error", err)
		return nil, err
	}
	s.opts.Log.Info("rollout command", "command", verb, "change", id, "by", by)
	s.changes.Add(1)
	return done, nil
}

func (s *Server) command(ctx context.Context, verb rollout.Verb, id string, o CommandOptions, by string) (*Operation, error) {
	if verb != rollout.Rollback && o != (CommandOptions{}) {
		return nil, &refusal{http.StatusBadRequest, fmt.Sprintf("to and atOnce are for rollback, not for %s", verb)}
	}
	was, err := s.rollouts(ctx)
	if err != nil {
		return nil, err
	}
	if held := was.Removal; held != nil && isRemoval(id) && strings.HasPrefix(held.ID, id) {
		if verb != rollout.Promote {
			return nil, &refusal{http.StatusConflict, fmt.Sprintf("a removal that is held back can only be promoted, not told to %s", verb)}
		}
		if err := s.opts.Release(ctx, held.ID); err != nil {
			return nil, &refusal{http.StatusConflict, fmt.Sprintf("remove %d of %d definitions: %v", held.Definitions, held.Of, err)}
		}
		return &Operation{Done: verb, Removal: held}, nil
	}
	change, err := was.Find(id)
	if err != nil {
		return nil, err
	}
	c := rollout.Command{Verb: verb, ID: change.ID, AtOnce: o.AtOnce, By: by}
	if o.To != "" {
		if c.ID, err = was.since(o.To, change.ID); err != nil {
			return nil, err
		}
		c.Later = true
	}
	if err := s.opts.Rollouts.Do(ctx, c); err != nil {
		return nil, commandRefusal(err)
	}
	is, err := s.rollouts(ctx)
	if err != nil {
		return nil, err
	}
	return &Operation{Done: verb, Change: is.outcome(was, c.ID)}, nil
}

// outcome returns the change that a command has led to: a new one, as undoing a
// change is also a change, or else the one that the command was for. It returns
// nil if that is no longer in the document.
func (r *Rollouts) outcome(was *Rollouts, id string) *rollout.ChangeStatus {
	for i := range r.Changes {
		c := &r.Changes[i]
		if !slices.ContainsFunc(was.Changes, func(o rollout.ChangeStatus) bool { return o.ID == c.ID && o.Opened.Equal(c.Opened) }) {
			return c
		}
	}
	c, _ := r.Find(id)
	return c
}

// isRemoval reports whether an id is that of a removal that is held back, and
// not of a change.
func isRemoval(id string) bool { return strings.HasPrefix(id, "removal-") }

func commandRefusal(err error) error {
	code := http.StatusInternalServerError
	switch {
	case errors.Is(err, rollout.ErrUnknown):
		code = http.StatusNotFound
	case errors.Is(err, rollout.ErrNot):
		code = http.StatusConflict
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		code = http.StatusServiceUnavailable
	}
	return &refusal{code, err.Error()}
}

func (r *refusal) Error() string { return r.text }

// refusalOf converts an error to a response.
func refusalOf(err error) *refusal {
	var r *refusal
	if errors.As(err, &r) {
		return r
	}
	return &refusal{http.StatusInternalServerError, cmp.Or(err.Error(), "unknown")}
}

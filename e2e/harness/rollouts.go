package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Rollouts is the part of /api/v1/rollouts that tests look at.
type Rollouts struct {
	Changes []Change `json:"changes"`
}

// Change is a change in [Rollouts].
type Change struct {
	ID      string    `json:"id"`
	Title   string    `json:"title"`
	State   string    `json:"state"`
	Words   string    `json:"words"`
	Reason  string    `json:"reason"`
	Opened  time.Time `json:"opened"`
	Ended   time.Time `json:"ended"`
	Wave    int       `json:"wave"`
	Reached int       `json:"reached"`
	Settled int       `json:"settled"`
	Cohorts struct {
		New     []string `json:"new"`
		Control []string `json:"control"`
	} `json:"cohorts"`
}

// Rollouts asks for what has become of changes, the newest first.
func (s *Server) Rollouts(ctx context.Context) (r Rollouts, err error) {
	body, err := s.Get(ctx, "/api/v1/rollouts")
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(body, &r)
}

// Newest asks for the newest change, which has to be one of this title that was
// opened since then.
func (s *Server) Newest(ctx context.Context, title string, since time.Time) (Change, error) {
	r, err := s.Rollouts(ctx)
	if err != nil {
		return Change{}, err
	}
	if len(r.Changes) == 0 || r.Changes[0].Title != title || r.Changes[0].Opened.Before(since) {
		return Change{}, fmt.Errorf("there is no change of %s since then: %+v", title, r)
	}
	return r.Changes[0], nil
}

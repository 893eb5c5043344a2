package try

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/module/dryrun/profile"
)

// Profiles finds out in which functions a filter's module spends instructions. It plays the
// filter's FilterTests, or GET / if there are none, and keeps the last few profiles. It is
// safe for concurrent use. [NewProfiles] creates it.
//
// It plays only on request, one profile at a time, so that no change waits for it and nothing
// runs if nobody looks.
type Profiles struct {
	player Player
	turn   *semaphore.Weighted

	mu   sync.Mutex
	kept []kept // the last used one first
}

// Limits for what is played for a profile, and for what is kept.
const (
	maxKept         = 16
	maxProfileNodes = 4000
	maxProfileCases = 50
	maxProfileTime  = 20 * time.Second
	retryAfter      = time.Minute // after a profile that could not be made
)

// ProfileSubject is the subject of a profile: a filter with a module of the store, and its
// tests.
type ProfileSubject struct {
	Filter *definition.Filter
	Module module.Info
	Tests  []*definition.FilterTest
}

func (s ProfileSubject) same(other ProfileSubject) bool {
	return s.Filter == other.Filter && s.Module == other.Module && slices.Equal(s.Tests, other.Tests)
}

// Profiled is a profile, and what was played for it. It is immutable.
type Profiled struct {
	Profile *profile.Profile
	Cases   int // cases of FilterTests that were played; 0: GET /
	Of      int // all cases of the FilterTests
}

// kept is a profile, or the reason why it could not be made.
type kept struct {
	subject ProfileSubject
	made    *Profiled
	err     error
	at      time.Time
}

// NewProfiles returns a Profiles that plays with p.
func NewProfiles(p Player) *Profiles {
	return &Profiles{player: p, turn: semaphore.NewWeighted(1)}
}

// Kept returns the profile of s if there is one already, or nil.
func (p *Profiles) Kept(s ProfileSubject) *Profiled {
	k, _ := p.find(s)
	return k.made
}

// Profile returns the profile of s, and makes it if necessary. Its errors
// are those of a [Trial].
func (p *Profiles) Profile(ctx context.Context, s ProfileSubject) (*Profiled, error) {
	if err := p.turn.Acquire(ctx, 1); err != nil {
		return nil, fmt.Errorf("wait for other profiles: %w", err)
	}
	defer p.turn.Release(1)
	if k, known := p.find(s); known {
		return k.made, k.err
	}
	made, err := p.make(ctx, s)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("profile %s: %w", s.Filter.Name, ctx.Err())
	}
	p.keep(kept{subject: s, made: made, err: err, at: time.Now()})
	return made, err
}

func (p *Profiles) find(s ProfileSubject) (k kept, known bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.kept, func(k kept) bool { return k.subject.same(s) })
	if i < 0 {
		return kept{}, false
	}
	k = p.kept[i]
	p.kept = slices.Delete(p.kept, i, i+1)
	if k.err != nil && time.Since(k.at) > retryAfter {
		return kept{}, false
	}
	p.kept = slices.Insert(p.kept, 0, k)
	return k, true
}

func (p *Profiles) keep(k kept) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kept = slices.Insert(p.kept, 0, k)
	p.kept = p.kept[:min(len(p.kept), maxKept)]
}

// make plays each case in a VM of its own, as tests do, and adds up the instructions.
func (p *Profiles) make(ctx context.Context, s ProfileSubject) (*Profiled, error) {
	t := Trial{Player: p.player, Filter: s.Filter, Module: s.Module, Profile: true}
	made, sum := &Profiled{Of: count(s.Tests)}, new(profile.Profile)
	play := func(requests ...definition.TestStream) error {
		all, err := t.Together(ctx, requests...)
		if err != nil {
			return err
		}
		if of := all[len(all)-1].Profile; of != nil {
			sum.Add(of)
			sum.Trim(maxProfileNodes)
		}
		return nil
	}
	if made.Of == 0 {
		if err := play(Get()); err != nil {
			return nil, err
		}
	}
	began := time.Now()
	for _, test := range s.Tests {
		for _, c := range test.Cases {
			if made.Cases == maxProfileCases || time.Since(began) > maxProfileTime {
				break
			}
			if err := play(append(slices.Clone(c.Before), c.TestStream)...); err != nil {
				return nil, err
			}
			made.Cases++
		}
	}
	if len(sum.Nodes) == 0 {
		return nil, errors.New("no function of the module has run")
	}
	made.Profile = sum
	return made, nil
}

// Get returns GET /, which is played through filters that have no tests.
func Get() definition.TestStream {
	return definition.TestStream{
		Request: definition.TestMessage{Headers: [][2]string{
			{":method", "GET"}, {":path", "/"}, {":scheme", "http"}, {":authority", "localhost"},
		}},
		Response: definition.TestMessage{Headers: [][2]string{{":status", "200"}}},
	}
}

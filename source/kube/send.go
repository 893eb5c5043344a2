package kube

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"wasmxds/source"
	"wasmxds/source/internal/burst"
)

// run sends batches until ctx ends.
func (t *table) run(ctx context.Context, up chan<- source.Batch) {
	s := sender{table: t, began: time.Now()}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.wake:
		case <-timer.C:
		}
		b, wait := s.step(time.Now())
		if b != nil {
			select {
			case up <- *b:
			case <-ctx.Done():
				return
			}
		}
		timer.Reset(wait)
	}
}

// idle is the maximum time between two steps.
const idle = time.Minute

// sender has the state of what was sent.
type sender struct {
	*table
	began   time.Time
	sent    bool // a whole batch was sent
	unknown []unknown
}

// unknown is a part that can't be read.
type unknown struct {
	source.Unknown
	part  *part // nil: all parts
	state outcome
}

// step returns the batch to send at this time, or nil for none, and how long to
// wait before the next call.
func (s *sender) step(now time.Time) (*source.Batch, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if wait := s.began.Add(s.patience).Sub(now); !s.sent && wait > 0 && (slices.ContainsFunc(s.parts, (*part).undecided) || s.valuesWait()) {
		return nil, wait
	}
	if s.changes.Open() {
		if wait := s.changes.Due(s.quiet, s.max).Sub(now); wait > 0 {
			return nil, wait
		}
	}
	all, wait := s.unknowns(now)
	same := slices.EqualFunc(all, s.unknown, func(a, b unknown) bool { return a.part == b.part && a.state == b.state })
	b := &source.Batch{Source: Name, Changed: s.changes.First, Began: now}
	if !s.sent || !same {
		s.unknown, b.Whole = all, true
		for _, u := range all {
			b.Unknown = append(b.Unknown, u.Unknown)
		}
	}
	if !b.Whole {
		for _, name := range s.dead { // first, because it may exist again
			b.Docs = append(b.Docs, source.Document{Key: source.Key{Source: Name, Name: name}, Gone: true})
		}
	}
	for _, p := range s.parts {
		if p.known(now) {
			b.Docs = append(b.Docs, p.documents(b.Whole)...)
		}
	}
	s.dead, s.changes = nil, burst.Burst{}
	if !b.Whole && len(b.Docs) == 0 {
		return nil, wait
	}
	s.sent = true
	return b, wait
}

// undecided reports whether the part has no result yet.
func (p *part) undecided() bool { return !p.synced && (p.state == pending || p.state == answered) }

// known reports whether the objects of the part are up to date.
func (p *part) known(now time.Time) bool {
	return p.synced && (p.state != failing || now.Sub(p.since) < p.table.patience)
}

// documents returns the documents that have changed since the last batch, or
// all.
func (p *part) documents(all bool) []source.Document {
	var docs []source.Document
	for name, o := range p.objects {
		if !all && !o.fresh {
			continue
		}
		d := source.Document{Key: source.Key{Source: Name, Name: name}, Revision: strconv.FormatInt(o.generation, 10)}
		if o.fresh {
			d.Data, o.fresh = o.data, false
		}
		docs = append(docs, d)
	}
	slices.SortFunc(docs, func(a, b source.Document) int { return strings.Compare(a.Key.Name, b.Key.Name) })
	return docs
}

// unknowns returns the parts that can't be read, and how long this stays the
// same without another event.
func (s *sender) unknowns(now time.Time) ([]unknown, time.Duration) {
	var all []unknown
	wait, out := idle, 0
	for _, p := range s.parts {
		if p.synced && p.state == failing && p.known(now) {
			wait = min(wait, p.since.Add(s.patience).Sub(now))
		}
		if p.known(now) || p.state == absent && s.removeAll {
			continue
		}
		if p.state != absent && p.state != denied {
			out++
		}
		all = append(all, p.unknown())
	}
	if out > 0 && out == len(s.parts) {
		return []unknown{s.unreachable()}, wait
	}
	return all, wait
}

const stays = "what is known of it stays in force"

func (p *part) unknown() unknown {
	in := p.namespace
	if in == "" {
		in = "*"
	}
	u := unknown{part: p, state: p.state}
	u.Like = documentName(in, p.kind.name, "*")
	switch p.state {
	case absent:
		u.Slight = true
		u.Problem = p.problem("apply its CRD and the objects again; to remove them, start xds-server with --removals all",
			"the API server does not serve it any more: %s", stays)
	case denied:
		u.Problem = p.problem("grant list and watch of "+p.kind.plural+"."+p.kind.group+", or remove it from --kubernetes-kinds",
			"may not be read: %v; %s", p.why, stays)
	case failing:
		u.Slight = p.synced
		u.Problem = p.problem("", "can't be read: %v; %s", p.why, stays)
	default:
		u.Problem = p.problem("", "is not read yet; %s", stays)
	}
	return u
}

// unreachable returns all parts as one unknown, while the API server can't be
// reached.
func (s *sender) unreachable() unknown {
	u := unknown{state: failing}
	u.Problem.File = "Kubernetes"
	u.Problem.Message = "the API server does not answer; " + stays
	for _, p := range s.parts {
		u.Slight = u.Slight || p.synced
		if p.state == failing {
			u.Problem.Message = "the API server can't be reached: " + p.why.Error() + "; " + stays
		}
	}
	return u
}

package signal

import (
	"context"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Service and Method are the gRPC service and method of a [Receiver].
const (
	Service = "envoy.service.accesslog.v3.AccessLogService"
	Method  = "StreamAccessLogs"
)

// Limits. An Envoy has one stream per log and worker, and sends a message for about 16 KB
// of entries. The first message also contains the node.
const (
	maxMessage     = 256 << 10
	maxStreams     = 1 << 14
	maxNodeStreams = 256
	samplesPerNode = 2_000 // a second
	samplesInAll   = 20_000
	alarmsPerNode  = 100
	alarmsInAll    = 2_000
)

// Options configure a Receiver.
type Options struct {
	// May returns nil if the stream of ctx may speak for a node; otherwise its error ends
	// the stream. What a stream reports is attributed to that node only.
	May func(ctx context.Context, node, cluster string) error
	// Watched reports whether a node's samples are wanted. Those of other nodes cost next
	// to nothing.
	Watched func(node string) bool
	// Sampled is called with samples that arrived at a time. It must not keep the slice.
	Sampled func(node string, at time.Time, samples []Sample)
	// Records tells whether requests of a node are recorded: all that it samples.
	// Recorded is called for each. They are nil if nothing is recorded.
	Records  func(node string) bool
	Recorded func(node string, at time.Time, r Request)
	// Crashed is called for each alarm: as long as a VM stays crashed, for each request, up
	// to a hundred per second and node.
	Crashed func(Crash)
	Now     func() time.Time // nil: time.Now
}

// Receiver receives access logs over any transport. It is safe for concurrent use, and its
// callbacks must be as well.
type Receiver struct {
	options Options

	mu       sync.Mutex
	speakers map[string]*speaker
	samples  rate
	alarms   rate
	totals   Totals
}

// speaker is a node that has streams.
type speaker struct {
	streams         int
	samples, alarms rate
}

// Totals counts what a Receiver has accepted and rejected so far.
type Totals struct {
	Streams   int   // current number
	Samples   int64 // accepted
	Alarms    int64
	Unwatched int64 // samples of nodes that are not observed
	Dropped   int64 // entries above a rate limit
	Foreign   int64 // entries of another node than the stream's, and streams that may not speak for their node
	Malformed int64 // messages
}

// NewReceiver returns a Receiver.
func NewReceiver(o Options) *Receiver {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Receiver{options: o, speakers: map[string]*speaker{},
		samples: rate{perSecond: samplesInAll}, alarms: rate{perSecond: alarmsInAll}}
}

// Totals returns the totals so far.
func (r *Receiver) Totals() Totals {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.totals
}

// Stream is the stream of one worker of an Envoy.
type Stream struct {
	receiver *Receiver
	speaker  *speaker
	id       identifier
	listener string
	alarms   bool // otherwise samples
}

// Begin processes the first message of a stream, which names the node and the log. An error
// ends the stream, with its gRPC status. Otherwise the caller must pass further messages to
// [Stream.Receive], and call [Stream.Ended] once.
func (r *Receiver) Begin(ctx context.Context, first []byte) (*Stream, error) {
	var m message
	if err := r.read(&m, first); err != nil {
		return nil, err
	}
	s := &Stream{receiver: r, id: m.identifier}
	s.id.there = true
	name, listener, _ := strings.Cut(s.id.log, "/")
	switch {
	case s.id.long:
		return nil, status.Errorf(codes.InvalidArgument, "the identifier has a text of more than %d bytes", maxText)
	case s.id.node == "":
		return nil, status.Error(codes.InvalidArgument, "the first message of a stream names no node")
	case name == AlarmLog:
		s.alarms, s.listener = true, listener
	case s.id.log != SampleLog:
		return nil, status.Errorf(codes.InvalidArgument, "there is no log of this name: there are %s and %s", AlarmLog, SampleLog)
	}
	if err := r.options.May(ctx, s.id.node, s.id.cluster); err != nil {
		r.count(func(t *Totals) { t.Foreign++ })
		if _, ok := status.FromError(err); ok {
			return nil, err
		}
		return nil, status.Error(codes.PermissionDenied, err.Error())
	}
	if err := r.enter(s); err != nil {
		return nil, err
	}
	if err := s.take(&m); err != nil {
		s.Ended()
		return nil, err
	}
	return s, nil
}

// read decodes a message within the limits.
func (r *Receiver) read(m *message, b []byte) error {
	if len(b) > maxMessage {
		return status.Errorf(codes.ResourceExhausted, "a message has %d bytes, more than %d", len(b), maxMessage)
	}
	if err := m.read(b); err != nil {
		r.count(func(t *Totals) { t.Malformed++ })
		return status.Errorf(codes.InvalidArgument, "decode access logs: %v", err)
	}
	return nil
}

func (r *Receiver) count(add func(*Totals)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	add(&r.totals)
}

// enter registers a stream, if the limits allow it.
func (r *Receiver) enter(s *Stream) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.speakers[s.id.node]
	switch {
	case r.totals.Streams >= maxStreams:
		return status.Errorf(codes.ResourceExhausted, "there are %d streams of access logs, and no more are taken", maxStreams)
	case n != nil && n.streams >= maxNodeStreams:
		return status.Errorf(codes.ResourceExhausted, "the node has %d streams of access logs, and no more are taken", maxNodeStreams)
	case n == nil:
		n = &speaker{samples: rate{perSecond: samplesPerNode}, alarms: rate{perSecond: alarmsPerNode}}
		r.speakers[s.id.node] = n
	}
	n.streams++
	r.totals.Streams++
	s.speaker = n
	return nil
}

// Ended records that the stream has ended.
func (s *Stream) Ended() {
	r := s.receiver
	r.mu.Lock()
	defer r.mu.Unlock()
	r.totals.Streams--
	if s.speaker.streams--; s.speaker.streams == 0 {
		delete(r.speakers, s.id.node)
	}
}

// Receive processes a message. It does not keep b.
func (s *Stream) Receive(b []byte) error {
	var m message
	if err := s.receiver.read(&m, b); err != nil {
		return err
	}
	return s.take(&m)
}

// take processes a message's entries, as many as the rate limits allow.
func (s *Stream) take(m *message) error {
	if m.identifier.there && m.identifier != s.id {
		s.receiver.count(func(t *Totals) { t.Foreign += int64(max(m.entries, 1)) })
		return nil
	}
	if m.entries == 0 {
		return nil
	}
	now := s.receiver.options.Now()
	var err error
	if s.alarms {
		err = s.takeAlarms(now, m)
	} else {
		err = s.takeSamples(now, m)
	}
	if err != nil {
		s.receiver.count(func(t *Totals) { t.Malformed++ })
		return status.Errorf(codes.InvalidArgument, "decode access logs: %v", err)
	}
	return nil
}

func (s *Stream) takeAlarms(now time.Time, m *message) error {
	left := s.allow(now, m.entries, &s.speaker.alarms, &s.receiver.alarms)
	if left == 0 {
		return nil
	}
	taken := 0
	err := m.each(func(e *entry) bool {
		left--
		if c, ok := e.crash(); ok && !e.underWay {
			c.Node, c.Listener, c.At = s.id.node, s.listener, now
			s.receiver.options.Crashed(c)
			taken++
		}
		return left > 0
	})
	s.receiver.count(func(t *Totals) { t.Alarms += int64(taken) })
	return err
}

func (s *Stream) takeSamples(now time.Time, m *message) error {
	o := &s.receiver.options
	watched, records := o.Watched(s.id.node), o.Records != nil && o.Records(s.id.node)
	if !watched && !records {
		s.receiver.count(func(t *Totals) { t.Unwatched += int64(m.entries) })
		return nil
	}
	left := s.allow(now, m.entries, &s.speaker.samples, &s.receiver.samples)
	if left == 0 {
		return nil
	}
	var some [64]Sample
	n, taken := 0, 0
	flush := func() {
		if n > 0 {
			s.receiver.options.Sampled(s.id.node, now, some[:n])
		}
		taken, n = taken+n, 0
	}
	err := m.each(func(e *entry) bool {
		left--
		if !e.requested || e.underWay {
			return left > 0
		}
		if records {
			if r, ok := e.request(); ok {
				o.Recorded(s.id.node, now, r)
			}
		}
		if watched {
			some[n] = e.sample()
			if n++; n == len(some) {
				flush()
			}
		}
		return left > 0
	})
	flush()
	s.receiver.count(func(t *Totals) { t.Samples += int64(taken) })
	return err
}

// allow returns how many of n entries the rate limits allow, and counts the others as
// dropped.
func (s *Stream) allow(now time.Time, n int, own, all *rate) int {
	r := s.receiver
	r.mu.Lock()
	defer r.mu.Unlock()
	may := own.take(now, n)
	some := all.take(now, may)
	own.give(may - some)
	r.totals.Dropped += int64(n - some)
	return some
}

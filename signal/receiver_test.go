package signal

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	logv3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
)

// receiving is a Receiver and what it has told.
type receiving struct {
	*Receiver
	t       *testing.T
	now     time.Time
	samples map[string]int
	crashes []Crash
}

func receivingOf(t *testing.T) *receiving {
	r := &receiving{t: t, now: time.Unix(1_800_000_000, 0), samples: map[string]int{}}
	r.Receiver = NewReceiver(Options{
		May: func(_ context.Context, node, cluster string) error {
			if cluster != "edge" {
				return fmt.Errorf("may not be %s", node)
			}
			return nil
		},
		Watched: func(node string) bool { return strings.HasPrefix(node, "watched") },
		Sampled: func(node string, at time.Time, samples []Sample) {
			if !at.Equal(r.now) {
				t.Errorf("sampled at %v, want %v", at, r.now)
			}
			r.samples[node] += len(samples)
		},
		Crashed: func(c Crash) { r.crashes = append(r.crashes, c) },
		Now:     func() time.Time { return r.now },
	})
	return r
}

func (r *receiving) begin(node, log string, entries ...*logv3.HTTPAccessLogEntry) *Stream {
	r.t.Helper()
	s, err := r.Begin(r.t.Context(), encode(r.t, httpMessage(node, "edge", log, entries...)))
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

func (r *receiving) say(s *Stream, entries ...*logv3.HTTPAccessLogEntry) {
	r.t.Helper()
	if err := s.Receive(encode(r.t, httpMessage("", "", "", entries...))); err != nil {
		r.t.Fatal(err)
	}
}

func repeated(e *logv3.HTTPAccessLogEntry, n int) []*logv3.HTTPAccessLogEntry {
	all := make([]*logv3.HTTPAccessLogEntry, n)
	for i := range all {
		all[i] = e
	}
	return all
}

var (
	good  = httpEntry(200, viaUpstream, time.Millisecond)
	alarm = httpEntry(503, "wasm_fail_stream", time.Millisecond)
)

func TestReceive(t *testing.T) {
	r := receivingOf(t)
	s := r.begin("watched-1", SampleLog, good)
	r.say(s, repeated(good, 150)...)
	other := r.begin("other", SampleLog, good, good)
	a := r.begin("other", AlarmLog+"/web", alarm, good) // what is no alarm is none
	if got := r.samples["watched-1"]; got != 151 || r.samples["other"] != 0 {
		t.Errorf("sampled %v", r.samples)
	}
	want := Crash{Node: "other", At: r.now, Listener: "web", Details: "wasm_fail_stream"}
	if len(r.crashes) != 1 || r.crashes[0] != want {
		t.Errorf("crashes %+v, want %+v", r.crashes, want)
	}
	if got, want := r.Totals(), (Totals{Streams: 3, Samples: 151, Alarms: 1, Unwatched: 2}); got != want {
		t.Errorf("totals %+v, want %+v", got, want)
	}
	for _, s := range []*Stream{s, other, a} {
		s.Ended()
	}
	if got := r.Totals().Streams; got != 0 || len(r.speakers) != 0 {
		t.Errorf("%d streams, %d speakers are left", got, len(r.speakers))
	}
}

func TestStreamsThatAreRefused(t *testing.T) {
	r := receivingOf(t)
	for _, c := range []struct {
		message []byte
		want    codes.Code
	}{
		{encode(t, httpMessage("watched-1", "core", SampleLog, good)), codes.PermissionDenied},
		{encode(t, httpMessage("", "", "", good)), codes.InvalidArgument},
		{encode(t, httpMessage("watched-1", "edge", "other", good)), codes.InvalidArgument},
		{encode(t, httpMessage("watched-1", "edge", SampleLog+"/web", good)), codes.InvalidArgument},
		{encode(t, httpMessage(strings.Repeat("x", maxText+1), "edge", SampleLog, good)), codes.InvalidArgument},
		{[]byte{0xff}, codes.InvalidArgument},
		{nil, codes.InvalidArgument},
		{make([]byte, maxMessage+1), codes.ResourceExhausted},
	} {
		if _, err := r.Begin(t.Context(), c.message); status.Code(err) != c.want {
			t.Errorf("%.40q: %v, want %v", c.message, err, c.want)
		}
	}
	if got := r.Totals(); got.Streams != 0 || got.Foreign != 1 || got.Malformed != 1 || len(r.samples) != 0 {
		t.Errorf("totals %+v, samples %v", got, r.samples)
	}
	s := r.begin("watched-1", SampleLog)
	for _, b := range [][]byte{{0xff}, make([]byte, maxMessage+1)} {
		if err := s.Receive(b); err == nil {
			t.Errorf("%d bytes are taken", len(b))
		}
	}
	denied := status.Error(codes.ResourceExhausted, "too many")
	r.options.May = func(context.Context, string, string) error { return denied }
	if _, err := r.Begin(t.Context(), encode(t, httpMessage("n", "edge", SampleLog))); !errors.Is(err, denied) {
		t.Errorf("%v, want %v", err, denied)
	}
}

// TestOthersAreNotSpokenFor: a stream's node is who it began as, whatever it says
// later.
func TestOthersAreNotSpokenFor(t *testing.T) {
	r := receivingOf(t)
	s := r.begin("watched-1", SampleLog)
	for _, m := range [][]byte{
		encode(t, httpMessage("watched-2", "edge", SampleLog, good, good)),
		encode(t, httpMessage("watched-1", "edge", AlarmLog, alarm)),
		encode(t, httpMessage("watched-1", "core", SampleLog, good)),
	} {
		if err := s.Receive(m); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.Totals(); got.Foreign != 4 || got.Samples != 0 || len(r.samples) != 0 || len(r.crashes) != 0 {
		t.Errorf("totals %+v, samples %v, crashes %v", got, r.samples, r.crashes)
	}
	if err := s.Receive(encode(t, httpMessage("watched-1", "edge", SampleLog, good))); err != nil || r.samples["watched-1"] != 1 {
		t.Errorf("its own words again: %v, %v", err, r.samples)
	}
}

func TestRates(t *testing.T) {
	r := receivingOf(t)
	var streams []*Stream
	for i := range 12 {
		streams = append(streams, r.begin(fmt.Sprint("watched-", i), SampleLog))
	}
	for _, s := range streams {
		for range 5 {
			r.say(s, repeated(good, 500)...)
		}
	}
	sum := func() (n int) {
		for node, of := range r.samples {
			if of > samplesPerNode {
				t.Errorf("%d samples of %s", of, node)
			}
			n += of
		}
		return n
	}
	if n := sum(); n != samplesInAll {
		t.Errorf("%d samples in all, want %d", n, samplesInAll)
	}
	if got, want := r.Totals().Dropped, int64(12*2500-samplesInAll); got != want {
		t.Errorf("%d are dropped, want %d", got, want)
	}
	r.now = r.now.Add(100 * time.Millisecond)
	clear(r.samples)
	r.say(streams[11], repeated(good, 500)...)
	second := r.begin("watched-11", SampleLog, repeated(good, 500)...)
	if n := r.samples["watched-11"]; n != 1000 {
		t.Errorf("%d samples of a node that was not heard before, want 1000", n)
	}
	r.say(second, repeated(good, 500)...)
	r.now = r.now.Add(time.Hour)
	clear(r.samples)
	for range 10 {
		r.say(second, repeated(good, 500)...)
	}
	if n := sum(); n != samplesPerNode {
		t.Errorf("%d samples after an hour, want a second's", n)
	}
	// Alarms have rates of their own.
	a := r.begin("watched-11", AlarmLog, repeated(alarm, 500)...)
	r.say(a, alarm)
	if len(r.crashes) != alarmsPerNode {
		t.Errorf("%d alarms, want %d", len(r.crashes), alarmsPerNode)
	}
}

func TestStreamsAreBounded(t *testing.T) {
	r := receivingOf(t)
	first := encode(t, httpMessage("watched-1", "edge", SampleLog))
	var last *Stream
	for range maxNodeStreams {
		s, err := r.Begin(t.Context(), first)
		if err != nil {
			t.Fatal(err)
		}
		last = s
	}
	if _, err := r.Begin(t.Context(), first); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("one more of a node: %v", err)
	}
	last.Ended()
	if _, err := r.Begin(t.Context(), first); err != nil {
		t.Errorf("after one has ended: %v", err)
	}
	r.totals.Streams = maxStreams
	if _, err := r.Begin(t.Context(), encode(t, httpMessage("watched-2", "edge", SampleLog))); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("one more in all: %v", err)
	}
}

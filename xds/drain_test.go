package xds

import (
	"context"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"wasmxds/xds/swap"
)

// telling returns the metadata of a node with a drain time.
func telling(value any) *structpb.Struct {
	v, err := structpb.NewValue(value)
	if err != nil {
		panic(err) // a mistake of the test
	}
	ours := &structpb.Struct{Fields: map[string]*structpb.Value{"drainTime": v}}
	return &structpb.Struct{Fields: map[string]*structpb.Value{"wasmxds": structpb.NewStructValue(ours)}}
}

func TestDrainTime(t *testing.T) {
	none, err := structpb.NewStruct(map[string]any{"LABELS": map[string]any{"a": "b"}})
	if err != nil {
		t.Fatal(err)
	}
	flat, err := structpb.NewStruct(map[string]any{"wasmxds": "60s"})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		meta   *structpb.Struct
		want   time.Duration
		warned string // part of the error; "": none
	}{
		"no metadata":           {nil, 10 * time.Minute, ""},
		"other metadata":        {none, 10 * time.Minute, ""},
		"of another type":       {flat, 10 * time.Minute, ""},
		"a duration":            {telling("60s"), time.Minute, ""},
		"Go's way":              {telling("1h30m"), 90 * time.Minute, ""},
		"at once":               {telling("0s"), 0, ""},
		"a number":              {telling(90.0), 90 * time.Second, ""},
		"a fraction":            {telling(0.5), 500 * time.Millisecond, ""},
		"zero":                  {telling(0.0), 0, ""},
		"too long":              {telling("1000h"), 24 * time.Hour, ""},
		"too large a number":    {telling(1e300), 24 * time.Hour, ""},
		"without end":           {telling(math.Inf(1)), 24 * time.Hour, ""},
		"without a unit":        {telling("600"), 10 * time.Minute, `"600"`},
		"words":                 {telling(strings.Repeat("long ", 1000)), 10 * time.Minute, "no duration like 60s"},
		"empty":                 {telling(""), 10 * time.Minute, `""`},
		"negative":              {telling("-60s"), 10 * time.Minute, "-1m0s"},
		"a negative number":     {telling(-1.0), 10 * time.Minute, "-1"},
		"minus infinity":        {telling(math.Inf(-1)), 10 * time.Minute, "-Inf"},
		"not a number":          {telling(math.NaN()), 10 * time.Minute, "NaN"},
		"null":                  {telling(nil), 10 * time.Minute, "neither"},
		"a list":                {telling([]any{"60s"}), 10 * time.Minute, "neither"},
		"more than Go can hold": {telling("9999999999h"), 10 * time.Minute, "no duration"},
	} {
		got, err := drainTime(c.meta)
		if got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		switch {
		case (err != nil) != (c.warned != ""), err != nil && !strings.Contains(err.Error(), c.warned):
			t.Errorf("%s: error %v, want %q", name, err, c.warned)
		case err != nil && len(err.Error()) > 200:
			t.Errorf("%s: an error of %d bytes", name, len(err.Error()))
		}
	}
}

// TestDrainTimeOfRequest checks that the drain time is read from an Envoy's first request.
func TestDrainTimeOfRequest(t *testing.T) {
	for _, c := range []struct {
		meta *structpb.Struct
		want time.Duration
	}{{nil, swap.DrainTime}, {telling("60s"), time.Minute}, {telling("soon"), swap.DrainTime}} {
		r := request{delta: true}
		b := marshal(t, &discoveryv3.DeltaDiscoveryRequest{Node: &corev3.Node{Id: "a", Metadata: c.meta}})
		if err := r.decode(b); err != nil {
			t.Fatal(err)
		}
		if r.node.drainTime != c.want {
			t.Errorf("%v: %v, want %v", c.meta, r.node.drainTime, c.want)
		}
	}
}

// FuzzDrainTime checks that the drain time is sane, whatever the metadata of a node.
func FuzzDrainTime(f *testing.F) {
	for _, v := range []any{"60s", "1h", "-1s", "", 600.0, -1.0, math.NaN(), math.Inf(1), nil, []any{1.0}, map[string]any{"a": "60s"}} {
		f.Add(marshal(f, telling(v)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var meta structpb.Struct
		if proto.Unmarshal(b, &meta) != nil {
			return
		}
		d, err := drainTime(&meta)
		if d < 0 || d > maxDrainTime || err != nil && d != swap.DrainTime {
			t.Errorf("%v: %v, %v", &meta, d, err)
		}
	})
}

// TestDraining checks that an Envoy is draining if one listener was replaced, or if older
// connections lack one filter.
func TestDraining(t *testing.T) {
	soon, late := time.Unix(1, 0), time.Unix(2, 0)
	filter := func(name string, d *swap.Draining) swap.FilterStatus {
		return swap.FilterStatus{Name: name, Draining: d}
	}
	listener := func(name string, d *swap.Draining) swap.ListenerStatus {
		return swap.ListenerStatus{Name: name, Draining: d}
	}
	for _, c := range []struct {
		title     string
		filters   []swap.FilterStatus
		listeners []swap.ListenerStatus
		want      bool
		until     time.Time
	}{
		{"nothing", nil, nil, false, time.Time{}},
		{"none of them", []swap.FilterStatus{filter("a", nil)}, []swap.ListenerStatus{listener("b", nil)}, false, time.Time{}},
		{"a filter", []swap.FilterStatus{filter("a", nil), filter("b", &swap.Draining{Until: soon})}, []swap.ListenerStatus{listener("c", nil)}, true, soon},
		{"a listener", []swap.FilterStatus{filter("a", nil)}, []swap.ListenerStatus{listener("b", nil), listener("c", &swap.Draining{Until: soon})}, true, soon},
		{"not known when", []swap.FilterStatus{filter("a", &swap.Draining{})}, nil, true, time.Time{}},
		{"the first counts", []swap.FilterStatus{filter("a", &swap.Draining{Until: late}), filter("b", &swap.Draining{})},
			[]swap.ListenerStatus{listener("c", &swap.Draining{Until: soon}), listener("d", &swap.Draining{Until: late})}, true, soon},
	} {
		if got, until := drainingUntil(c.filters, c.listeners); got != c.want || !until.Equal(c.until) {
			t.Errorf("%s: %v, %v", c.title, got, until)
		}
	}
}

// TestDrainedMakesAGeneration checks that the generation changes when an Envoy's drain time
// is over, even without a message of an Envoy.
func TestDrainedMakesAGeneration(t *testing.T) {
	start := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	var clock atomic.Int64
	s := New(Options{Now: func() time.Time { return start.Add(time.Duration(clock.Load())) }})
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error)
	go func() { ran <- s.Run(ctx) }()
	defer func() { cancel(); <-ran }()
	s.drained.set(start.Add(10 * time.Minute)) // as Summary does for an Envoy that drains so long
	of := s.Generation()
	clock.Store(int64(10 * time.Minute))
	for deadline := time.Now().Add(time.Minute); s.Generation() == of; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it is still the same generation")
		}
	}

	var d drained
	d.set(start)
	if d.pass(start.Add(-1)) || !d.pass(start) || d.pass(start) {
		t.Error("the time does not come once, when it is due")
	}
	d.set(start)
	d.set(time.Time{})
	if d.pass(start) {
		t.Error("a time that is told no more comes all the same")
	}
}

package xds

import (
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"wasmxds/xds/swap"
)

// telling is the metadata of a node that tells a drain time.
func telling(value any) *structpb.Struct {
	v, err := structpb.NewValue(value)
	if err != nil {
		panic(err) // of a test's own making
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

// TestDrainTimeOfRequest: it is read from an Envoy's first request.
func TestDrainTimeOfRequest(t *testing.T) {
	for _, c := range []struct {
		meta *structpb.Struct
		want time.Duration
	}{{nil, defaultDrainTime}, {telling("60s"), time.Minute}, {telling("soon"), defaultDrainTime}} {
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

// FuzzDrainTime: whatever a node's metadata are, the time is a sane one.
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
		if d < 0 || d > maxDrainTime || err != nil && d != defaultDrainTime {
			t.Errorf("%v: %v, %v", &meta, d, err)
		}
	})
}

// TestDraining: one listener that was replaced, or one filter that older
// connections do not have, makes an Envoy one that drains.
func TestDraining(t *testing.T) {
	d := &swap.Draining{}
	for _, c := range []struct {
		title     string
		filters   []swap.FilterStatus
		listeners []swap.ListenerStatus
		want      bool
	}{
		{"nothing", nil, nil, false},
		{"none of them", []swap.FilterStatus{{Name: "a"}}, []swap.ListenerStatus{{Name: "b"}}, false},
		{"a filter", []swap.FilterStatus{{Name: "a"}, {Name: "b", Draining: d}}, []swap.ListenerStatus{{Name: "c"}}, true},
		{"a listener", []swap.FilterStatus{{Name: "a"}}, []swap.ListenerStatus{{Name: "b"}, {Name: "c", Draining: d}}, true},
	} {
		if got := draining(c.filters, c.listeners); got != c.want {
			t.Errorf("%s: %v", c.title, got)
		}
	}
}

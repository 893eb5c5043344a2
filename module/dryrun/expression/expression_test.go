package expression

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"wasmxds/module/dryrun/stream"
)

// given has a few attributes of each type.
func given(path []string) (stream.Value, bool) {
	return stream.Find(stream.Map{
		{Name: "request", Value: stream.Lookup(func(name string) (stream.Value, bool) {
			return stream.Find(stream.Map{
				{Name: "path", Value: "/a"}, {Name: "size", Value: int64(5)}, {Name: "time", Value: time.Unix(1, 2)}, {Name: "duration", Value: 3 * time.Second},
				{Name: "headers", Value: stream.NewRequest([][2]string{{"x-a", "1"}, {"x-a", "2"}, {"x-b", "3"}})},
			}, []string{name})
		})},
		{Name: "mine", Value: []byte("bytes")}, {Name: "id", Value: uint64(7)}, {Name: "share", Value: 0.5},
		{Name: "list", Value: stream.List{"a", stream.Map{{Name: "k", Value: true}}}},
		{Name: "metadata", Value: stream.Proto{Bytes: []byte{8, 1}, Fields: func(string) (stream.Value, bool) { return stream.Map{}, true }}},
	}, path)
}

// TestEvaluate has what conformance cases can't have: attributes of other types, and what
// may not be handed over.
func TestEvaluate(t *testing.T) {
	for text, want := range map[string]any{
		"request.path + mine_is('x')":                   nil,
		"request.headers['X-A']":                        "1,2",
		"request.headers.exists(k, k == 'x-b')":         true,
		"size(request.headers)":                         int64(2),
		"request.headers == {'x-a': '1,2', 'x-b': '3'}": true,
		"request.time":                                  time.Unix(1, 2).UTC(),
		"request.duration":                              3 * time.Second,
		"id + 1u":                                       uint64(8),
		"share":                                         0.5,
		"mine":                                          []byte("bytes"),
		"list[0]":                                       "a",
		"list[1].k":                                     true,
		"list[1]":                                       stream.Map{{Name: "k", Value: true}},
		"{'b': 1, 'a': [2u]}":                           stream.Map{{Name: "a", Value: stream.List{uint64(2)}}, {Name: "b", Value: int64(1)}},
		"request":                                       ErrNoBytes,
		"null":                                          ErrNoBytes,
		"[request]":                                     ErrNoBytes,
		"request.path.size() + 1":                       int64(3),
	} {
		e, err := Parse(text)
		if want == nil {
			if err == nil || errors.Is(err, ErrSyntax) {
				t.Errorf("%s: %v", text, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		got, err := e.Evaluate(t.Context(), given)
		if failure, is := want.(error); is {
			if !errors.Is(err, failure) {
				t.Errorf("%s: %v, %v, want %v", text, got, err, failure)
			}
			continue
		}
		if at, is := got.(time.Time); is {
			got = at.UTC()
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %#v, %v, want %#v", text, got, err, want)
		}
	}
}

// TestHostile checks that no expression takes long or much.
func TestHostile(t *testing.T) {
	doubled := "[" + strings.Repeat("1,", 100) + "1]"
	for range 26 {
		doubled = "[" + doubled + "].map(x, x + x)[0]"
	}
	loop := "true"
	for range 8 {
		loop = "[1,2,3,4,5,6,7,8,9,10].all(x, " + loop + ")"
	}
	text := "'" + strings.Repeat("a", 1000) + "'"
	for range 20 {
		text = "[" + text + "].map(x, x + x)[0]"
	}
	began := time.Now()
	for name, text := range map[string]string{
		"a list doubled":  doubled,
		"a text doubled":  text,
		"loops in loops":  loop,
		"a regex":         "'" + strings.Repeat("a", 8000) + "'.matches('(a*)*(a*)*(a*)*(a{1,50}){1,20}$')",
		"a wide list":     "[" + strings.Repeat("1,", MaxSize/2-2) + "1]",
		"brackets":        strings.Repeat("[", MaxSize),
		"parentheses":     strings.Repeat("(", MaxSize),
		"conditions":      strings.Repeat("a?b:", MaxSize/4),
		"operators":       "1" + strings.Repeat("+1", MaxSize/2-1),
		"ands":            "a" + strings.Repeat("&&a", MaxSize/3-1),
		"calls":           "a" + strings.Repeat(".f()", MaxSize/4-1),
		"selections":      "a" + strings.Repeat(".b", MaxSize/2-1),
		"nots":            strings.Repeat("!", MaxSize-1) + "a",
		"nothing of it":   strings.Repeat("\x00", MaxSize),
		"not UTF-8":       strings.Repeat("\xff", MaxSize),
		"keys":            "{" + strings.Repeat("1:1,", MaxSize/4-1) + "}",
		"mixed operators": "1" + strings.Repeat("*1+1", MaxSize/4-1),
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			began := time.Now()
			e, err := Parse(text)
			parsed := time.Since(began)
			if err == nil {
				_, err = e.Evaluate(ctx, given)
			}
			t.Logf("%v to parse, %v in all: %.100v", parsed, time.Since(began), err)
			if ctx.Err() != nil {
				t.Error("it takes too long")
			}
		})
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("all took %v", took)
	}
	if _, err := Parse(strings.Repeat(" ", MaxSize) + "1"); !errors.Is(err, ErrTooLarge) {
		t.Errorf("more than the most: %v", err)
	}
	e, err := Parse(loop)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Evaluate(t.Context(), given); !errors.Is(err, ErrTooDear) {
		t.Errorf("a loop of 10^8 turns: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Evaluate(ended, given); !errors.Is(err, context.Canceled) {
		t.Errorf("no time: %v", err)
	}
}

func FuzzExpression(f *testing.F) {
	for _, text := range []string{"request.path", "has(request.headers.a) && id > 1u", "[1, 2].map(x, {x: 'a'})", "list[1].k ? 1 : 2.5", "timestamp('2020-01-01T00:00:00Z') - duration('1s')", "'a'.matches('b')"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1000 {
			return
		}
		e, err := Parse(text)
		if err != nil {
			return
		}
		v, err := e.Evaluate(t.Context(), given)
		if err == nil {
			if _, possible := stream.Encode(v); !possible {
				t.Errorf("%q comes to %T", text, v)
			}
		}
	})
}

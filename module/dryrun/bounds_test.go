package dryrun

import (
	"errors"
	"fmt"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"wasmxds/module/dryrun/stream"
)

// TestSharedDataRoom: what is written once more takes the place of what it replaces.
func TestSharedDataRoom(t *testing.T) {
	var s shared
	value := make([]byte, 1<<20)
	for i := range 3 * maxShared / len(value) {
		if got := s.set("k", value, 0); got != ok {
			t.Fatalf("write %d: %v", i, got)
		}
	}
	if s.size != len("k")+len(value) {
		t.Errorf("it takes %d bytes", s.size)
	}
	if got := s.set("k", nil, 0); got != ok || s.size != len("k") {
		t.Errorf("empty: %v, %d bytes", got, s.size)
	}
	if got := s.set("other", make([]byte, maxShared), 0); got != internalFailure {
		t.Errorf("more than there is room for: %v", got)
	}
	for i := range maxEntries {
		s.set(fmt.Sprint(i), nil, 0)
	}
	if got := s.set("one more", nil, 0); got != internalFailure || len(s.data) != maxEntries {
		t.Errorf("%d entries, and one more: %v", len(s.data), got)
	}
	if got := s.set("k", []byte("a"), 0); got != ok {
		t.Errorf("a full one, written once more: %v", got)
	}
}

func TestDeclaredProperties(t *testing.T) {
	h := new(host)
	for i := range maxEntries + 1 {
		name := protowire.AppendString(protowire.AppendTag(nil, propertyName, protowire.BytesType), fmt.Sprint(i))
		if _, got := declareProperty(h, name); (got == ok) != (i < maxEntries) {
			t.Fatalf("property %d: %v", i+1, got)
		}
	}
}

// TestLateCallbacks: what a callback that is left out amounts to is not said of another.
func TestLateCallbacks(t *testing.T) {
	v := &vm{host: new(host)}
	r := new(record)
	for range maxCallbacks {
		r.callbacks = append(r.callbacks, stream.Callback{})
	}
	r.did("continue")
	r.called(v, "proxy_on_request_headers")()
	r.did("pause")
	if last := r.callbacks[maxCallbacks-1]; last.Action != "continue" || len(r.callbacks) != maxCallbacks {
		t.Errorf("%d callbacks, the last: %v", len(r.callbacks), last)
	}
}

// TestStartIsBounded: what a module makes has an end where it is only started, too.
func TestStartIsBounded(t *testing.T) {
	defer func() {
		err, _ := recover().(error)
		if _, found := errors.AsType[*excess](err); !found {
			t.Errorf("got %v", err)
		}
	}()
	newVM(&trial{}).host.spend(maxMade + 1)
}

package replica

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"
	"unicode/utf8"

	"wasmxds/rollout"
	"wasmxds/rollout/driver"
	"wasmxds/state"
)

// within is a connection to a replica that serves in this process.
type within struct{ to http.Handler }

func (w within) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	w.to.ServeHTTP(rec, r)
	return rec.Result(), nil
}

// FuzzCall sends a replica any request, and any answer to one that asks. What both understand
// must arrive as it was sent, and an error as the same one.
func FuzzCall(f *testing.F) {
	f.Add([]byte(`{"term":1,"telling":{"seq":1,"anew":true,"connected":[{"ID":"a"}],"settled":[{"ID":"a"}]}}`), uint8(0), 500, "not leader")
	f.Add([]byte(`{"known":true}`), uint8(1), 200, "")
	f.Add([]byte(`null`), uint8(2), 302, "unknown")
	f.Add([]byte{}, uint8(3), 204, "\xff")
	f.Fuzz(func(t *testing.T, body []byte, fails uint8, status int, kind string) {
		var heardOf *heard
		errs := []error{nil, rollout.ErrUnknown, rollout.ErrNot, driver.ErrNotLeader, errors.New("disk full")}
		failure := errs[int(fails)%len(errs)]
		p := &Peers{mux: http.NewServeMux()}
		On(p, hearPath, func(_ context.Context, _ Member, h heard) (driver.Answer, error) {
			heardOf = &h
			return driver.Answer{Known: h.Telling.Anew, Ahead: h.Telling.Rest}, failure
		})
		p.client = &http.Client{Transport: within{p.mux}}

		// The request as it is.
		rec := httptest.NewRecorder()
		p.mux.ServeHTTP(rec, httptest.NewRequest("POST", hearPath, bytes.NewReader(body)))
		if understood := heardOf != nil; understood == (rec.Code == http.StatusBadRequest) || understood && (rec.Code == http.StatusOK) != (failure == nil) {
			t.Fatalf("to %q it answers %d, understood: %v, and fails: %v", body, rec.Code, understood, failure)
		}
		if heardOf != nil { // the same from one that asks
			sent := *heardOf
			a, err := Call[heard, driver.Answer](t.Context(), p, Member{ID: "b", Key: "b"}, hearPath, sent)
			if !reflect.DeepEqual(normal(t, sent), normal(t, *heardOf)) {
				t.Errorf("it sent %+v, and %+v was heard", sent, *heardOf)
			}
			if failure == nil && (err != nil || a.Known != sent.Telling.Anew || a.Ahead != sent.Telling.Rest) || failure != nil && (err == nil || err.Error() != failure.Error()) {
				t.Errorf("it is answered %+v, %v; want %v", a, err, failure)
			}
			for _, is := range errs[1:4] {
				if errors.Is(err, is) != errors.Is(failure, is) {
					t.Errorf("%v arrives as %v", failure, err)
				}
			}
		}

		// The same as an answer.
		if status < 200 || status > 599 {
			return
		}
		p.client = &http.Client{Transport: within{http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(kindHeader, kind)
			w.WriteHeader(status)
			_, _ = w.Write(body)
		})}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		var want driver.Answer
		decodes := json.Unmarshal(body, &want) == nil
		a, err := Call[nothing, driver.Answer](t.Context(), p, Member{ID: "b", Key: "b"}, hearPath, nothing{})
		if good := status == http.StatusOK && decodes; good != (err == nil) || good && a != want {
			t.Errorf("%d %q is understood as %+v, %v", status, body, a, err)
		}
		if err != nil && len(err.Error()) > mostWords+200 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
	})
}

// normal returns a report as it is sent.
func normal(t *testing.T, h heard) string {
	t.Helper()
	b, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// FuzzRegistry reads anything that is in the store instead of a replica and of who leads, and
// what a replica writes there.
func FuzzRegistry(f *testing.F) {
	f.Add("replicas/member/b", []byte(`{"id":"b","address":"10.0.0.2:1","key":"k","beat":1,"clock":"2026-11-29T00:00:00Z"}`), []byte(`{"id":"b","term":3}`))
	f.Add("replicas/member/", []byte(`{"id":""}`), []byte(`{"id":"","term":3}`))
	f.Add("replicas/b", []byte(`{"id":"replicas/b"}`), []byte(`{"id":"replicas/b","term":3}`))
	f.Add("replicas/member/a", []byte(`{"id":"a","key":"other"}`), []byte(`{"id":"a","term":-1}`))
	f.Add("replicas/member/b", []byte(`null`), []byte(`7`))
	f.Fuzz(func(t *testing.T, key string, member, lead []byte) {
		r := NewRegistry(nil, Member{ID: "a", Address: "10.0.0.1:1", Key: "mine"}, discard)
		entries := []state.Entry{{Key: key, Value: member, Revision: 1}, {Key: leaderKey, Value: lead, Revision: 2}}
		seen := r.took(entries, true)
		for id, s := range seen {
			if id == "" || s.ID != id || memberKeys+id != key {
				t.Errorf("at %q is %+v, as %q", key, s.Member, id)
			}
			// It is read as it would be written.
			if utf8.ValidString(s.ID + s.Address + s.Key) {
				value, err := json.Marshal(s.Member)
				if err != nil {
					t.Fatal(err)
				}
				again := NewRegistry(nil, Member{ID: "a"}, discard).took([]state.Entry{{Key: key, Value: value}}, true)
				if o := again[id]; o == nil || !o.Clock.Equal(s.Clock) {
					t.Errorf("%s is read as %+v", value, o)
				} else if o.Clock = s.Clock; o.Member != s.Member {
					t.Errorf("%+v is read as %+v", s.Member, o.Member)
				}
			}
		}
		if len(seen) > 1 || len(r.skews) > len(seen) {
			t.Errorf("%d replicas, and clocks of %d", len(seen), len(r.skews))
		}
		if at, term := r.Leader(); term != 0 && at.ID != "a" && seen[at.ID] == nil {
			t.Errorf("%+v leads, and is not there", at)
		}
		for id := range r.Others() {
			if id == "a" || seen[id] == nil {
				t.Errorf("%q is another", id)
			}
		}
		if of, is := r.of(""); is {
			t.Errorf("%+v has no key, and is known by it", of)
		}
	})
}

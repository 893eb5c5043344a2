package admin

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"wasmxds/signal/recording"
)

// recorder records what it is told to.
type recorder struct {
	order recording.Order
	err   error
	open  []recording.State
}

func (r *recorder) Record(_ context.Context, o recording.Order) ([]recording.Request, error) {
	r.order = o
	return []recording.Request{{Method: "GET", Path: "/", Host: "a"}}, r.err
}

func (r *recorder) Recordings() []recording.State { return r.open }

// TestRecord: operators alone have requests recorded, within bounds, and the status says so.
func TestRecord(t *testing.T) {
	r := &recorder{}
	s := New(Options{Fleet: fleet{}, Recorder: r, Operators: Operators{Token: tokenOf(t, operateSecret)}})
	s.Loaded(someLoaded())
	ask := func(body, token string) (int, string) {
		t.Helper()
		q := httptest.NewRequest(http.MethodPost, "/api/v1/recordings", strings.NewReader(body))
		q.Host = "localhost"
		q.Header.Set("Content-Type", "application/json")
		if token != "" {
			q.Header.Set("Authorization", "Bearer "+token)
		}
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, q)
		return w.Code, w.Body.String()
	}
	const good = `{"node": "a", "seconds": 30, "count": 5, "headers": ["X-A"]}`
	if code, _ := ask(good, ""); code != http.StatusUnauthorized || r.order.Node != "" {
		t.Errorf("without a token: %d, recorded %+v", code, r.order)
	}
	code, text := ask(good, operateSecret)
	if o := r.order; code != http.StatusOK || !strings.Contains(text, `"path": "/"`) || o.Node != "a" || o.Count != 5 || o.Headers[0] != "x-a" || o.Until.Sub(o.Since) != 30*time.Second || o.By != byToken {
		t.Errorf("%d %s of %+v", code, text, o)
	}
	for _, body := range []string{"", "[]", `{"node": "a", "seconds": 601, "count": 5}`, `{"node": "a", "seconds": 1e300, "count": 5}`, `{"node": "a", "seconds": -1, "count": 5}`,
		`{"node": "", "seconds": 1, "count": 5}`, `{"node": "a", "seconds": 1, "count": 1001}`, `{"node": "a", "seconds": 1, "count": 1, "other": 1}`} {
		if code, text := ask(body, operateSecret); code != http.StatusBadRequest {
			t.Errorf("%s: %d %s", body, code, text)
		}
	}
	for err, want := range map[error]int{&NoNode{"a"}: http.StatusNotFound, &Unrecorded{"so"}: http.StatusConflict, fmt.Errorf("%w: now", recording.ErrBusy): http.StatusConflict, context.Canceled: http.StatusServiceUnavailable} {
		r.err = err
		if code, text := ask(good, operateSecret); code != want {
			t.Errorf("%v: %d %s", err, code, text)
		}
	}
	r.open = []recording.State{{Order: recording.Order{Node: "edge-1", By: "joe"}, Taken: 7}}
	st := s.status()
	if len(st.Recordings) != 1 || len(st.Definitions.Warnings) == 0 || !strings.Contains(st.Definitions.Warnings[0].Message, "joe has its requests recorded until") {
		t.Errorf("the status has %+v, %+v", st.Recordings, st.Definitions.Warnings)
	}
}

package conditions_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"wasmxds/rollout"
	"wasmxds/source/kube/conditions"
)

// TestChangesPause checks that, while the namespace or CRD is missing, or
// writing is not permitted, it retries less and less often and logs a hint
// once, and that it writes soon afterwards.
func TestChangesPause(t *testing.T) {
	status := func(code int, reason, kind string) string {
		return fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","message":"no","reason":%q,"details":{"kind":%q},"code":%d}`, reason, kind, code)
	}
	for _, c := range []struct {
		name, answer, says string
		code               int
	}{
		{"namespace", status(404, "NotFound", "namespaces"), "the namespace root is not there", 404},
		{"CRD", status(404, "NotFound", ""), "the CRD of Change is not there", 404},
		{"right", status(403, "Forbidden", "changes"), "can't write Change objects", 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			var tries, written atomic.Int32
			var there atomic.Bool
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				switch {
				case r.Method == http.MethodGet:
					fmt.Fprint(w, `{"kind":"ChangeList","apiVersion":"wasmxds.dev/v1alpha1","items":[]}`)
				case !there.Load():
					tries.Add(1)
					w.WriteHeader(c.code)
					fmt.Fprint(w, c.answer)
				default:
					written.Add(1)
					var sent map[string]any
					_ = json.NewDecoder(r.Body).Decode(&sent)
					_ = json.NewEncoder(w).Encode(sent)
				}
			}))
			defer server.Close()
			client, err := dynamic.NewForConfig(&rest.Config{Host: server.URL})
			if err != nil {
				t.Fatal(err)
			}
			m := &moving{}
			m.set(true, aChange(rollout.Rolling, 5, "in wave 1"))
			log := &logged{}
			writer := conditions.Changes{Client: client, Namespace: "root", Told: m.told, Leads: m.isLeader, Every: 5 * time.Millisecond, Log: slog.New(slog.NewTextHandler(log, nil))}
			ctx, end := context.WithCancel(t.Context())
			var running sync.WaitGroup
			running.Go(func() { writer.Run(ctx) })
			defer func() { end(); running.Wait() }()
			time.Sleep(time.Second) // to check that it does little
			if n := tries.Load(); n < 2 || n > 40 {
				t.Errorf("it has tried %d times in a second, where it looks 200 times", n)
			}
			if s := log.String(); !strings.Contains(s, c.says) || c.code == 404 && strings.Count(s, "\n") != 1 {
				t.Errorf("it says:\n%s", s)
			}
			there.Store(true)
			for deadline := time.Now().Add(time.Minute); written.Load() == 0; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("it is not written")
				}
			}
		})
	}
}

// logged is a log that is read while it is written.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

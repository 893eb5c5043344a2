package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"wasmxds/definition"
	"wasmxds/signal/recording"
)

// Recorder records requests of Envoys.
type Recorder interface {
	// Record does until the order's time is over, there are enough, or ctx ends.
	Record(ctx context.Context, o recording.Order) ([]recording.Request, error)
	Recordings() []recording.State
}

// Unrecorded says why requests can't be recorded, and what to do.
type Unrecorded struct{ Text string }

func (u *Unrecorded) Error() string { return u.Text }

// NoNode says that a node is not known.
type NoNode struct{ Node string }

func (n *NoNode) Error() string { return fmt.Sprintf("no Envoy has the node id %q", n.Node) }

// RecordOptions say what is recorded.
type RecordOptions struct {
	Node    string   `json:"node"`
	Seconds float64  `json:"seconds"`
	Count   int      `json:"count"`
	Headers []string `json:"headers,omitempty"`
}

// Recorded is what was.
type Recorded struct {
	Node     string              `json:"node"`
	Requests []recording.Request `json:"requests"`
}

// serveRecord answers when the recording has ended. It ends as well when its client goes,
// or the server drains.
func (s *Server) serveRecord(w http.ResponseWriter, r *http.Request, by string) {
	order, err := s.readRecord(http.MaxBytesReader(w, r.Body, maxRecord), by)
	if err != nil {
		answerRefusal(w, err)
		return
	}
	until := order.Until.Add(time.Minute) // of this one request
	rc := http.NewResponseController(w)
	rc.SetReadDeadline(until)
	rc.SetWriteDeadline(until)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	over := make(chan struct{})
	defer close(over)
	go func() {
		select {
		case <-s.drained:
			cancel()
		case <-over:
		}
	}()
	s.changes.Add(1)
	defer s.changes.Add(1)
	requests, err := s.opts.Recorder.Record(ctx, order)
	if err != nil {
		answerRefusal(w, recordRefusal(err))
		return
	}
	if requests == nil {
		requests = []recording.Request{}
	}
	s.sendJSON(w, r, Recorded{Node: order.Node, Requests: requests})
}

// maxRecord bounds the body of what is asked for.
const maxRecord = 64 << 10

func (s *Server) readRecord(body io.Reader, by string) (o recording.Order, err error) {
	if s.opts.Recorder == nil {
		return o, &refusal{http.StatusConflict, "Envoys tell of no requests: xds-server runs with --signals=false"}
	}
	var asked RecordOptions
	dec := json.NewDecoder(body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&asked); err != nil {
		return o, &refusal{http.StatusBadRequest, fmt.Sprintf(`the body is read as JSON like {"node": "edge-1", "seconds": 30, "count": 100, "headers": ["user-agent"]}: %v`, err)}
	}
	now := s.opts.Now()
	seconds := min(max(asked.Seconds, 0), 1e6)
	o = recording.Order{Node: asked.Node, Count: asked.Count, Since: now, Until: now.Add(time.Duration(seconds * float64(time.Second))), By: by}
	for _, name := range asked.Headers {
		o.Headers = append(o.Headers, strings.ToLower(name))
	}
	if err := o.Check(); err != nil {
		return o, &refusal{http.StatusBadRequest, err.Error()}
	}
	return o, nil
}

func recordRefusal(err error) error {
	var none *NoNode
	var not *Unrecorded
	switch {
	case errors.As(err, &none):
		return &refusal{http.StatusNotFound, err.Error()}
	case errors.As(err, &not), errors.Is(err, recording.ErrBusy):
		return &refusal{http.StatusConflict, err.Error()}
	case errors.Is(err, context.Canceled):
		return &refusal{http.StatusServiceUnavailable, "xds-server is about to end, or the client has gone"}
	}
	return err
}

// recordings are those that are under way, and warnings that say so.
func (s *Server) recordings() (all []recording.State, warnings []definition.Problem) {
	if s.opts.Recorder == nil {
		return nil, nil
	}
	all = s.opts.Recorder.Recordings()
	for _, r := range all {
		warnings = append(warnings, definition.Problem{File: "recording of " + r.Node, Warning: true,
			Message: fmt.Sprintf("%s has its requests recorded until %s: %d so far", r.By, r.Until.UTC().Format("15:04:05 MST"), r.Taken)})
	}
	return all, warnings
}

// Record has requests of an Envoy recorded, and waits for them.
func (c *Client) Record(ctx context.Context, o RecordOptions) (*Recorded, error) {
	body, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("write what is to be recorded: %w", err)
	}
	done := new(Recorded)
	if err := c.ask(ctx, http.MethodPost, "/api/v1/recordings", body, done); err != nil {
		return nil, fmt.Errorf("record requests: %w", err)
	}
	return done, nil
}

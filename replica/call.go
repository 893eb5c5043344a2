package replica

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"wasmxds/rollout"
	"wasmxds/rollout/driver"
)

const (
	mostBytes = 16 << 20 // of a request or an answer of Call
	mostWords = 4 << 10  // of an error message
	// callTime is the timeout of a call: the leader may have to write to the state.
	callTime = 20 * time.Second
)

// kinds are the errors that callers decide on, by their names on the wire.
var kinds = map[string]error{
	"unknown":    rollout.ErrUnknown,
	"not":        rollout.ErrNot,
	"not leader": driver.ErrNotLeader,
}

const kindHeader = "Wasmxds-Error"

// remoteError is an error that another replica returned.
type remoteError struct {
	words string
	is    error
}

func (e *remoteError) Error() string { return e.words }
func (e *remoteError) Unwrap() error { return e.is }

// On answers what other replicas request by [Call] at a path, such as "/peer/v1/hear", with
// do. Call it before Serve.
func On[Q, A any](p *Peers, path string, do func(ctx context.Context, from Member, q Q) (A, error)) {
	p.Handle("POST "+path, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q Q
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, mostBytes)).Decode(&q); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		a, err := do(r.Context(), From(r.Context()), q)
		if err != nil {
			for kind, is := range kinds {
				if errors.Is(err, is) {
					w.Header().Set(kindHeader, kind)
				}
			}
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(a) // an error means that the caller is gone
	}))
}

// Call sends a request to another replica at a path, and returns its answer.
func Call[Q, A any](ctx context.Context, p *Peers, to Member, path string, q Q) (a A, err error) {
	body, err := json.Marshal(q)
	if err != nil {
		return a, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	resp, err := p.send(ctx, "POST", to, path, body)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(io.LimitReader(resp.Body, mostBytes+1))
	switch {
	case err == nil && resp.StatusCode != http.StatusOK:
		return a, &remoteError{string(bytes.TrimSpace(got[:min(len(got), mostWords)])), kinds[resp.Header.Get(kindHeader)]}
	case err != nil:
		return a, fmt.Errorf("read the answer of replica %s: %w", to.ID, err)
	case len(got) > mostBytes:
		return a, fmt.Errorf("the answer of replica %s has more than %d bytes", to.ID, mostBytes)
	}
	if err := json.Unmarshal(got, &a); err != nil {
		return a, fmt.Errorf("read the answer of replica %s: %w", to.ID, err)
	}
	return a, nil
}

// Answer is the answer of a replica, or why there is none.
type Answer[A any] struct {
	Of  Member
	Is  A
	Err error
}

// CallAll sends a request to all other live replicas concurrently. It returns when each has
// answered or failed.
func CallAll[Q, A any](ctx context.Context, p *Peers, path string, q Q) []Answer[A] {
	return CallSome[Q, A](ctx, p, path, q, func(string) bool { return true })
}

// CallSome is like CallAll, but only for replicas whose IDs ask accepts.
func CallSome[Q, A any](ctx context.Context, p *Peers, path string, q Q, ask func(id string) bool) []Answer[A] {
	var all []Answer[A]
	for id, m := range p.Registry.Living() {
		if ask(id) {
			all = append(all, Answer[A]{Of: m})
		}
	}
	var asked sync.WaitGroup
	for i := range all {
		asked.Go(func() { all[i].Is, all[i].Err = Call[Q, A](ctx, p, all[i].Of, path, q) })
	}
	asked.Wait()
	return all
}

// Ask sends a GET request for a path to another replica. Whatever the status, the caller
// must read the body, within its own limits, and close it.
func (p *Peers) Ask(ctx context.Context, of Member, path string) (*http.Response, error) {
	return p.send(ctx, "GET", of, path, nil)
}

func (p *Peers) send(ctx context.Context, method string, to Member, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "https://"+to.Key+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("connect to replica %s at %s: %w", to.ID, to.Address, errors.Unwrap(err))
	}
	return resp, nil
}

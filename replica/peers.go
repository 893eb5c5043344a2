package replica

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"wasmxds/rollout"
	"wasmxds/rollout/driver"
	"wasmxds/rollout/roster"
)

// Mover is what moves changes on this server, when it leads.
type Mover interface {
	Hear(ctx context.Context, term uint64, from string, t roster.Telling) (bool, error)
	Do(ctx context.Context, c rollout.Command) error
	Status(ctx context.Context) (rollout.Status, error)
}

// Peers is what servers say to each other: by HTTP, with a token that all of them
// have.
type Peers struct {
	Registry *Registry
	Client   *http.Client
	Scheme   string                 // "http" or "https"
	Token    func() ([]byte, error) // what all servers know
}

// The paths, and what bounds them.
const (
	hearPath   = "/peer/v1/hear"
	doPath     = "/peer/v1/do"
	statusPath = "/peer/v1/rollouts"

	mostBytes = 16 << 20 // of a request, or of an answer
)

// Handler serves other servers.
func (p *Peers) Handler(m Mover) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+hearPath, func(w http.ResponseWriter, r *http.Request) {
		var t roster.Telling
		term, err := strconv.ParseUint(r.URL.Query().Get("term"), 10, 64)
		from := r.URL.Query().Get("from")
		if err == nil && from == "" {
			err = errors.New("it does not say who tells")
		}
		if err == nil {
			err = json.NewDecoder(http.MaxBytesReader(w, r.Body, mostBytes)).Decode(&t)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		ok, err := m.Hear(r.Context(), term, from, t)
		answer(w, ok, err)
	})
	mux.HandleFunc("POST "+doPath, func(w http.ResponseWriter, r *http.Request) {
		var c rollout.Command
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&c); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer(w, true, m.Do(r.Context(), c))
	})
	mux.HandleFunc("GET "+statusPath, func(w http.ResponseWriter, r *http.Request) {
		s, err := m.Status(r.Context())
		answer(w, s, err)
	})
	return p.ask(mux)
}

// ask asks for the token.
func (p *Peers) ask(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		want, err := p.Token()
		if err != nil {
			http.Error(w, "the token of servers can't be read here", http.StatusServiceUnavailable)
			return
		}
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), bearer(want)) != 1 {
			http.Error(w, "this is for servers of the same state, which know its token", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func bearer(token []byte) []byte { return append([]byte("Bearer "), token...) }

// codes are errors that whoever asks decides on.
var codes = map[int]error{
	http.StatusNotFound:           rollout.ErrUnknown,
	http.StatusConflict:           rollout.ErrNot,
	http.StatusMisdirectedRequest: driver.ErrNotLeader,
}

func answer(w http.ResponseWriter, value any, err error) {
	if err != nil {
		code := http.StatusInternalServerError
		for c, is := range codes {
			if errors.Is(err, is) {
				code = c
			}
		}
		http.Error(w, err.Error(), code)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value) // else who asked is gone
}

// remoteError is what another server said.
type remoteError struct {
	words string
	is    error
}

func (e *remoteError) Error() string { return e.words }
func (e *remoteError) Unwrap() error { return e.is }

// Leader is the server that leads, as it is known now.
func (p *Peers) Leader() driver.Leader {
	at, term := p.Registry.Leader()
	return &remote{p, at, term}
}

// remote is the leader, on another server.
type remote struct {
	peers *Peers
	at    Member
	term  uint64
}

// Term is its term; 0: nobody is known to lead.
func (r *remote) Term() uint64 { return r.term }

// Hear tells it what Envoys have told.
func (r *remote) Hear(ctx context.Context, from string, t roster.Telling) (ok bool, err error) {
	err = r.call(ctx, "POST", fmt.Sprintf("%s?term=%d&from=%s", hearPath, r.term, url.QueryEscape(from)), t, &ok)
	return ok, err
}

// Do has it do what people say.
func (r *remote) Do(ctx context.Context, c rollout.Command) error {
	return r.call(ctx, "POST", doPath, c, new(bool))
}

// Status is what it tells of all changes.
func (r *remote) Status(ctx context.Context) (s rollout.Status, err error) {
	err = r.call(ctx, "GET", statusPath, nil, &s)
	return s, err
}

var errNobody = errors.New("it is not known which server moves changes")

// callTime is how long the leader may take: it may have to write something down.
const callTime = 20 * time.Second

func (r *remote) call(ctx context.Context, method, path string, send, take any) error {
	if r.term == 0 {
		return errNobody
	}
	if r.at.ID == r.peers.Registry.own.ID {
		return errNobody // it did, and does no more
	}
	token, err := r.peers.Token()
	if err != nil {
		return err
	}
	body, err := json.Marshal(send)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, r.peers.Scheme+"://"+r.at.Address+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", string(bearer(token)))
	resp, err := r.peers.Client.Do(req)
	if err != nil {
		return fmt.Errorf("reach the server %s, which moves changes: %w", r.at.ID, err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(io.LimitReader(resp.Body, mostBytes+1))
	switch {
	case err != nil:
		return fmt.Errorf("read what the server %s says: %w", r.at.ID, err)
	case len(got) > mostBytes:
		return fmt.Errorf("the server %s says more than %d bytes", r.at.ID, mostBytes)
	case resp.StatusCode != http.StatusOK:
		return &remoteError{string(bytes.TrimSpace(got)), codes[resp.StatusCode]}
	}
	return json.Unmarshal(got, take)
}

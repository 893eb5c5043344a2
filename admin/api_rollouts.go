package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"wasmxds/printable"
	"wasmxds/rollout"
)

// maxCommand bounds the size of a command's body in bytes.
const maxCommand = 4 << 10

// handleRollouts registers the handlers for the status of changes, and for
// commands.
func (s *Server) handleRollouts(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/v1/rollouts", s.serveRolloutList)
	mux.HandleFunc("GET /api/v1/rollouts/{id}", s.serveRollout)
	mux.HandleFunc("POST /api/v1/rollouts/{id}/{command}", s.opts.Operators.only(s.serveCommand))
}

func (s *Server) serveRolloutList(w http.ResponseWriter, r *http.Request) {
	now, err := s.rollouts(r.Context())
	if err != nil {
		answerRefusal(w, err)
		return
	}
	s.sendJSON(w, r, now)
}

func (s *Server) serveRollout(w http.ResponseWriter, r *http.Request) {
	now, err := s.rollouts(r.Context())
	if err != nil {
		answerRefusal(w, err)
		return
	}
	change, err := now.Find(r.PathValue("id"))
	if err != nil {
		answerRefusal(w, err)
		return
	}
	s.sendJSON(w, r, change)
}

func answerRefusal(w http.ResponseWriter, err error) {
	why := refusalOf(err)
	answer(w, why.code, why.text)
}

// serveCommand executes an operator's command to a change.
func (s *Server) serveCommand(w http.ResponseWriter, r *http.Request, by string) {
	verb := rollout.Verb(r.PathValue("command"))
	if !slices.Contains(rollout.Verbs(), verb) {
		answer(w, http.StatusNotFound, fmt.Sprintf("there is no command %s; there are %v", verb, rollout.Verbs()))
		return
	}
	var o CommandOptions
	err := readCommand(http.MaxBytesReader(w, r.Body, maxCommand), &o)
	if err == nil {
		var done *Operation
		if done, err = s.operate(r.Context(), verb, r.PathValue("id"), o, by); err == nil {
			s.sendJSON(w, r, done)
			return
		}
	}
	answerRefusal(w, err)
}

// readCommand parses a body, which may be empty.
func readCommand(body io.Reader, o *CommandOptions) error {
	dec := json.NewDecoder(body)
	dec.DisallowUnknownFields()
	err := dec.Decode(o)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil {
		if _, err = dec.Token(); errors.Is(err, io.EOF) {
			return nil
		} else if err == nil {
			err = errors.New("there is more than one value")
		}
	}
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		return &refusal{http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", maxCommand)}
	}
	return &refusal{http.StatusBadRequest, fmt.Sprintf(`the body is read as JSON like {"to": "BASE", "atOnce": true}, of which all may be left out: %v`, err)}
}

// sendJSON sends a document as the response.
func (s *Server) sendJSON(w http.ResponseWriter, r *http.Request, document any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	enc := json.NewEncoder(printable.NewWriter(w)) // the output may be shown in a terminal
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(document); err != nil {
		s.opts.Log.Debug("answer not sent", "peer", r.RemoteAddr, "path", r.URL.Path, "error", err)
	}
}

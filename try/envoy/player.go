package envoy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"wasmxds/module"
	"wasmxds/module/dryrun"
	"wasmxds/module/dryrun/stream"
	"wasmxds/resource"
	"wasmxds/try/exchange"
)

// Player plays streams through a filter on an Envoy, as [dryrun.Runner] does on its own
// host. Results have the same form, without what only that host knows: callbacks and their
// costs, and the values of histograms.
type Player struct {
	Binary  Binary
	Modules Modules
	Start   time.Duration // how long Envoy may take to start; 0: 20 s
	Env     []string      // environment of Envoy, for filters that may read it
}

// Modules provides modules, as a [module.Store] does.
type Modules interface {
	Open(sha256 string) (*os.File, module.Info, error)
}

const (
	startsIn   = 20 * time.Second
	patience   = 5 * time.Second  // limit for a request, in addition to the time that answers take
	mostTime   = 30 * time.Second // limit for a request, including that time
	loggedIn   = 5 * time.Second  // limit until the outcome of a request is logged
	maxStreams = 1000
)

// ended is the beginning of a line of the access log.
const ended = "ended:"

// Play plays streams. A [*module.ContentError] says why Envoy can't use the module.
func (p *Player) Play(ctx context.Context, play dryrun.Play) (_ dryrun.Played, err error) {
	if play.Filter.Place.Network {
		return dryrun.Played{}, fmt.Errorf("%s is a network filter: only requests can be played on an Envoy, not connections", play.Filter.Name)
	}
	for _, s := range play.Streams {
		if longest := max(s.After, s.Wait); longest > mostTime {
			return dryrun.Played{}, fmt.Errorf("%v pass in a case: on an Envoy, where time is real, %v at most", longest, mostTime)
		}
	}
	if len(play.Streams) > maxStreams {
		return dryrun.Played{}, fmt.Errorf("%d requests for one Envoy, at most %d can be played at once", len(play.Streams), maxStreams)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dir, err := os.MkdirTemp("", "xds-server-envoy-")
	if err != nil {
		return dryrun.Played{}, fmt.Errorf("make a place for Envoy's files: %w", err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "module.wasm")
	if err := p.copy(play.Module.SHA256, file); err != nil {
		return dryrun.Played{}, err
	}
	e, err := newEnds(ctx, play)
	if err != nil {
		return dryrun.Played{}, err
	}
	defer e.close()
	defer cancel() // before the servers are closed, because they may wait to answer
	config, err := bootstrap(play.Filter, file, e)
	if err != nil {
		return dryrun.Played{}, err
	}
	process, err := start(ctx, p.Binary.Path, dir, config, p.Env)
	if err != nil {
		return dryrun.Played{}, err
	}
	defer process.kill()
	r := &run{process: process, ends: e}
	if r.prefix, err = prefixOf(play, file); err != nil {
		return dryrun.Played{}, err
	}
	return r.play(ctx, p, play)
}

func (p *Player) copy(sha256, file string) error {
	from, _, err := p.Modules.Open(sha256)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("copy the module: %w", err)
	}
	_, err = io.Copy(to, from)
	if err = errors.Join(err, to.Close()); err != nil {
		return fmt.Errorf("copy the module: %w", err)
	}
	return nil
}

// prefixOf returns the beginning of lines that the module logs.
func prefixOf(play dryrun.Play, file string) (string, error) {
	config, err := resource.Local(play.Filter, file)
	if err != nil {
		return "", err
	}
	prefix := "wasm log"
	for _, name := range []string{config.GetConfig().GetName(), config.GetConfig().GetRootId(), config.GetConfig().GetVmConfig().GetVmId()} {
		if name != "" {
			prefix += " " + name
		}
	}
	return prefix + ": ", nil
}

// run is an Envoy that plays streams.
type run struct {
	process *process
	ends    *ends
	prefix  string

	log  Log
	read int // how much of Envoy's output has been read, in bytes
	logs []stream.Line
	// failed is Envoy's message about the last failure of the module.
	failed string
	said   []string // the last errors that Envoy logged by itself
	// printed are the last lines that do not have the form of Envoy's log.
	printed []string
}

func (r *run) play(ctx context.Context, p *Player, play dryrun.Play) (dryrun.Played, error) {
	limit := p.Start
	if limit == 0 {
		limit = startsIn
	}
	starting, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	address, err := r.process.listening(starting)
	_, ended := errors.AsType[*Ended](err)
	switch {
	case ended && !r.process.output.over():
		r.take()
		return dryrun.Played{}, &module.ContentError{Message: fmt.Sprintf("Envoy %s can't use it: %s", p.Binary.Version, r.why(err))}
	case err != nil && ctx.Err() == nil && starting.Err() != nil:
		return dryrun.Played{}, fmt.Errorf("start Envoy %s: it did not listen within %v", p.Binary.Version, limit)
	case err != nil:
		return dryrun.Played{}, err
	}
	r.take()
	var played dryrun.Played
	_, calls := r.ends.came()
	played.Start = stream.Record{Logs: r.logged(), Calls: once(calls)}
	for _, s := range play.Streams {
		result, err := r.stream(ctx, address, s)
		ended, ok := errors.AsType[*Ended](err)
		if ok || errors.Is(err, errSpins) {
			if played.Stopped = errSpins.Error(); ok {
				played.Stopped = ended.Error()
			}
			result.Logs = r.logged()
			played.Streams = append(played.Streams, result)
			return played, nil
		}
		if err != nil {
			return dryrun.Played{}, fmt.Errorf("on Envoy %s: %w", p.Binary.Version, err)
		}
		played.Streams = append(played.Streams, result)
	}
	if played.Metrics, err = Metrics(ctx, r.process.get); err != nil {
		return dryrun.Played{}, fmt.Errorf("ask Envoy for metrics: %w", err)
	}
	return played, nil
}

// errSpins means that a callback does not return, so that Envoy serves nothing.
var errSpins = errors.New("a request does not end on Envoy: the filter may not return")

// once removes the duplicates of calls that are made at the start. Two threads make each
// call: the one that serves requests, and the main thread.
func once(calls []stream.Call) []stream.Call {
	type key struct{ cluster, headers, body string }
	seen := map[key]int{}
	return slices.DeleteFunc(calls, func(c stream.Call) bool {
		k := key{c.Cluster, fmt.Sprint(c.Headers), string(c.Body)}
		seen[k]++
		return seen[k]%2 == 0
	})
}

// stream plays a stream.
func (r *run) stream(ctx context.Context, address string, s stream.Stream) (stream.Result, error) {
	r.ends.next(s)
	if err := pass(ctx, s.After); err != nil {
		return stream.Result{}, err
	}
	request, response := sent(s)
	result := stream.Result{Received: request}
	limited, cancel := context.WithTimeout(ctx, timeFor(s))
	defer cancel()
	got, err := exchange.Request(limited, address, source(s), request, s.Speaks() == stream.HTTP2)
	if err != nil && ctx.Err() == nil && !r.process.alive() {
		err = r.process.fate()
	}
	if err != nil {
		return result, err
	}
	details, err := r.details(ctx)
	if err != nil {
		return result, err
	}
	if err := pass(ctx, s.Wait); err != nil {
		return result, err
	}
	r.take()
	result.Request, result.Calls = r.ends.came()
	result.Logs = r.logged()
	if result.Request != nil {
		result.Sent, result.Answered = true, &response
	}
	result.Response, result.Complete = got.Message, got.Message != nil && !got.Reset
	result.Crash, r.failed = r.failed, ""
	switch {
	case strings.HasPrefix(details, "wasm_fail") && result.Crash == "":
		result.Crash = details
	case got.Reset:
		result.Reset = details
	case got.Message == nil && result.Request != nil:
		result.Paused = "response"
	case got.Message == nil:
		result.Paused = "request"
	case details != "via_upstream":
		result.LocalReply = replied(*got.Message, details)
	}
	return result, nil
}

// pass waits, because the clock of an Envoy can't be changed.
func pass(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func replied(m stream.Message, details string) *stream.LocalReply {
	status, _ := strconv.Atoi(exchange.Value(m.Headers, ":status"))
	return &stream.LocalReply{Status: status, Details: details, Headers: m.Headers, Body: slices.Concat(m.Body...)}
}

// timeFor returns how long to wait for a stream.
func timeFor(s stream.Stream) time.Duration {
	d := patience
	for _, c := range s.Callouts {
		d += min(c.After, mostTime)
	}
	return min(d, mostTime)
}

// source returns the address of the client.
func source(s stream.Stream) string {
	if given, ok := s.Properties[sourceAddress].(string); ok {
		return given
	}
	return stream.Client + ":50000"
}

const sourceAddress = "source.address"

// Unset returns the properties of a stream that can't be set on an Envoy here.
func Unset(properties map[string]any) (names []string) {
	for name := range properties {
		if name != sourceAddress {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// details waits until the stream has ended in Envoy, and returns its response code details.
func (r *run) details(ctx context.Context) (details string, err error) {
	limited, cancel := context.WithTimeout(ctx, loggedIn)
	defer cancel()
	err = r.process.poll(limited, func() error {
		var over bool
		if details, over = r.take(); !over {
			return errSpins
		}
		return nil
	})
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return details, err
}

// take reads what Envoy has written, up to the end of a request, and returns the details of
// that request.
func (r *run) take() (details string, over bool) {
	for _, line := range r.process.output.lines(r.read) {
		r.read += len(line)
		if text, ok := strings.CutPrefix(line, ended+" "); ok {
			return strings.TrimSpace(text), true
		}
		l, ok := r.log.Read(line)
		if !ok {
			r.printed = last(append(r.printed, strings.TrimSpace(line)))
			continue
		}
		text, module := strings.CutPrefix(l.Text, r.prefix)
		switch {
		case module && !l.Main:
			r.logs = append(r.logs, stream.Line{Level: l.Level, Text: text})
		case module || l.Level == "info" || l.Level == "debug" || l.Level == "trace":
		case l.Level == "warning":
		default:
			if what, trapped := failure(l.Text); trapped && !l.Main {
				r.failed = what
			}
			r.said = last(append(r.said, l.Text))
		}
	}
	return "", false
}

// failure parses Envoy's message about a failed callback.
func failure(text string) (what string, ok bool) {
	_, what, ok = strings.Cut(text, "Function: ")
	if !ok {
		return "", false
	}
	what, _, _ = strings.Cut(what, "\n")
	return what, true
}

// logged returns the lines that the module has logged since the last call.
func (r *run) logged() []stream.Line {
	logs := r.logs
	r.logs = nil
	return logs
}

// why returns what Envoy wrote before it ended.
func (r *run) why(err error) string {
	switch {
	case len(r.said) > 0:
		return strings.Join(r.said, "; ")
	case len(r.printed) > 0: // for example, about a flag that this Envoy does not know
		return fmt.Sprintf("%v: %s", err, strings.Join(r.printed, "; "))
	}
	return err.Error()
}

// last keeps the last three lines.
func last(lines []string) []string { return lines[max(0, len(lines)-3):] }

// Package etcd discovers definitions in etcd: each value below
// PREFIX/definitions/ is a document, like a file in a directory.
//
// Start with [Prefix], a [source.Discoverer]: Run watches it. It guarantees:
//
//   - The first batch has everything at one revision, and no later change is
//     missed: if etcd has compacted changes, everything is read again.
//   - All changes of one transaction are in one batch.
//   - While etcd can't be reached, the last known content stays in force. This is
//     reported as a problem, and logged when it begins and when it ends.
package etcd

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v5"
	clientv3 "go.etcd.io/etcd/client/v3"

	"wasmxds/definition"
	"wasmxds/source"
)

// Name is the name of the source in keys.
const Name = "etcd"

// Prefix is the keys below one prefix. Dial and Prefix are required; all other
// fields have defaults. It must not be changed after Run is called.
type Prefix struct {
	// Dial returns a client, which Run closes. Run calls it again after etcd
	// could not be reached.
	Dial   func(context.Context) (*clientv3.Client, error)
	Prefix string // ends with a slash, such as /wasmxds/

	Quiet time.Duration // time without changes before they are sent; default 10 ms
	Max   time.Duration // maximum time to wait for an end of changes; default 200 ms
	Probe time.Duration // interval of checks that etcd can be reached; default 5 s
	Wait  time.Duration // timeout of requests; default 10 s

	MaxDocuments int // further documents are left out, with a problem; default 10000
	MaxSize      int // in bytes; a larger document is an error; default definition.MaxSize

	Log *slog.Logger // default slog.Default()
}

// Definitions returns the prefix of the keys of documents.
func Definitions(prefix string) string { return prefix + "definitions/" }

// errAgain ends a session without an error, to read everything again.
var errAgain = errors.New("read again")

// run is a Prefix with its defaults and the state of Run.
type run struct {
	Prefix
	below string // prefix of the keys
	up    chan<- source.Batch

	begun bool      // a batch was sent
	away  time.Time // since when etcd can't be reached; zero: it can
	told  bool      // a batch has reported that etcd can't be reached
}

// Run sends the content of etcd, and then its changes, until ctx ends. Then it
// returns nil. It returns an error if the Prefix is not set up correctly.
func (p *Prefix) Run(ctx context.Context, up chan<- source.Batch) error {
	if p.Prefix == "" || p.Dial == nil {
		return errors.New("etcd: no prefix or no way to connect given")
	}
	r := &run{Prefix: *p, below: Definitions(p.Prefix), up: up}
	r.Quiet, r.Max = cmp.Or(p.Quiet, 10*time.Millisecond), cmp.Or(p.Max, 200*time.Millisecond)
	r.Probe, r.Wait = cmp.Or(p.Probe, 5*time.Second), cmp.Or(p.Wait, 10*time.Second)
	r.MaxDocuments, r.MaxSize = cmp.Or(p.MaxDocuments, 10_000), cmp.Or(p.MaxSize, definition.MaxSize)
	r.Log = cmp.Or(p.Log, slog.Default())
	r.run(ctx)
	return nil
}

// send waits until a batch is received, or ctx ends.
func (r *run) send(ctx context.Context, b source.Batch) {
	select {
	case r.up <- b:
		r.begun = true
	case <-ctx.Done():
	}
}

// run runs sessions until ctx ends.
func (r *run) run(ctx context.Context) {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = 100*time.Millisecond, 5*time.Second
	for {
		err := r.session(ctx, pause.Reset)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errAgain):
			continue
		}
		r.lost(ctx, err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause.NextBackOff()):
		}
	}
}

// grace is how long etcd may be unreachable before this is a problem: electing
// a new leader takes one or two seconds.
const grace = 3 * time.Second

// lost records that etcd can't be reached.
func (r *run) lost(ctx context.Context, err error) {
	now := time.Now()
	if r.away.IsZero() {
		r.away = now
		r.Log.Warn("etcd can't be reached: its last known definitions stay in force", "error", err)
	}
	if r.told || r.begun && now.Sub(r.away) < grace {
		return
	}
	r.told = true
	r.send(ctx, source.Batch{Source: Name, Whole: true, Unknown: []source.Unknown{{Problem: definition.Problem{
		File: Name, Message: "can't be reached: " + reason(err), Hint: "the last known definitions stay in force; check etcd and the --etcd flags",
	}}}})
}

// found records that etcd was read.
func (r *run) found() {
	if !r.away.IsZero() {
		r.Log.Info("etcd is back", "after", time.Since(r.away).Round(time.Millisecond))
	}
	r.away, r.told = time.Time{}, false
}

// reason returns an error in words that are the same for each attempt.
func reason(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "it does not answer in time"
	}
	return err.Error()
}

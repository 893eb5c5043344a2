// Package etcd finds definitions in etcd: each value below PREFIX/definitions/
// is a document, as a file is in a directory.
//
// Start with [Prefix], a [source.Discoverer]: Run watches it. It promises:
//
//   - What is sent first is all there was at one revision, and from there on
//     nothing is missed: where etcd has forgotten what happened since
//     (compaction), all is read again.
//   - What one transaction has changed goes in one batch.
//   - While etcd can't be reached what was known goes on. That it can't is a
//     problem, and a line in the log when it begins and when it ends.
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

// Name is that of the source, as its keys have it.
const Name = "etcd"

// Prefix is the keys below one prefix. Set Dial and Prefix; all else has a
// default. It must not be changed once Run is called.
type Prefix struct {
	// Dial gives a client, which is closed when Run has done with it. It is called
	// again after a time in which etcd could not be reached.
	Dial   func(context.Context) (*clientv3.Client, error)
	Prefix string // ends with a slash, as /wasmxds/

	Quiet time.Duration // without changes, before they are sent; default 10 ms
	Max   time.Duration // that changes may go on before they are sent all the same; default 200 ms
	Probe time.Duration // between looks whether etcd is there; default 5 s
	Wait  time.Duration // for an answer of etcd's; default 10 s

	MaxDocuments int // more are left out, and said to be; default 10000
	MaxSize      int // bytes; a larger document is bad; default definition.MaxSize

	Log *slog.Logger // default slog.Default()
}

// Definitions is what the keys of documents begin with, below a prefix.
func Definitions(prefix string) string { return prefix + "definitions/" }

// errAgain ends a session whose end is no trouble: all is to be read again.
var errAgain = errors.New("read again")

// run is a Prefix with its defaults, while it runs.
type run struct {
	Prefix
	below string // prefix of the keys
	up    chan<- source.Batch

	begun bool      // a batch was sent
	away  time.Time // since when etcd can't be reached; zero: it can
	told  bool      // that it can't, to whoever takes the batches
}

// Run sends what is in etcd, and again what changes, until ctx ends; then it
// returns nil. An error says that the Prefix is not set up right.
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

// send waits until a batch is taken, or ctx ends.
func (r *run) send(ctx context.Context, b source.Batch) {
	select {
	case r.up <- b:
		r.begun = true
	case <-ctx.Done():
	}
}

// run has sessions until ctx ends.
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

// grace is how long etcd may be away before that is a problem: a new leader is
// there after a second or two.
const grace = 3 * time.Second

// lost notes that etcd can't be reached.
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
		File: Name, Message: "can't be reached: " + reason(err), Hint: "what was known of it goes on; look at etcd, and at the flags --etcd…",
	}}}})
}

// found notes that etcd was read.
func (r *run) found() {
	if !r.away.IsZero() {
		r.Log.Info("etcd is back", "after", time.Since(r.away).Round(time.Millisecond))
	}
	r.away, r.told = time.Time{}, false
}

// reason is an error in words that stay the same from try to try.
func reason(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "it does not answer in time"
	}
	return err.Error()
}

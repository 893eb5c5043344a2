package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"wasmxds/admin"
	"wasmxds/module"
	"wasmxds/printable"
	"wasmxds/rollout"
)

// about shows a change; with --watch until it has come to an end, which is an
// error where it is not the one that is wanted.
func (f *rolloutFlags) about(ctx context.Context, out io.Writer, id string, verb rollout.Verb, want rollout.State) error {
	client, err := f.open()
	if err != nil {
		return err
	}
	var last *rollout.ChangeStatus
	show := func(w io.Writer) (bool, error) {
		all, err := client.Rollouts(ctx)
		if err != nil {
			return false, err
		}
		if id == "" {
			if id, err = meant(all, verb); err != nil {
				return false, wrong(err)
			}
		}
		c, err := all.Find(id)
		if err != nil {
			return false, wrong(err)
		}
		id, last = c.ID, c // the same also when another begins so
		if f.output == "table" {
			err = printChange(w, c, time.Now())
		} else {
			err = printAs(w, f.output, c)
		}
		return ended(c.State), err
	}
	if !f.watch {
		_, err := show(out)
		return asked(err)
	}
	if id == "" {
		if err := coming(ctx, client); err != nil {
			return asked(err)
		}
	}
	if err := follow(ctx, out, f.output == "table", show); err != nil {
		return err
	}
	switch {
	case last == nil || !ended(last.State):
		return wrong(errInterrupted)
	case last.State != want:
		return wrong(fmt.Errorf("%s is %s: %s", printable.Text(last.Title), last.State, printable.Text(last.Words)))
	}
	return nil
}

// ended says whether a change goes no further by itself.
func ended(s rollout.State) bool {
	return s == rollout.Done || s == rollout.Stopped || s == rollout.Superseded
}

// coming returns when a change is in progress, or no file that was just written
// can become one any more. That there is none because of errors in definitions is
// an error: who has written them must not take the end of an older change for
// that of theirs.
func coming(ctx context.Context, client *admin.Client) error {
	var quiet lull
	for {
		st, err := client.Page(ctx, "", 1)
		var all *admin.Rollouts
		if err == nil {
			all, err = client.Rollouts(ctx) // after the status: a change begins when its modules are there
		}
		switch {
		case ctx.Err() != nil:
			return wrong(errInterrupted)
		case err != nil:
			return err
		}
		if slices.ContainsFunc(all.Changes, func(c rollout.ChangeStatus) bool { return !ended(c.State) }) {
			return nil
		}
		if quiet.over(st, time.Now()) {
			if n := len(st.Definitions.Errors); n > 0 {
				return wrong(fmt.Errorf("no change is in progress, and definitions have %s\nhint: xds-server status shows them; xds-server rollout show ID shows an earlier change", plural(n, "error")))
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return wrong(errInterrupted)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// lull sees when nothing has been on its way for longer than a file that was just
// written goes unnoticed.
type lull struct{ since time.Time }

// over says whether that is so by now.
func (l *lull) over(st *admin.Status, at time.Time) bool {
	busy := !st.Ready || slices.ContainsFunc(st.Filters, func(f admin.Filter) bool { return f.State == module.Fetching })
	if busy || l.since.IsZero() {
		l.since = at
	}
	return !busy && at.Sub(l.since) >= settle
}

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"wasmxds/e2e/harness"
	"wasmxds/e2e/wasmtest"
)

// policy has nothing but crashes and the like end a change: to compare how many
// requests fail, Envoys are watched for two minutes or more before each wave.
const policy = `kind: Rollout
name: careful
waves: [1, 50%]     # a change goes to one Envoy, then to half of them, then to all
bake: 10s           # each wave must be good for so long
stop:               # if not, who has the change gets what was before
  crashes: 1
  errors: {more: 100%}      # not looked at here: to compare takes minutes
  latency: {more: 10000%}
`

// crashAt is the request at which the new version crashes. It starts well, and a
// test with a few requests would not find it.
const crashAt = 50

// rolling is the second part: a filter that crashes under load.
type rolling struct {
	server              *harness.Server
	definitions, module string
	value               string // of the header, from before
	addresses           map[string]string
}

func (r *rolling) show(ctx context.Context) error {
	if err := write(r.definitions, "careful.yaml", policy); err != nil {
		return err
	}
	loads := map[string]*harness.Load{}
	for id, address := range r.addresses {
		loads[id] = harness.StartLoad(ctx, harness.LoadConfig{Address: address, Workers: 1, Pause: 20 * time.Millisecond})
		defer loads[id].Stop()
	}
	say("requests, all the while, on each of the three Envoys")

	bad := wasmtest.Filter{Header: header, Value: "hello from version 2", Fault: wasmtest.TrapAt, At: crashAt}
	if err := os.WriteFile(filepath.Join(r.definitions, "crashes.wasm"), bad.Module(), 0o644); err != nil {
		return err
	}
	say("a new version of the filter, which starts well and crashes at its %dth request:", crashAt)
	written := time.Now()
	if err := write(r.definitions, "hello.yaml", fmt.Sprintf(filter, "crashes.wasm", "unused")); err != nil {
		return err
	}
	change, err := r.stopped(ctx, written)
	if err != nil {
		return err
	}
	say("stopped by itself, %d ms after the file was written:\n\n  %s\n", change.Ended.Sub(written).Milliseconds(), change.Words)
	if err := r.back(ctx); err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(loads)) {
		counts := loads[id].Stop()
		had := "never had it"
		if !loads[id].LastSeen(header, bad.Value).IsZero() {
			had = "had it, and runs what it had before again"
		}
		say("%s: %d of %d requests failed; it %s", id, counts.Failed, counts.Requests, had)
		if had == "never had it" && counts.Failed > 0 {
			return fmt.Errorf("requests failed where the new version never was: %v", counts)
		}
	}
	list, err := r.server.Run(ctx, "rollout", "--admin", "http://"+r.server.Addresses.Admin)
	if err != nil {
		return err
	}
	say("nobody gets that version any more:\n\n  $ xds-server rollout\n%s", indent(string(list)))
	return nil
}

// stopped waits until the change is.
func (r *rolling) stopped(ctx context.Context, written time.Time) (change harness.Change, err error) {
	err = harness.Poll(ctx, time.Minute, func() (err error) {
		if change, err = r.server.Newest(ctx, "hello", written.Add(-time.Second)); err == nil && change.State != "stopped" {
			err = errors.New(change.Words)
		}
		return err
	})
	return change, err
}

// back waits until all Envoys run what they had before. Until then requests may
// fail.
func (r *rolling) back(ctx context.Context) error {
	client := &http.Client{}
	defer client.CloseIdleConnections()
	return harness.Poll(ctx, time.Minute, func() error {
		for id, address := range r.addresses {
			headers, err := harness.Request(ctx, client, "http://"+address, nil)
			if err != nil {
				return err
			}
			if got := headers.Get(header); got != r.value {
				return fmt.Errorf("%s adds %q", id, got)
			}
		}
		return nil
	})
}

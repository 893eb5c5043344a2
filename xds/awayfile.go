package xds

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/google/renameio/v2"

	"wasmxds/definition"
)

// knownNode is a line of the file of nodes that were served.
type knownNode struct {
	ID      string            `json:"id"`
	Cluster string            `json:"cluster,omitempty"`
	Labels  map[string]string `json:"labels,omitempty"`
	Seen    time.Time         `json:"seen"`           // when it last had a stream
	Away    time.Duration     `json:"away,omitempty"` // how long it had been away when this was written; 0: it was not
}

func (n *knownNode) node() definition.Node {
	return definition.Node{ID: n.ID, Cluster: n.Cluster, Labels: n.Labels}
}

// nodesFile keeps which nodes were served, for the server after this one.
type nodesFile struct {
	path string
	log  *slog.Logger
}

// Changes are written together: soon, for the server may be killed, and not
// often, for all of a large fleet is written anew.
const (
	nodesSoon  = 100 * time.Millisecond
	nodesPause = 2 * time.Second
)

// load gives the nodes that an earlier server left. What can't be read is
// logged, and left out.
func (f *nodesFile) load(a *away, now time.Time) {
	file, err := os.Open(f.path)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			f.log.Warn("cannot read which Envoys were here before", "error", err)
		}
		return
	}
	defer file.Close()
	dec := json.NewDecoder(io.LimitReader(bufio.NewReader(file), 2*awayBytes))
	for range awayMost {
		var n knownNode
		if err := dec.Decode(&n); err != nil {
			if !errors.Is(err, io.EOF) {
				f.log.Warn("cannot read which Envoys were here before", "file", f.path, "error", err)
			}
			break
		}
		if n.ID != "" && n.Away >= 0 && n.Away < awayKeep {
			a.put(&gone{node: n.node(), seen: n.Seen, since: now.Add(-n.Away)}, now)
		}
	}
	if len(a.nodes) > 0 {
		f.log.Info("Envoys were here before: they are away until they connect", "nodes", len(a.nodes))
	}
}

// run writes what changes, until ctx ends, and then what is.
func (f *nodesFile) run(ctx context.Context, changed <-chan struct{}, known func() []knownNode) {
	write := func() {
		if err := f.write(known()); err != nil {
			f.log.Warn("cannot keep which Envoys were here", "error", err)
		}
	}
	defer write()
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
		pause(ctx, nodesSoon)
		start := time.Now()
		write()
		pause(ctx, max(nodesPause, 50*time.Since(start)))
	}
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func (f *nodesFile) write(known []knownNode) error {
	t, err := renameio.NewPendingFile(f.path, renameio.WithPermissions(0o600))
	if err != nil {
		return err
	}
	defer t.Cleanup()
	out := bufio.NewWriter(t)
	enc := json.NewEncoder(out)
	for i, bytes := 0, 0; i < min(len(known), awayMost); i++ {
		if bytes += size(known[i].node()); bytes > awayBytes {
			break
		}
		if err := enc.Encode(known[i]); err != nil {
			return fmt.Errorf("write %s: %w", f.path, err)
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	return t.CloseAtomicallyReplace()
}

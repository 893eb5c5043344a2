package pipeline

import (
	"context"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	modulepeer "wasmxds/module/peer"
	"wasmxds/replica"
	"wasmxds/xds"
)

// held are the streams of this server's Envoys.
type held struct{ *xds.Server }

// Len returns the number of streams.
func (h held) Len() int { return int(h.Stats().Streams) }

// spreads moves Envoys to other servers that have fewer.
func (p *Pipeline) spreads(peers *replica.Peers) {
	p.streams = replica.NewStreams(peers.Registry, held{p.XDS}, p.options.Log)
}

// ready is called when the first set has been published.
func (p *Pipeline) ready() {
	if p.streams != nil {
		p.streams.Ready()
	}
	p.options.Ready()
}

// Leave moves all Envoys to other servers of the state, within a time, because
// this server is about to stop.
func (p *Pipeline) Leave(ctx context.Context, within time.Duration) {
	if p.streams != nil {
		p.streams.Leave(ctx, within)
	}
}

// needed returns the modules that Envoys may be sent, whatever the definitions
// are.
func (p *Pipeline) needed() []string { return slices.Concat(p.XDS.Needed(), p.rollouts.Modules()) }

// sharesModules lets servers fetch modules from each other.
func (p *Pipeline) sharesModules(peers *replica.Peers) {
	o := &p.options.Modules
	peers.Handle("GET "+modulepeer.Folder, modulepeer.Handler(o.Store, p.options.Log))
	p.modules = modulepeer.New(modulepeer.Options{
		Store: o.Store, Limit: o.Limit, Logger: p.options.Log, Observer: o.Observer,
		Others: func() []modulepeer.Other {
			var all []modulepeer.Other
			for id, m := range peers.Registry.Living() {
				all = append(all, modulepeer.Other{Name: id, Ask: func(ctx context.Context, path string) (*http.Response, error) {
					return peers.Ask(ctx, m, path)
				}})
			}
			rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			return all
		},
	})
	o.Peers = p.modules
}

// downloadWaits bounds how long a download waits for a module that another
// server has.
const downloadWaits = 20 * time.Second

// missing fetches a module that an Envoy requests from another server. It only
// does so for modules that are needed, because a client may request anything.
func (p *Pipeline) missing(ctx context.Context, sha256 string) error {
	if p.modules == nil || !slices.Contains(p.needed(), sha256) {
		return fs.ErrNotExist
	}
	ctx, cancel := context.WithTimeout(ctx, downloadWaits)
	defer cancel()
	return p.modules.Get(ctx, sha256)
}

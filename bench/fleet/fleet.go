package fleet

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Options describe a fleet. Address is required.
type Options struct {
	Address string // host:port of the server, or of several, separated by commas; an Envoy goes from one that fails to the next
	Delta   bool
	TLS     *tls.Config // nil: plaintext
	First   int         // number of the first Envoy; number 0 has the id "edge-00000" and the address 127.1.0.1
	Clients int
	Roles   [roles]int // how many have each role; the others are Steady, whatever Roles[Steady] is
	Node    int        // size of the node message in bytes; default 30 KiB

	Namespace string // in the node metadata; "": none

	// Runs, if set, is called when requests begin to meet another revision of a
	// filter at an Envoy. That Envoy's goroutine calls it.
	Runs func(node, filter string, revision int)

	RefuseAbove int           // see Refusing
	Dials       int           // connections opened at once; default 512
	Backoff     time.Duration // before connecting again; default 100 ms
}

// Fleet is many Envoys.
type Fleet struct {
	options  Options
	servers  []string // their addresses
	opening  []byte
	node     []byte
	contents *contents
	envoys   []*envoy
	goal     atomic.Pointer[Goal]
	counters counters

	dials, downloads chan struct{} // limit how many are in progress

	mu    sync.Mutex
	conns map[*envoy]net.Conn
	err   error // the last error

	ctx    context.Context // from Start to Stop; downloads outlive the stream that caused them
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

type counters struct {
	connected, responses, refused, bytes         atomic.Int64
	fetches, refetches, failed, downloaded, lost atomic.Int64
}

// Counts are totals, except for Connected.
type Counts struct {
	Connected  int64
	Responses  int64 // received
	Refused    int64 // of them
	Bytes      int64 // received on ADS streams, HTTP/2 framing included
	Fetches    int64 // downloads of modules that began
	Refetches  int64 // of them, while another one of the same module was in progress
	Failed     int64 // of them
	Downloaded int64 // in bytes
	Lost       int64 // connections
}

// New returns a fleet. It raises the limit of open files.
func New(o Options) (*Fleet, error) {
	if o.Node == 0 {
		o.Node = 30 << 10
	}
	if o.Dials == 0 {
		o.Dials = 512
	}
	if o.Backoff == 0 {
		o.Backoff = 100 * time.Millisecond
	}
	servers := strings.Split(o.Address, ",")
	node, err := nodeOf("bench", o.Namespace, len(servers), o.Node)
	if err != nil {
		return nil, err
	}
	spare, err := spareFiles(o.Clients)
	if err != nil {
		return nil, err
	}
	method := "StreamAggregatedResources"
	if o.Delta {
		method = "DeltaAggregatedResources"
	}
	f := &Fleet{
		options: o, servers: servers, node: node, contents: newContents(), conns: map[*envoy]net.Conn{},
		opening:   opening("/envoy.service.discovery.v3.AggregatedDiscoveryService/"+method, servers[0]),
		dials:     make(chan struct{}, o.Dials),
		downloads: make(chan struct{}, min(spare, 4096)),
	}
	for n := o.First; n < o.First+o.Clients; n++ {
		f.envoys = append(f.envoys, &envoy{
			fleet: f, n: n, server: n, ip: net.IPv4(127, byte(1+(n+1)>>16), byte((n+1)>>8), byte(n+1)).To4(), slots: map[string]*slot{},
		})
	}
	last := o.Clients
	for role := Stalled; role < roles; role++ {
		for range o.Roles[role] {
			if last--; last < 0 {
				return nil, errors.New("more Envoys with a role than there are")
			}
			f.envoys[last].role = role
		}
	}
	return f, nil
}

// spareFiles raises the limit of open files as far as allowed, and returns how many
// are left beside the streams.
func spareFiles(clients int) (int, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, err
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("raise the limit of open files: %w", err)
	}
	spare := int64(limit.Max) - int64(clients) - 100
	if spare < 16 {
		return 0, fmt.Errorf("%d Envoys need more open files than the %d that are allowed: raise `ulimit -Hn`", clients, limit.Max)
	}
	return int(min(spare, 1<<20)), nil
}

func (f *Fleet) nodeFor(n int) []byte {
	return append(appendString(make([]byte, 0, len(f.node)+16), 1, nodeID(n)), f.node...)
}

// Start connects all Envoys, until Stop.
func (f *Fleet) Start(ctx context.Context) {
	f.ctx, f.cancel = context.WithCancel(ctx)
	for _, e := range f.envoys {
		f.wg.Go(func() { e.run(f.ctx) })
	}
}

// Stop disconnects all Envoys, and waits until all goroutines have ended.
func (f *Fleet) Stop() {
	f.cancel()
	f.wg.Wait()
}

// Cut closes all connections. The Envoys connect again.
func (f *Fleet) Cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, nc := range f.conns {
		nc.Close()
	}
}

// Counts returns the current counters.
func (f *Fleet) Counts() Counts {
	c := &f.counters
	return Counts{
		Connected: c.connected.Load(), Responses: c.responses.Load(), Refused: c.refused.Load(), Bytes: c.bytes.Load(),
		Fetches: c.fetches.Load(), Refetches: c.refetches.Load(), Failed: c.failed.Load(), Downloaded: c.downloaded.Load(),
		Lost: c.lost.Load(),
	}
}

// Pushes returns, after Stop, how many responses with filters the Envoys of a role
// received.
func (f *Fleet) Pushes(role Role) int64 {
	var n int64
	for _, e := range f.envoys {
		if e.role == role {
			n += e.pushes
		}
	}
	return n
}

// Err returns the last error of any Envoy, or nil.
func (f *Fleet) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

func (f *Fleet) dial(ctx context.Context, e *envoy) (net.Conn, error) {
	select {
	case f.dials <- struct{}{}:
		defer func() { <-f.dials }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: e.ip}, KeepAlive: -1}
	nc, err := d.DialContext(ctx, "tcp", f.servers[e.server%len(f.servers)])
	if err != nil || f.options.TLS == nil {
		return nc, err
	}
	tc := tls.Client(nc, f.options.TLS)
	if err := tc.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, err
	}
	return tc, nil
}

func (f *Fleet) joined(e *envoy, nc net.Conn) {
	f.counters.connected.Add(1)
	f.mu.Lock()
	f.conns[e] = nc
	f.mu.Unlock()
}

func (f *Fleet) left(e *envoy) {
	f.counters.connected.Add(-1)
	f.mu.Lock()
	delete(f.conns, e)
	f.mu.Unlock()
}

func (f *Fleet) lost(e *envoy, err error) {
	f.counters.lost.Add(1)
	if !errors.Is(err, net.ErrClosed) {
		f.fail(fmt.Errorf("%s: %w", nodeID(e.n), err))
	}
}

func (f *Fleet) fail(err error) {
	f.mu.Lock()
	f.err = err
	f.mu.Unlock()
}

// fetch downloads a module in the background. As Envoy does, it begins another
// download even if one is in progress.
func (f *Fleet) fetch(e *envoy, c *content) {
	f.counters.fetches.Add(1)
	if e.code.begin(c.sha256) > 0 {
		f.counters.refetches.Add(1)
	}
	f.wg.Go(func() {
		ctx, cancel := context.WithTimeout(f.ctx, time.Minute)
		defer cancel()
		select {
		case f.downloads <- struct{}{}:
			defer func() { <-f.downloads }()
		case <-ctx.Done():
			return
		}
		n, err := download(ctx, e.ip, f.options.TLS, c.url, c.sha256)
		f.counters.downloaded.Add(n)
		if err != nil {
			f.counters.failed.Add(1)
			f.fail(err)
		}
		e.code.end(c.sha256, err == nil)
	})
}

// cache is an Envoy's cache of modules.
type cache struct {
	mu       sync.Mutex
	here     []string
	fetching map[string]int
}

func (c *cache) has(sha256 string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Contains(c.here, sha256)
}

// begin returns how many downloads of the module were in progress.
func (c *cache) begin(sha256 string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fetching == nil {
		c.fetching = map[string]int{}
	}
	n := c.fetching[sha256]
	c.fetching[sha256]++
	return n
}

func (c *cache) end(sha256 string, good bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fetching[sha256]--; c.fetching[sha256] == 0 {
		delete(c.fetching, sha256)
	}
	if good && !slices.Contains(c.here, sha256) {
		c.here = append(c.here, sha256)
	}
}

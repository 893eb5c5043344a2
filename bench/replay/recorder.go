package replay

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"
)

// settle is how long a response waits after a download, until the Envoy has the module.
const settle = time.Second

// Recorder stands between one Envoy and an xds-server, in plaintext. To the server, it comes
// from the Envoy's address, by which downloads are told apart.
type Recorder struct {
	server  string // host:port of ADS
	ads     net.Listener
	modules net.Listener

	mu        sync.Mutex
	origin    string // where the server has the modules; "": not known yet
	requests  int
	downloads int
	loaded    time.Time // when the last one ended
	recording Recording
}

// NewRecorder returns a Recorder for a server.
func NewRecorder(server string, delta bool) (*Recorder, error) {
	ads, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	modules, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		ads.Close()
		return nil, err
	}
	return &Recorder{server: server, ads: ads, modules: modules,
		recording: Recording{Delta: delta, Address: modules.Addr().String(), Modules: map[string][]byte{}}}, nil
}

// Address returns where the Envoy connects.
func (r *Recorder) Address() string { return r.ads.Addr().String() }

// Recording returns what was sent so far.
func (r *Recorder) Recording() *Recording {
	r.mu.Lock()
	defer r.mu.Unlock()
	copied := r.recording
	return &copied
}

// Run serves until ctx is done.
func (r *Recorder) Run(ctx context.Context) error {
	g := grpc.NewServer(grpc.ForceServerCodecV2(newRaw()))
	return serve(ctx, g, r.recording.Delta, r.ads, r.modules, r.stream, r.download)
}

// dialer connects from an Envoy's address.
func dialer(from string) (*net.Dialer, error) {
	at, err := netip.ParseAddrPort(from)
	if err != nil {
		return nil, err
	}
	return &net.Dialer{LocalAddr: &net.TCPAddr{IP: at.Addr().AsSlice()}}, nil
}

// stream passes one stream on.
func (r *Recorder) stream(down grpc.ServerStream) error {
	p, _ := peer.FromContext(down.Context())
	d, err := dialer(p.Addr.String())
	if err != nil {
		return err
	}
	cc, err := grpc.NewClient("passthrough:///"+r.server, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(newRaw()), grpc.MaxCallRecvMsgSize(64<<20)),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) { return d.DialContext(ctx, "tcp", address) }))
	if err != nil {
		return err
	}
	defer cc.Close()
	ctx, cancel := context.WithCancel(down.Context())
	defer cancel()
	up, err := cc.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/"+service+"/"+method(r.recording.Delta))
	if err != nil {
		return err
	}
	var both errgroup.Group
	both.Go(func() error {
		defer cancel()
		for {
			var b []byte
			if err := down.RecvMsg(&b); err != nil {
				return err
			}
			r.mu.Lock()
			r.requests++
			r.mu.Unlock()
			if err := up.SendMsg(b); err != nil {
				return err
			}
		}
	})
	both.Go(func() error {
		defer cancel()
		for {
			var b []byte
			if err := up.RecvMsg(&b); err != nil {
				return err
			}
			b, after, err := r.record(b)
			if err != nil {
				return err
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(after):
			}
			if err := down.SendMsg(b); err != nil {
				return err
			}
		}
	})
	return both.Wait()
}

var moduleAt = regexp.MustCompile(`http://([0-9.]+:[0-9]+)/modules/`)

// record records a response. It returns what the Envoy is sent, and when.
func (r *Recorder) record(b []byte) (to []byte, after time.Duration, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m := moduleAt.FindSubmatch(b); m != nil {
		r.origin = string(m[1])
		if len(r.origin) != len(r.recording.Address) {
			return nil, 0, fmt.Errorf("the modules are at %s, whose length is not that of %s", r.origin, r.recording.Address)
		}
		b = bytes.ReplaceAll(b, m[1], []byte(r.recording.Address))
	}
	r.recording.Responses = append(r.recording.Responses, Response{r.requests, r.downloads, b})
	return b, max(time.Until(r.loaded.Add(settle/10)), 0), nil
}

// download passes a download on.
func (r *Recorder) download(w http.ResponseWriter, req *http.Request) {
	b, err := r.fetch(req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	send(w, b)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.recording.Modules[req.URL.Path] = b
}

func (r *Recorder) fetch(req *http.Request) ([]byte, error) {
	d, err := dialer(req.RemoteAddr)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	origin := r.origin
	r.mu.Unlock()
	client := http.Client{Transport: &http.Transport{DialContext: d.DialContext, DisableKeepAlives: true}}
	up, err := http.NewRequestWithContext(req.Context(), http.MethodGet, "http://"+origin+req.URL.RequestURI(), nil)
	if err != nil {
		return nil, err
	}
	answer, err := client.Do(up)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", req.URL, answer.Status)
	}
	// Before the server learns that it has all of it.
	r.mu.Lock()
	r.downloads++
	r.loaded = time.Now()
	r.mu.Unlock()
	return io.ReadAll(answer.Body)
}

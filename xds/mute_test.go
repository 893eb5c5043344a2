package xds_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/proto"

	"wasmxds/xds"
	"wasmxds/xds/swap"
)

// mute is a client with correct HTTP/2, including pings, that never reads its stream: its
// window stays at zero.
type mute struct {
	t      *testing.T
	conn   net.Conn
	framer *http2.Framer
	ended  chan error
}

func (s *scene) mute(t *testing.T, isDelta bool) *mute {
	t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	m := &mute{t, conn, http2.NewFramer(conn, conn), make(chan error, 1)}
	method := "StreamAggregatedResources"
	if isDelta {
		method = "DeltaAggregatedResources"
	}
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, h := range [][2]string{
		{":method", "POST"}, {":scheme", "http"}, {":path", "/envoy.service.discovery.v3.AggregatedDiscoveryService/" + method},
		{":authority", "test"}, {"content-type", "application/grpc"}, {"te", "trailers"},
	} {
		if err := enc.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]}); err != nil {
			t.Fatal(err)
		}
	}
	_, err = conn.Write([]byte(http2.ClientPreface))
	m.must(err)
	m.must(m.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}))
	m.must(m.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true}))
	go func() { m.ended <- m.read() }()
	return m
}

func (m *mute) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// read answers the frames that HTTP/2 requires an answer to.
func (m *mute) read() error {
	for {
		f, err := m.framer.ReadFrame()
		if err != nil {
			return err
		}
		switch f := f.(type) {
		case *http2.DataFrame:
			return fmt.Errorf("%d bytes of data in a window of 0", f.Length)
		case *http2.PingFrame:
			if !f.IsAck() {
				err = m.framer.WritePing(true, f.Data)
			}
		case *http2.RSTStreamFrame:
			return fmt.Errorf("the stream was reset: %v", f.ErrCode)
		}
		if err != nil {
			return err
		}
	}
}

// ask sends a request. Only the test's goroutine writes, except for pings, which are half a
// minute apart.
func (m *mute) ask(r proto.Message) {
	m.t.Helper()
	b, err := proto.Marshal(r)
	m.must(err)
	frame := append(make([]byte, 1, 5+len(b)), 0, 0, 0, 0)
	binary.BigEndian.PutUint32(frame[1:], uint32(len(b)))
	m.must(m.framer.WriteData(1, false, append(frame, b...)))
}

func (m *mute) askFor(isDelta bool, t swap.Type, nonce string) {
	node := &corev3.Node{Id: "mute"}
	if isDelta {
		m.ask(&discoveryv3.DeltaDiscoveryRequest{Node: node, TypeUrl: t.URL(), ResponseNonce: nonce})
	} else {
		m.ask(&discoveryv3.DiscoveryRequest{Node: node, TypeUrl: t.URL(), ResponseNonce: nonce})
	}
}

// big returns a publication with clusters and listeners that no window holds at once, and
// that shares nothing with another step.
func big(step int) string {
	return fmt.Sprintf("listener web %d %d\nfilter hello v%d web\n", 9000+step, 9600+step, step)
}

// TestMute checks that a client that doesn't read delays no other, that what is held for it
// doesn't grow, even if it claims to have read, and that it is disconnected in the end.
func TestMute(t *testing.T) {
	both(t, func(t *testing.T, delta bool) {
		c := newClock()
		s := start(t, xds.Options{Now: c.Now})
		s.publish(t, big(0))
		m := s.mute(t, delta)
		m.askFor(delta, swap.Cluster, "")
		m.askFor(delta, swap.Listener, "")
		eventually(t, "answered", func() bool { return s.Stats().Responses["CDS"] == 1 })
		held := s.Stats().Bytes
		if held < 64<<10 {
			t.Fatalf("%d bytes fit into a window", held)
		}

		e := newEnvoy(t, "a", delta)
		e.connect(s.dial(t, ""))
		for i := range 20 {
			e.has(moduleOf("hello", fmt.Sprintf("v%d", i)))
			s.publish(t, big(i))
			for n := range 5 { // earlier nonces, and current ones
				for _, f := range []string{"%d", "%d-0", "%d-00000000"} {
					nonce := fmt.Sprintf(f, n)
					m.askFor(delta, swap.Cluster, nonce)
					m.askFor(delta, swap.Listener, nonce)
				}
			}
			c.advance(time.Second)
			s.settled(t, "a")
		}
		e.leave()
		eventually(t, "only the mute one here", func() bool { return s.Stats().Streams == 1 })
		before := s.Stats()
		for i := range 20 {
			s.publish(t, big(20+i))
		}
		asked := before.Requests
		m.askFor(delta, swap.Route, "")
		eventually(t, "another request taken", func() bool { return s.Stats().Requests > asked })
		if after := s.Stats(); after.Bytes != before.Bytes {
			t.Errorf("%d bytes were sent on top of %d that were not read", after.Bytes-before.Bytes, held)
		}

		e.connect(s.dial(t, ""))
		e.has(moduleOf("hello", "v39"))
		s.settled(t, "a")
		c.advance(2 * time.Minute)
		select {
		case err := <-m.ended:
			t.Logf("%d bytes were held; cut: %v", held, err)
		case <-time.After(within):
			t.Fatal("it is not cut")
		}
		eventually(t, "gone", func() bool { n, _ := s.node("mute"); return !n.AwaySince.IsZero() })
		s.settled(t, "a") // the other continues
	})
}

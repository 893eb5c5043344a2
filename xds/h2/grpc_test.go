package h2_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"wasmxds/xds/h2"
)

// transports runs a test in plaintext and with TLS.
func transports(t *testing.T, test func(t *testing.T, o h2.Options, client credentials.TransportCredentials)) {
	t.Run("plaintext", func(t *testing.T) { test(t, h2.Options{}, nil) })
	t.Run("TLS", func(t *testing.T) {
		server, client := identities(t)
		test(t, h2.Options{Credentials: credentials.NewTLS(server)}, credentials.NewTLS(client))
	})
}

func identities(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, BasicConstraintsValid: true, IsCA: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	pair := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	server = &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2"}, ClientAuth: tls.RequireAnyClientCert}
	return server, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", Certificates: []tls.Certificate{pair}}
}

// noise returns bytes that don't follow from their number.
func noise(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * i >> 3)
	}
	return b
}

func TestEcho(t *testing.T) {
	transports(t, func(t *testing.T, o h2.Options, creds credentials.TransportCredentials) {
		s := start(t, o)
		k, _ := open(t, s.dial(creds))
		for _, size := range []int{0, 1, 5, 1000, 16 << 10, 65535, 100 << 10, 3 << 20} {
			k.say(noise(size))
			k.hears(noise(size))
		}
		st := wait(t, s.begun)
		if p, ok := peer.FromContext(st.Context()); !ok || (p.AuthInfo != nil) != (creds != nil) || !strings.HasPrefix(p.Addr.String(), "127.0.0.1:") {
			t.Errorf("the peer is %+v", p)
		}
		if err := k.CloseSend(); err != nil {
			t.Fatal(err)
		}
		k.ends(codes.OK, "")
		if wait(t, s.ended) != st {
			t.Error("another stream ended")
		}
		if st.Context().Err() == nil {
			t.Error("its context goes on")
		}
		if err := st.Send(nil); !errors.Is(err, h2.ErrEnded) {
			t.Errorf("sent after the end: %v", err)
		}
	})
}

// TestTinyWindows has a client with windows much smaller than a message.
func TestTinyWindows(t *testing.T) {
	s := start(t, h2.Options{})
	k, _ := open(t, s.dial(nil, grpc.WithStaticStreamWindowSize(64<<10), grpc.WithStaticConnWindowSize(64<<10), grpc.WithReadBufferSize(100)))
	for range 3 {
		k.say(noise(1 << 20))
	}
	for range 3 {
		k.hears(noise(1 << 20))
	}
}

func TestManyStreamsAndMessages(t *testing.T) {
	transports(t, func(t *testing.T, o h2.Options, creds credentials.TransportCredentials) {
		s := start(t, o)
		c := s.dial(creds)
		done := make(chan error, 10)
		for range 10 {
			k, _ := open(t, c)
			go func() {
				for i := range 200 {
					k.say(noise(i * 20))
				}
				for i := range 200 {
					if b, err := k.hear(); err != nil || !bytes.Equal(b, noise(i*20)) {
						done <- fmt.Errorf("message %d: %d bytes, %v", i, len(b), err)
						return
					}
				}
				done <- nil
			}()
		}
		for range 10 {
			if err := wait(t, done); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestEnds checks that a stream's end is reported once, whichever side ends it.
func TestEnds(t *testing.T) {
	s := start(t, h2.Options{})
	c := s.dial(nil)
	ended := func(t *testing.T) {
		t.Helper()
		st := wait(t, s.begun)
		if wait(t, s.ended) != st {
			t.Error("another stream ended")
		}
		<-st.Context().Done()
	}

	t.Run("error", func(t *testing.T) {
		k, _ := open(t, c)
		k.say([]byte("fail 100% – naïve\n"))
		k.ends(codes.FailedPrecondition, "100% – naïve\n")
		ended(t)
	})
	t.Run("error after messages", func(t *testing.T) {
		k, _ := open(t, c)
		k.say([]byte("one"))
		k.say([]byte("fail two"))
		k.hears([]byte("one"))
		k.ends(codes.FailedPrecondition, "two")
		ended(t)
	})
	t.Run("by another goroutine", func(t *testing.T) {
		k, _ := open(t, c)
		st := wait(t, s.begun)
		st.End(errors.New("anything"))
		st.End(nil) // the first counts
		k.ends(codes.Unknown, "anything")
		if wait(t, s.ended) != st {
			t.Error("another stream ended")
		}
	})
	t.Run("cancel", func(t *testing.T) {
		k, cancel := open(t, c)
		k.say([]byte("one"))
		k.hears([]byte("one"))
		cancel()
		ended(t)
	})
	t.Run("too large", func(t *testing.T) {
		k, _ := open(t, c)
		k.say(make([]byte, 4<<20+1))
		k.ends(codes.ResourceExhausted, "more than 4194304")
		ended(t)
	})
	t.Run("compressed", func(t *testing.T) {
		k, _ := open(t, c, grpc.UseCompressor(gzip.Name))
		k.say(make([]byte, 1000))
		k.ends(codes.Unimplemented, "compressed")
		ended(t)
	})
	t.Run("another method", func(t *testing.T) {
		err := c.Invoke(t.Context(), "/test.Other/Do", &healthpb.HealthCheckRequest{}, &healthpb.HealthCheckResponse{})
		if status.Code(err) != codes.Unimplemented {
			t.Error(err)
		}
	})
	t.Run("the connection", func(t *testing.T) {
		k, _ := open(t, c)
		k.say([]byte("one"))
		k.hears([]byte("one"))
		st := wait(t, s.begun)
		c.Close()
		if wait(t, s.ended) != st {
			t.Error("another stream ended")
		}
	})
	select {
	case <-s.ended:
		t.Error("told of an end twice")
	default:
	}
}

// TestSlowReader checks that messages to a client that doesn't read are kept, that the
// sender isn't blocked, and that all arrive in the end.
func TestSlowReader(t *testing.T) {
	transports(t, func(t *testing.T, o h2.Options, creds credentials.TransportCredentials) {
		s := start(t, o)
		k, _ := open(t, s.dial(creds, grpc.WithStaticStreamWindowSize(16<<20), grpc.WithStaticConnWindowSize(16<<20)))
		k.say([]byte("one"))
		k.hears([]byte("one"))
		body := encode(noise(1 << 20))
		st := wait(t, s.begun)
		for range 30 {
			if err := st.Send(body); err != nil {
				t.Fatal(err)
			}
		}
		for range 30 {
			k.hears(noise(1 << 20))
		}
	})
}

func TestGracefulStop(t *testing.T) {
	transports(t, func(t *testing.T, o h2.Options, creds credentials.TransportCredentials) {
		s := start(t, o)
		k, _ := open(t, s.dial(creds))
		k.say([]byte("one"))
		k.hears([]byte("one"))
		idle, _ := open(t, s.dial(creds))
		_ = idle.CloseSend()
		idle.ends(codes.OK, "")
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			s.GracefulStop()
		}()
		for i := range 100 { // the stream still works
			k.say(noise(i))
			k.hears(noise(i))
		}
		select {
		case <-stopped:
			t.Fatal("stopped with a stream open")
		default:
		}
		_ = k.CloseSend()
		k.ends(codes.OK, "")
		wait(t, stopped)
	})
}

func TestStopEndsStreams(t *testing.T) {
	s := start(t, h2.Options{})
	k, _ := open(t, s.dial(nil))
	st := wait(t, s.begun)
	s.Stop()
	if wait(t, s.ended) != st {
		t.Error("another stream ended")
	}
	k.ends(codes.Unavailable, "")
}

// TestOther checks that a connection for another service reaches a grpc.Server unchanged.
func TestOther(t *testing.T) {
	transports(t, func(t *testing.T, o h2.Options, creds credentials.TransportCredentials) {
		l := h2.NewRest(&net.TCPAddr{})
		g := grpc.NewServer(grpc.Creds(h2.Credentials{}))
		healthpb.RegisterHealthServer(g, health.NewServer())
		served := make(chan error, 1)
		go func() { served <- g.Serve(l) }()
		t.Cleanup(func() {
			g.Stop()
			if err := wait(t, served); err != nil {
				t.Error(err)
			}
		})
		o.Other = l.Take
		s := start(t, o)
		c := s.dial(creds)
		for range 100 {
			r, err := healthpb.NewHealthClient(c).Check(t.Context(), &healthpb.HealthCheckRequest{})
			if err != nil || r.Status != healthpb.HealthCheckResponse_SERVING {
				t.Fatal(r, err)
			}
		}
		k, _ := open(t, s.dial(creds))
		k.say([]byte("one"))
		k.hears([]byte("one"))
	})
}

// TestNotHTTP2 checks that a connection that isn't HTTP/2 is closed.
func TestNotHTTP2(t *testing.T) {
	s := start(t, h2.Options{})
	c, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: somebody\r\n\r\n")
	_ = c.SetDeadline(time.Now().Add(within))
	if b, err := io.ReadAll(c); len(b) > 100 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%q, %v", b, err)
	}
}

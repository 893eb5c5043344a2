package exchange

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// Got is what a client received. Its message is nil if there was none.
type Got struct {
	Message *Message
	Reset   bool // the stream or connection was reset
}

// Request sends a request to an Envoy whose listener expects the PROXY protocol, as the
// client with the address source, and reads the response until ctx ends.
func Request(ctx context.Context, address, source string, m Message, http2 bool) (Got, error) {
	conn, err := Dial(ctx, address, source)
	if err != nil {
		return Got{}, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // a deadline in the past
	defer stop()
	if http2 {
		return requestH2(conn, m)
	}
	return requestH1(conn, m)
}

// Dial opens a connection on behalf of a client elsewhere, whose address Envoy gets by the
// PROXY protocol.
func Dial(ctx context.Context, address, source string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(source)
	if err != nil {
		return nil, fmt.Errorf("source address: %w", err)
	}
	ip := net.ParseIP(host)
	if n, err := strconv.ParseUint(port, 10, 16); ip == nil || err != nil || n == 0 {
		return nil, fmt.Errorf("source address %s: needs an IP address and a port", source)
	}
	family, destination := "TCP4", "192.0.2.10"
	if ip.To4() == nil {
		family, destination = "TCP6", "2001:db8::10"
	}
	conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(conn, "PROXY %s %s %s %s 10000\r\n", family, ip, destination, port); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func requestH2(conn net.Conn, m Message) (Got, error) {
	h, err := NewH2(conn, true)
	if err != nil {
		return Got{}, err
	}
	if err := h.Send(1, m); err != nil {
		return Got{}, err
	}
	var got Got
	enough := errors.New("enough")
	err = h.readUntil(func(_ uint32, m *Message, reset bool) error {
		got = Got{m, reset}
		return enough
	})
	if errors.Is(err, enough) {
		return got, nil
	}
	got, err = ended(err)
	if err == nil && !got.Reset { // the client gives up waiting
		_ = conn.SetDeadline(time.Now().Add(time.Second))
		_ = h.Reset(1) // Envoy may have ended
	}
	return got, err
}

// ended returns what a client received whose connection ended with err.
func ended(err error) (Got, error) {
	if late, ok := errors.AsType[net.Error](err); ok && late.Timeout() || errors.Is(err, net.ErrClosed) {
		return Got{}, nil // nothing in time
	}
	if errors.Is(err, errTooLarge) {
		return Got{}, err
	}
	return Got{Reset: true}, nil
}

func requestH1(conn net.Conn, m Message) (Got, error) {
	var b bytes.Buffer
	method := Value(m.Headers, ":method")
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nhost: %s\r\n", method, Value(m.Headers, ":path"), Value(m.Headers, ":authority"))
	write(&b, m, optional)
	if _, err := conn.Write(b.Bytes()); err != nil {
		return ended(err)
	}
	r := bufio.NewReader(io.LimitReader(conn, MaxMessage+1<<20))
	resp, err := readFinal(r, method)
	if err != nil {
		return ended(err)
	}
	got := &Message{Headers: append([][2]string{{":status", strconv.Itoa(resp.StatusCode)}}, fields(resp.Header)...)}
	if contentOf(method, resp.StatusCode) == unsized { // also of CONNECT, which net/http reads like any other
		return Got{Message: got}, nil
	}
	body, err := readBody(resp.Body)
	if err != nil {
		g, err := ended(err)
		if g.Reset {
			g.Message = got
		}
		return g, err
	}
	got.Body, got.Trailers = body, fields(resp.Trailer)
	return Got{Message: got}, nil
}

// readFinal reads the response to a request, and passes over the informational ones before
// it, such as 100 (Continue) and 103 (Early Hints).
func readFinal(r *bufio.Reader, method string) (*http.Response, error) {
	for {
		resp, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil || !informational(resp.StatusCode) {
			return resp, err
		}
	}
}

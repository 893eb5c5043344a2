package harness

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strings"
	"time"
)

// end is how a connection came to its end.
type end struct {
	done chan struct{}
	at   time.Time
	why  string
}

func (e *end) gone() <-chan struct{}      { return e.done }
func (e *end) ended() (time.Time, string) { return e.at, e.why }

// set is to be called by one goroutine alone; the first time counts.
func (e *end) set(why string) {
	select {
	case <-e.done:
	default:
		e.at, e.why = time.Now(), why
		close(e.done)
	}
}

// http1 speaks HTTP/1.1 by hand, as net/http's client does not say when a
// connection ends.
type http1 struct {
	end
	nc      net.Conn
	answers chan reply
	read    chan struct{} // closed when the reader has ended
}

type reply struct {
	answer
	err error
}

func newHTTP1(nc net.Conn) *http1 {
	c := &http1{end: end{done: make(chan struct{})}, nc: nc, answers: make(chan reply, 1), read: make(chan struct{})}
	go c.listen()
	return c
}

func (c *http1) close() {
	_ = c.nc.Close()
	<-c.read
}

// do ends with the connection, or with ctx.
func (c *http1) do(ctx context.Context, path string) (answer, error) {
	request := fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, c.nc.RemoteAddr())
	if _, err := io.WriteString(c.nc, request); err != nil {
		return answer{}, err
	}
	select {
	case r := <-c.answers:
		return r.answer, r.err
	case <-ctx.Done():
		return answer{}, ctx.Err()
	case <-c.read:
	}
	select {
	case r := <-c.answers:
		return r.answer, r.err
	default:
		return answer{}, fmt.Errorf("%w: %s", errClosed, c.why)
	}
}

// listen reads answers, and so notices at once when the connection is closed.
func (c *http1) listen() {
	defer close(c.read)
	r := bufio.NewReader(c.nc)
	for {
		if _, err := r.Peek(1); err != nil {
			c.set(err.Error())
			return
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			c.set(err.Error())
			return
		}
		a := answer{at: time.Now(), status: resp.StatusCode}
		a.sent, err = reached(resp)
		switch { // before the answer is passed on, after which another request may be sent
		case resp.Close:
			c.set("Connection: close")
		case errors.Is(err, io.ErrUnexpectedEOF):
			c.set("EOF in an answer")
		case err != nil && a.status == http.StatusOK:
			c.set(err.Error())
		}
		c.answers <- reply{a, err}
		select {
		case <-c.done:
			return
		default:
		}
	}
}

// reached reads the headers with which a request came to the [Upstream].
func reached(resp *http.Response) (map[string][]string, error) {
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %.200s", resp.Status, body)
	}
	headers, err := textproto.NewReader(bufio.NewReader(strings.NewReader(string(body) + "\r\n"))).ReadMIMEHeader()
	if err != nil {
		return nil, fmt.Errorf("the upstream's answer %.200q: %w", body, err)
	}
	return headers, nil
}

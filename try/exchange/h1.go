package exchange

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// serveH1 answers the requests of a connection, one after the other.
func serveH1(ctx context.Context, conn net.Conn, r *bufio.Reader, answer func(m Message) *Answer) {
	for {
		got, err := http.ReadRequest(r)
		if err != nil {
			return // the connection has ended, or this is not a request
		}
		body, err := readBody(got.Body)
		if err != nil {
			return
		}
		m := Message{Headers: append([][2]string{
			{":method", got.Method}, {":path", got.RequestURI}, {":scheme", "http"}, {":authority", got.Host},
		}, fields(got.Header)...), Body: body, Trailers: fields(got.Trailer)}
		a := answer(m)
		if a == nil || a.Hang {
			<-ctx.Done()
			return
		}
		if !wait(ctx, a.After) || a.Reset {
			return
		}
		status, _ := strconv.Atoi(Value(a.Headers, ":status"))
		var b bytes.Buffer
		fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
		write(&b, a.Message, contentOf(got.Method, status))
		if _, err := conn.Write(b.Bytes()); err != nil || status == http.StatusSwitchingProtocols {
			return
		}
	}
}

// content is how a message of HTTP/1.1 tells where its content ends (RFC 9112, 6.3).
type content int

const (
	optional content = iota // a request: without a header that says so, it has none
	required                // a response: without such a header, it lasts until the connection ends
	absent                  // a response that has none, whatever its headers say
	unsized                 // so, and it may not have content-length either
)

// contentOf returns what a response to a method has.
func contentOf(method string, status int) content {
	switch {
	case status/100 == 1, status == http.StatusNoContent, method == http.MethodConnect && status/100 == 2:
		return unsized
	case status == http.StatusNotModified, method == http.MethodHead:
		return absent
	}
	return required
}

// informational reports whether a response only precedes the final one. After 101, the
// connection has another protocol, so there is no other response.
func informational(status int) bool {
	return status/100 == 1 && status != http.StatusSwitchingProtocols
}

// write writes a message without its first line. The content is chunked if no header tells
// its length, and only then may trailers follow.
func write(b *bytes.Buffer, m Message, has content) {
	sized := false
	for _, h := range m.Headers {
		if strings.HasPrefix(h[0], ":") || h[0] == "transfer-encoding" || h[0] == "content-length" && has == unsized {
			continue
		}
		sized = sized || h[0] == "content-length"
		fmt.Fprintf(b, "%s: %s\r\n", h[0], h[1])
	}
	may := has == required || has == optional && len(m.Body)+len(m.Trailers) > 0
	chunked := may && !sized
	if chunked {
		b.WriteString("transfer-encoding: chunked\r\n")
	}
	b.WriteString("\r\n")
	if !may {
		return
	}
	for _, piece := range m.Body {
		switch {
		case !chunked:
			b.Write(piece)
		case len(piece) > 0:
			fmt.Fprintf(b, "%x\r\n%s\r\n", len(piece), piece)
		}
	}
	if !chunked {
		return
	}
	b.WriteString("0\r\n")
	for _, t := range m.Trailers {
		fmt.Fprintf(b, "%s: %s\r\n", t[0], t[1])
	}
	b.WriteString("\r\n")
}

func readBody(r io.ReadCloser) ([][]byte, error) {
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, MaxMessage+1))
	switch {
	case err != nil:
		return nil, err
	case len(b) > MaxMessage:
		return nil, errTooLarge
	case len(b) == 0:
		return nil, nil
	}
	return [][]byte{b}, nil
}

func fields(h http.Header) [][2]string {
	var all [][2]string
	for name, values := range h {
		for _, v := range values {
			all = append(all, [2]string{strings.ToLower(name), v})
		}
	}
	return all
}

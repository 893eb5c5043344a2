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
		if got.Method == http.MethodHead {
			a.Body = nil
		}
		write(&b, a.Message, got.Method != http.MethodHead)
		if _, err := conn.Write(b.Bytes()); err != nil {
			return
		}
	}
}

// write writes headers and body. The body is chunked if no header tells its length.
func write(b *bytes.Buffer, m Message, ends bool) {
	sized := false
	for _, h := range m.Headers {
		if strings.HasPrefix(h[0], ":") || h[0] == "transfer-encoding" {
			continue
		}
		sized = sized || h[0] == "content-length"
		fmt.Fprintf(b, "%s: %s\r\n", h[0], h[1])
	}
	chunked := !sized && len(m.Body) > 0 && ends
	if chunked {
		b.WriteString("transfer-encoding: chunked\r\n")
	}
	b.WriteString("\r\n")
	for _, piece := range m.Body {
		switch {
		case !chunked:
			b.Write(piece)
		case len(piece) > 0:
			fmt.Fprintf(b, "%x\r\n%s\r\n", len(piece), piece)
		}
	}
	if chunked {
		b.WriteString("0\r\n\r\n")
	}
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

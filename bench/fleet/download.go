package fleet

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
)

// maxModule is the maximum size of a module, in bytes.
const maxModule = 64 << 20

var (
	readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 4<<10) }}
	hashes  = sync.Pool{New: func() any { return sha256.New() }}
	pieces  = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}
)

// download fetches a module over a connection of its own, from the source address
// of an Envoy, and checks its hash. It reads only HTTP/1.1 responses with a
// content-length, because a client of net/http would take more CPU than the server.
func download(ctx context.Context, from net.IP, secure *tls.Config, at, sum string) (int64, error) {
	u, err := url.Parse(at)
	if err != nil {
		return 0, err
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from}}
	nc, err := d.DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return 0, err
	}
	defer nc.Close()
	defer context.AfterFunc(ctx, func() { nc.Close() })()
	if u.Scheme == "https" {
		secure = secure.Clone()
		secure.NextProtos = []string{"http/1.1"}
		nc = tls.Client(nc, secure)
	}
	if _, err := fmt.Fprintf(nc, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: envoy\r\nConnection: close\r\n\r\n", u.RequestURI(), u.Host); err != nil {
		return 0, err
	}
	r := readers.Get().(*bufio.Reader)
	defer readers.Put(r)
	r.Reset(nc)
	size, err := head(r)
	if err != nil {
		return 0, fmt.Errorf("download %s: %w", at, err)
	}
	h := hashes.Get().(hash.Hash)
	defer hashes.Put(h)
	h.Reset()
	piece := pieces.Get().(*[]byte)
	defer pieces.Put(piece)
	n, err := io.CopyBuffer(h, io.LimitReader(r, size), *piece)
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	if err == nil && hex.EncodeToString(h.Sum(nil)) != sum {
		err = fmt.Errorf("the module has another sha256 than %s", sum)
	}
	if err != nil {
		return n, fmt.Errorf("download %s: %w", at, err)
	}
	return n, nil
}

// head reads the head of a response and returns the length of its body.
func head(r *bufio.Reader) (size int64, err error) {
	size = -1
	for first := true; ; first = false {
		line, err := r.ReadString('\n')
		if err != nil {
			return 0, err
		}
		line = strings.TrimRight(line, "\r\n")
		if first && !strings.HasPrefix(line, "HTTP/1.1 200") {
			return 0, fmt.Errorf("the server answered %q", line)
		}
		if line == "" {
			break
		}
		if name, value, _ := strings.Cut(line, ":"); strings.EqualFold(name, "content-length") {
			if _, err := fmt.Sscan(value, &size); err != nil {
				return 0, err
			}
		}
	}
	if size < 0 || size > maxModule {
		return 0, fmt.Errorf("a module of %d bytes", size)
	}
	return size, nil
}

package h2

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// appendHeaders appends frames with header fields, given as alternating names and values.
// The encoding needs no state.
func appendHeaders(b []byte, stream uint32, end bool, fields ...string) []byte {
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		_ = enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1], Sensitive: true}) // writing to memory does not fail
	}
	flags, t := http2.Flags(0), http2.FrameHeaders
	if end {
		flags = http2.FlagHeadersEndStream
	}
	for {
		part := block.Next(maxFrameSize)
		if block.Len() == 0 {
			flags |= http2.FlagHeadersEndHeaders // the same flag for CONTINUATION
		}
		b = append(appendFrame(b, len(part), t, flags, stream), part...)
		if block.Len() == 0 {
			return b
		}
		flags, t = 0, http2.FrameContinuation
	}
}

// check validates a request's headers. refusal is an HTTP status, or "" if gRPC has a
// status of its own; malformed means that it is not a valid request at all.
func check(f *http2.MetaHeadersFrame) (refusal string, err error, malformed bool) {
	if f.Truncated {
		return "", status.Errorf(codes.ResourceExhausted, "headers of more than %d bytes", maxHeaderList), false
	}
	if f.PseudoValue("method") == "" || f.PseudoValue("path") == "" || f.PseudoValue("scheme") == "" {
		return "", nil, true
	}
	kind := ""
	for _, h := range f.RegularFields() {
		switch h.Name {
		case "content-type":
			kind = h.Value
		case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
			return "", nil, true
		case "te":
			if h.Value != "trailers" {
				return "", nil, true
			}
		}
	}
	if f.PseudoValue("method") != "POST" {
		return "405", nil, false
	}
	if rest, ok := strings.CutPrefix(kind, "application/grpc"); !ok || rest != "" && rest[0] != '+' && rest[0] != ';' {
		return "415", nil, false
	}
	return "", nil, false
}

// contentLength returns the content-length of a request; negative: none. ok is false if
// that is not a number, or if it is positive and no data follows.
func contentLength(f *http2.MetaHeadersFrame) (n int64, ok bool) {
	n = -1
	for _, h := range f.RegularFields() {
		if h.Name != "content-length" {
			continue
		}
		v, err := strconv.ParseUint(h.Value, 10, 63)
		if err != nil || n >= 0 && n != int64(v) {
			return 0, false
		}
		n = int64(v)
	}
	return n, n <= 0 || !f.StreamEnded()
}

func codeText(c codes.Code) string { return strconv.Itoa(int(c)) }

// maxMessageText is the limit of a grpc-message, in bytes.
const maxMessageText = 4 << 10

// encodeMessage returns the percent-encoding of a grpc-message.
func encodeMessage(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	var b strings.Builder
	for i := range min(len(text), maxMessageText) {
		if c := text[i]; c >= ' ' && c <= '~' && c != '%' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

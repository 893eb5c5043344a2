package exchange

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

func asked(method string) Message {
	return Message{Headers: [][2]string{{":method", method}, {":scheme", "http"}, {":path", "/"}, {":authority", "a"}}}
}

func pieces(texts ...string) (all [][]byte) {
	for _, text := range texts {
		all = append(all, []byte(text))
	}
	return all
}

// TestResponsesOfHTTP1 has what a client makes of responses whose end depends on more than
// their headers.
func TestResponsesOfHTTP1(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na"
	for name, test := range map[string]struct {
		method, says string
		status       string
		body         string
		trailers     [][2]string
		reset        bool
	}{
		"100 first":           {says: "HTTP/1.1 100 Continue\r\n\r\n" + ok, status: "200", body: "a"},
		"103 twice":           {says: "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + ok, status: "200", body: "a"},
		"102 and no more":     {says: "HTTP/1.1 102 Processing\r\n\r\n", reset: true},
		"101":                 {says: "HTTP/1.1 101 Switching Protocols\r\nupgrade: b\r\n\r\nanything", status: "101"},
		"204 with a length":   {says: "HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n", status: "204"},
		"304 with a length":   {says: "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", status: "304"},
		"HEAD with a length":  {method: "HEAD", says: "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", status: "200"},
		"HEAD, chunked":       {method: "HEAD", says: "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", status: "200"},
		"CONNECT":             {method: "CONNECT", says: "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", status: "200"},
		"refused CONNECT":     {method: "CONNECT", says: "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno", status: "403", body: "no"},
		"until the end":       {says: "HTTP/1.1 200 OK\r\n\r\nabc", status: "200", body: "abc"},
		"trailers":            {says: "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-t: 1\r\n\r\n", status: "200", body: "a", trailers: [][2]string{{"x-t", "1"}}},
		"cut off in the body": {says: "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab", status: "200", reset: true},
	} {
		if test.method == "" {
			test.method = "GET"
		}
		got, err := requestH1(playedBy([]byte(test.says)), asked(test.method))
		if err != nil || got.Reset != test.reset || (got.Message == nil) != (test.status == "") {
			t.Errorf("%s: %+v, %v", name, got, err)
			continue
		}
		if m := got.Message; m != nil && (Value(m.Headers, ":status") != test.status || string(bytes.Join(m.Body, nil)) != test.body || !reflect.DeepEqual(m.Trailers, test.trailers)) {
			t.Errorf("%s: %+v", name, *m)
		}
	}
}

// TestInformationalOfHTTP2 checks that the final response is read, and not one before it.
func TestInformationalOfHTTP2(t *testing.T) {
	var conn bytes.Buffer
	h, err := NewH2(&played{}, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []Message{
		{Headers: [][2]string{{":status", "100"}}, Body: pieces("")},
		{Headers: [][2]string{{":status", "103"}, {"link", "</a>"}}, Body: pieces("")},
		{Headers: [][2]string{{":status", "200"}}, Body: pieces("a"), Trailers: [][2]string{{"x-t", "1"}}},
	} {
		p := playedBy(nil)
		h.conn = p
		if err := h.Send(1, m); err != nil {
			t.Fatal(err)
		}
		sent := p.sent.Bytes()
		if Value(m.Headers, ":status") != "200" {
			sent = sent[:len(sent)-9] // without the empty DATA frame that ends the stream
		}
		conn.Write(sent)
	}
	got, err := requestH2(playedBy(conn.Bytes()), asked("GET"))
	if want := (&Message{Headers: [][2]string{{":status", "200"}}, Body: pieces("a"), Trailers: [][2]string{{"x-t", "1"}}}); err != nil || !reflect.DeepEqual(got.Message, want) {
		t.Errorf("%+v, %v", got.Message, err)
	}
}

// TestAnswersOfHTTP1 checks that a client can tell where each answer ends: it reads two from
// one connection.
func TestAnswersOfHTTP1(t *testing.T) {
	for name, test := range map[string]struct {
		method string
		answer Message
		body   string
		has    string // a header
		lacks  string
	}{
		"no length, no body":   {method: "GET", answer: Message{Headers: [][2]string{{":status", "200"}}}, has: "chunked"},
		"claims to be chunked": {method: "GET", answer: Message{Headers: [][2]string{{":status", "200"}, {"transfer-encoding", "chunked"}}}, has: "chunked"},
		"pieces":               {method: "GET", answer: Message{Headers: [][2]string{{":status", "200"}}, Body: pieces("a", "", "b")}, body: "ab", has: "chunked"},
		"trailers":             {method: "GET", answer: Message{Headers: [][2]string{{":status", "200"}}, Trailers: [][2]string{{"x-t", "1"}}}, has: "x-t: 1"},
		"204 with a body":      {method: "GET", answer: Message{Headers: [][2]string{{":status", "204"}, {"content-length", "1"}}, Body: pieces("a")}, lacks: "content-length"},
		"304 with a length":    {method: "GET", answer: Message{Headers: [][2]string{{":status", "304"}, {"content-length", "1"}}, Body: pieces("a")}, has: "content-length: 1"},
		"HEAD with a length":   {method: "HEAD", answer: Message{Headers: [][2]string{{":status", "200"}, {"content-length", "1"}}, Body: pieces("a")}, has: "content-length: 1"},
		"HEAD without one":     {method: "HEAD", answer: Message{Headers: [][2]string{{":status", "200"}}, Body: pieces("a")}, lacks: "chunked"},
	} {
		conn := playedBy([]byte(strings.Repeat(test.method+" / HTTP/1.1\r\nhost: a\r\n\r\n", 2)))
		serveH1(t.Context(), conn, bufio.NewReader(conn), func(Message) *Answer { return &Answer{Message: test.answer} })
		sent := conn.sent.String()
		r := bufio.NewReader(strings.NewReader(sent))
		for range 2 {
			resp, err := http.ReadResponse(r, &http.Request{Method: test.method})
			if err != nil {
				t.Fatalf("%s: %v in %q", name, err, sent)
			}
			if body, err := io.ReadAll(resp.Body); err != nil || string(body) != test.body {
				t.Errorf("%s: %q, %v in %q", name, body, err, sent)
			}
		}
		if rest, _ := io.ReadAll(r); len(rest) > 0 || !strings.Contains(sent, test.has) || test.lacks != "" && strings.Contains(sent, test.lacks) {
			t.Errorf("%s: %q with %q left", name, sent, rest)
		}
	}
}

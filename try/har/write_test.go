package har

import (
	"bytes"
	"testing"
	"time"
)

// TestWrite: what is written is read as what it was.
func TestWrite(t *testing.T) {
	var b bytes.Buffer
	err := Write(&b, []Recorded{
		{At: time.Unix(1e9, 0).UTC(), Method: "GET", URL: "http://shop.example/a?b=c", Headers: [][2]string{{"host", "shop.example"}, {"x-a", "1"}}, Status: 201},
		{Method: "PUT", URL: "http://shop.example/b"},
	})
	if err != nil {
		t.Fatal(err)
	}
	all, others, err := Read(b.Bytes())
	if err != nil || others != 0 || len(all) != 2 {
		t.Fatalf("%d exchanges, %d others, %v of\n%s", len(all), others, err, b.String())
	}
	if got := all[0]; got.Name != "GET http://shop.example/a?b=c" || value(got.Request.Headers, "x-a") != "1" || value(got.Request.Headers, ":path") != "/a?b=c" || value(got.Response.Headers, ":status") != "201" {
		t.Errorf("read %+v", got)
	}
	if got := all[1]; len(got.Response.Headers) != 0 {
		t.Errorf("a response that is not known: %+v", got.Response)
	}
}

func value(headers [][2]string, name string) string {
	for _, h := range headers {
		if h[0] == name {
			return h[1]
		}
	}
	return ""
}

package recording

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"wasmxds/signal"
)

func order(node string, count int) Order {
	now := time.Unix(1e9, 0)
	return Order{ID: "id-" + node, Node: node, Count: count, Headers: []string{"*"}, Since: now, Until: now.Add(time.Minute), By: "me"}
}

func request(path string, headers ...[2]string) signal.Request {
	return signal.Request{Method: "GET", Authority: "joe:pass@shop.example", Path: path, Headers: headers, Status: 200}
}

// TestRecorder: so many requests of one node are kept, and then no more.
func TestRecorder(t *testing.T) {
	var r Recorder
	full, err := r.Begin(order("a", 2))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Begin(order("a", 2)); !errors.Is(err, ErrBusy) {
		t.Errorf("again: %v", err)
	}
	r.Take("b", time.Unix(1, 0), request("/other"))
	for i := range 3 {
		if r.Records("a") != (i < 2) {
			t.Errorf("after %d: records %v", i, r.Records("a"))
		}
		r.Take("a", time.Unix(int64(i), 0), request(fmt.Sprintf("/%d", i)))
	}
	select {
	case <-full:
	default:
		t.Error("it is not full")
	}
	if s := r.States(); len(s) != 1 || s[0].Taken != 2 {
		t.Errorf("states %+v", s)
	}
	if got := r.End("a", "another"); got != nil || len(r.States()) != 1 {
		t.Errorf("another's end gives %v", got)
	}
	got := r.End("a", "id-a")
	if len(got) != 2 || got[1].Path != "/1" || got[0].Host != "shop.example" || got[0].Status != 200 {
		t.Errorf("recorded %+v", got)
	}
	if got := r.End("a", "id-a"); got != nil || r.Records("a") {
		t.Errorf("after the end: %v", got)
	}
}

// TestBounds: what anybody can have it hold is bounded.
func TestBounds(t *testing.T) {
	var r Recorder
	for i := range maxOpen {
		if _, err := r.Begin(order(fmt.Sprint(i), 1)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Begin(order("more", 1)); !errors.Is(err, ErrBusy) {
		t.Errorf("more than %d: %v", maxOpen, err)
	}
	r.End("0", "id-0")
	if _, err := r.Begin(order("0", MaxCount)); err != nil {
		t.Fatal(err)
	}
	for i := range MaxCount {
		r.Take("0", time.Time{}, request("/"+strings.Repeat("x.", 4000), [2]string{"x-a", fmt.Sprint(i)}))
	}
	size := 0
	for _, q := range r.End("0", "id-0") {
		size += q.size()
	}
	if size > maxBytes || size < maxBytes/2 {
		t.Errorf("kept %d bytes", size)
	}
	for what, change := range map[string]func(*Order){
		"node": func(o *Order) { o.Node = "" }, "time": func(o *Order) { o.Until = o.Since }, "long": func(o *Order) { o.Until = o.Since.Add(MaxTime + 1) },
		"none": func(o *Order) { o.Count = 0 }, "many": func(o *Order) { o.Count = MaxCount + 1 }, "glob": func(o *Order) { o.Headers = []string{"["} },
	} {
		o := order("x", 1)
		change(&o)
		if o.Check() == nil {
			t.Errorf("%s: no error", what)
		}
	}
}

// TestMask: what is secret, or may be, is not kept.
func TestMask(t *testing.T) {
	const secret = "hunter2"
	jwt, long := "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.sig", "0123456789abcdef0123456789abcdef"
	const encoded = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLE+/=" // no piece of it is long
	var r Recorder
	if _, err := r.Begin(order("a", 100)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "x-auth-request-user", "x-csrf-token",
		"x-amz-security-token", "x-session", "x-client-secret", "X-Api-Key", "x-forwarded-client-cert"} {
		r.Take("a", time.Time{}, request("/", [2]string{name, secret}))
	}
	for _, value := range []string{"Bearer " + secret, "basic " + secret, jwt, "id=" + long, "/callback?code=" + secret, "https://joe:" + secret + "@shop.example/a?token=" + secret + "#access_token=" + secret} {
		name := "x-plain"
		if strings.Contains(value, "/") {
			name = "referer"
		}
		r.Take("a", time.Time{}, request("/", [2]string{name, value}))
	}
	for _, value := range []string{"/callback?code=" + secret, "https://shop.example/?token=" + secret, "a=1; token=" + secret, "data " + encoded} {
		r.Take("a", time.Time{}, request("/", [2]string{"x-original", value}))
	}
	for _, path := range []string{"/a?data=" + encoded, "/a?token=" + secret, "/a?b=1&api_key=" + secret + "&c=2", "/a?%74oken=" + secret, "/a?x=" + jwt, "/a;jsessionid=" + secret, "/reset/" + long,
		"/a?" + jwt, "/a?a=1;password=" + secret, "/a?x=%zz" + secret, "/a#" + secret, "/a?redirect=http%3A%2F%2Fb%3Ftoken%3D" + secret} {
		r.Take("a", time.Time{}, request(path))
	}
	for _, q := range r.End("a", "id-a") {
		if told := fmt.Sprint(q); strings.Contains(told, secret) || strings.Contains(told, "eyJ") || strings.Contains(told, long) || strings.Contains(told, encoded) || strings.Contains(told, "joe") {
			t.Errorf("told: %s", told)
		}
	}
	for path, want := range map[string]string{
		"/shop/cart?id=7&q=red+shoes": "/shop/cart?id=7&q=red+shoes",
		"/a?b=1&api_key=x&c":          "/a?b=1&api_key=masked&c",
		"/users/42/orders":            "/users/42/orders",
	} {
		if got := maskPath(path); got != want {
			t.Errorf("%s becomes %s, want %s", path, got, want)
		}
	}
	if got := maskHeader("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0"); strings.Contains(got, Masked) {
		t.Errorf("a user agent becomes %s", got)
	}
	for _, accept := range []string{"text/html,application/xhtml+xml,image/avif,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7", "gzip, deflate, br", "max-age=0"} {
		if got := maskHeader("x-accept", accept); got != accept {
			t.Errorf("%s becomes %s", accept, got)
		}
	}
	if got := maskHeader("referer", "https://shop.example/a?b=c"); got != "https://shop.example/a?b=c" {
		t.Errorf("a referer becomes %s", got)
	}
}

// TestHeaders: only the headers that were asked for are kept.
func TestHeaders(t *testing.T) {
	var r Recorder
	o := order("a", 1)
	o.Headers = []string{"x-*", "accept"}
	if _, err := r.Begin(o); err != nil {
		t.Fatal(err)
	}
	r.Take("a", time.Time{}, request("/", [2]string{"accept", "1"}, [2]string{"user-agent", "2"}, [2]string{"x-tenant", "3"}))
	if got := fmt.Sprint(r.End("a", "id-a")[0].Headers); got != "[[accept 1] [x-tenant 3]]" {
		t.Errorf("kept %s", got)
	}
	if got := fmt.Sprint(o.Missing([]string{"x-tenant"})); got != "[accept]" {
		t.Errorf("missing %s", got)
	}
}

// FuzzMask: what is masked once stays so, and nothing panics.
func FuzzMask(f *testing.F) {
	for _, s := range []string{"/a?token=b", "https://a:b@c/d?e=f#g", "/%zz?%zz=%zz", "/a;b=c?d;e&f", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		once := maskPath(s)
		if again := maskPath(once); again != once {
			t.Errorf("%q becomes %q, and then %q", s, once, again)
		}
		maskHeader("referer", s)
		maskHeader("x-a", s)
	})
}

// TestElsewhere: a recording ends when there are enough requests at all servers together.
func TestElsewhere(t *testing.T) {
	var r Recorder
	full, err := r.Begin(order("a", 3))
	if err != nil {
		t.Fatal(err)
	}
	r.Take("a", time.Unix(1, 0), request("/1"))
	for _, step := range []struct {
		id     string
		told   int
		taken  int
		isFull bool
	}{{"another", 9, 1, false}, {"id-a", 1, 2, false}, {"id-a", 2, 3, true}, {"id-a", 2, 3, true}} {
		r.Elsewhere("a", step.id, step.told)
		isFull := false
		select {
		case <-full:
			isFull = true
		default:
		}
		if got := r.States()[0].Taken; got != step.taken || isFull != step.isFull {
			t.Errorf("%+v: %d taken, full %v", step, got, isFull)
		}
	}
	if n := r.Taken("a", "id-a"); n != 1 || r.Taken("a", "another") != 0 || r.Taken("b", "id-a") != 0 {
		t.Errorf("%d taken here", n)
	}
	r.Take("a", time.Unix(2, 0), request("/2"))
	if n := len(r.End("a", "id-a")); n != 1 {
		t.Errorf("%d requests, want that from before it was full", n)
	}
}

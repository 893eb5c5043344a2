package stream

import (
	"strings"
	"testing"
)

func TestLeaves(t *testing.T) {
	leaves, err := Leaves(map[string]any{
		"source.address": "10.0.0.1:1", "source.port": 1, "connection.mtls": true, "n": uint64(2), "f": 1.5, "b": []byte{0},
		"metadata": map[string]any{"filter_metadata": map[string]any{"envoy.lb": map[string]any{"canary": true}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	given := Tree(leaves)
	for path, want := range map[string]string{
		"source/address": "10.0.0.1:1", "source/port": "\x01\x00\x00\x00\x00\x00\x00\x00", "connection/mtls": "\x01",
		"n": "\x02\x00\x00\x00\x00\x00\x00\x00", "f": "\x00\x00\x00\x00\x00\x00\xf8\x3f", "b": "\x00",
		"metadata/filter_metadata/envoy.lb/canary": "\x01",
		"metadata/filter_metadata/envoy.lb":        "\x01\x00\x00\x00\x06\x00\x00\x00\x01\x00\x00\x00canary\x00\x01\x00",
	} {
		v, found := Find(given, strings.Split(path, "/"))
		b, possible := Encode(v)
		if !found || !possible || string(b) != want {
			t.Errorf("%s: got %q, %v", path, b, found)
		}
	}
	for _, path := range []string{"source/nothing", "source/port/0", "nothing"} {
		if v, found := Find(given, strings.Split(path, "/")); found {
			t.Errorf("%s: got %v", path, v)
		}
	}
	if _, err := Leaves(map[string]any{"a": []any{1}}); err == nil {
		t.Error("a list is taken")
	}
}

func TestHeaders(t *testing.T) {
	h := newHeaders(requestMap, [][2]string{{"X-A", "1"}, {":path", "/"}, {"Host", "a"}, {"x-a", "2"}, {"Accept", "b"}, {"accept", "c"}, {"cookie", "d"}, {"cookie", "e"}})
	check := func(want string) {
		t.Helper()
		var got []string
		size := 0
		for _, f := range h.Fields() {
			got = append(got, f[0]+"="+f[1])
			size += len(f[0]) + len(f[1])
		}
		if strings.Join(got, " ") != want || h.Len() != len(got) || h.Size() != size {
			t.Errorf("got %q, %d, %d,\nwant %q", strings.Join(got, " "), h.Len(), h.Size(), want)
		}
	}
	check(":path=/ :authority=a x-a=1 x-a=2 accept=b,c cookie=d cookie=e")
	h.Set("x-A", "3")
	check(":path=/ :authority=a accept=b,c cookie=d cookie=e x-a=3")
	h.Remove("host")
	h.Add(":method", "GET")
	check(":path=/ :method=GET accept=b,c cookie=d cookie=e x-a=3")
	h.put("accept", "x")
	h.put("x-b", "1")
	check(":path=/ :method=GET accept=x cookie=d cookie=e x-a=3 x-b=1")
	if v, found := h.All("cookie"); v != "d,e" || !found {
		t.Error(v, found)
	}
	h.Replace([][2]string{{"Z", ""}})
	check("z=")
}

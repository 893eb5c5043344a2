package curl_test

import (
	"fmt"
	"strings"
	"testing"

	"wasmxds/definition"
	"wasmxds/try/curl"
)

// written is a message on lines: the first is method, scheme, authority and path.
func written(m definition.TestMessage) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s://%s%s\n", m.Headers[0][1], m.Headers[2][1], m.Headers[3][1], m.Headers[1][1])
	for _, h := range m.Headers[4:] {
		fmt.Fprintf(&b, "%s: %s\n", h[0], h[1])
	}
	for _, piece := range m.Body {
		fmt.Fprintf(&b, "%q\n", piece)
	}
	return b.String()
}

func TestParse(t *testing.T) {
	const usual = "user-agent: curl/8.0\naccept: */*\n"
	form := func(n int) string {
		return usual + fmt.Sprintf("content-type: application/x-www-form-urlencoded\ncontent-length: %d\n", n)
	}
	for _, c := range []struct{ name, command, want string }{
		{"plain", "curl example.com", "GET http://example.com/\n" + usual},
		{"query", "curl 'https://example.com:8443/a/b?c=d&e=f#g'", "GET https://example.com:8443/a/b?c=d&e=f\n" + usual},
		{"method", "curl -XDELETE http://a/b", "DELETE http://a/b\n" + usual},
		{"letters together", "curl -sSLk -X PUT http://a", "PUT http://a/\n" + usual},
		{"a prompt and more commands", "$ curl -s http://a | jq .", "GET http://a/\n" + usual},
		{"backquotes around it", "`curl http://a`", "GET http://a/\n" + usual},
		{"program with a path", "/usr/bin/curl http://a", "GET http://a/\n" + usual},
		{"headers", `curl http://a -H 'X-One: 1' --header "X-Two:2" -H 'X-Empty;' -H 'Accept:'`, "GET http://a/\nx-one: 1\nx-two: 2\nx-empty: \nuser-agent: curl/8.0\n"},
		{"host", "curl http://127.0.0.1:8080/x -H 'Host: shop.example'", "GET http://shop.example/x\n" + usual},
		{"data", "curl http://a -d x=1 -d y=2", "POST http://a/\n" + form(7) + "\"x=1&y=2\"\n"},
		{"data with another method", "curl -X PATCH http://a --data-raw '@x'", "PATCH http://a/\n" + form(2) + "\"@x\"\n"},
		{"data in the query", "curl -G http://a?z=0 -d x=1 --data-urlencode 'q=a b&c'", "GET http://a/?z=0&x=1&q=a+b%26c\n" + usual},
		{"json", `curl --json '{"a":1}' http://a`, "POST http://a/\nuser-agent: curl/8.0\ncontent-type: application/json\naccept: application/json\ncontent-length: 7\n\"{\\\"a\\\":1}\"\n"},
		{"user", "curl -u user:pass http://a", "GET http://a/\nauthorization: Basic dXNlcjpwYXNz\n" + usual},
		{"user in the URL", "curl http://user:pass@a/", "GET http://a/\nauthorization: Basic dXNlcjpwYXNz\n" + usual},
		{"cookies", "curl -b 'a=1; b=2' http://a", "GET http://a/\nuser-agent: curl/8.0\ncookie: a=1; b=2\naccept: */*\n"},
		{"head", "curl -I http://a", "HEAD http://a/\n" + usual},
		{"agent and referer", "curl -A x -e http://b http://a", "GET http://a/\nuser-agent: x\nreferer: http://b\naccept: */*\n"},
		{"hop by hop", "curl http://a -H 'Connection: keep-alive' -H 'TE: trailers'", "GET http://a/\nte: trailers\n" + usual},
		{"escapes", `curl http://a --data-raw $'it\'s\n\x41é\u00e9\101'`, "POST http://a/\n" + form(11) + "\"it's\\nAééA\"\n"},
		{"double quotes", `curl "http://a/\$x" -d "{\"a\": \"\\n\"}"`, "POST http://a/$x\n" + form(11) + "\"{\\\"a\\\": \\\"\\\\n\\\"}\"\n"},
		{"lines that go on", "curl http://a \\\n  -H 'x: y' \\\r\n  -H 'z: z'\nls", "GET http://a/\nx: y\nz: z\n" + usual},
		{"empty lines between", "curl 'http://a' \\\n\n  -H 'x: y' \\\n\n --compressed;\n\ndone", "GET http://a/\nx: y\n" + usual + "accept-encoding: deflate, gzip, br, zstd\n"},
		{"a browser's", `curl 'https://shop.example/api/cart?id=7' \
  -H 'accept: application/json, text/plain, */*' \
  -H 'content-type: application/json' \
  -H 'sec-ch-ua: "Chromium";v="123"' \
  --data-raw '{"name":"Anna"}' \
  --compressed`, "POST https://shop.example/api/cart?id=7\naccept: application/json, text/plain, */*\ncontent-type: application/json\nsec-ch-ua: \"Chromium\";v=\"123\"\nuser-agent: curl/8.0\naccept-encoding: deflate, gzip, br, zstd\ncontent-length: 15\n\"{\\\"name\\\":\\\"Anna\\\"}\"\n"},
		{"Chrome's on Windows", "curl ^\"https://shop.example/api/cart?id=7^&x=%^41^\" ^\r\n  -H ^\"accept: */*^\" ^\r\n  -H ^\"sec-ch-ua: ^\\^\"Chromium^\\^\";v=^\\^\"123^\\^\"^\" ^\r\n  --data-raw ^\"^{^\\^\"name^\\^\":^\\^\"A^\r\n\r\nB^\\^\"^}^\"\r\ndir",
			"POST https://shop.example/api/cart?id=7&x=%41\naccept: */*\nsec-ch-ua: \"Chromium\";v=\"123\"\nuser-agent: curl/8.0\ncontent-type: application/x-www-form-urlencoded\ncontent-length: 14\n\"{\\\"name\\\":\\\"A\\nB\\\"}\"\n"},
		{"Firefox's on Windows", "curl.exe \"https://shop.example/a^b?c=1&d=2\" ^\n --compressed ^\n -X POST ^\n -H \"Accept: a\\b\" ^\n --data-raw \"{\"\"a\"\": \"\"C:\\\\x\\\\\"\"}\" & dir",
			"POST https://shop.example/a%5Eb?c=1&d=2\naccept: a\\b\nuser-agent: curl/8.0\naccept-encoding: deflate, gzip, br, zstd\ncontent-type: application/x-www-form-urlencoded\ncontent-length: 15\n\"{\\\"a\\\": \\\"C:\\\\\\\\x\\\\\\\"}\"\n"},
		{"Firefox's", "curl 'https://shop.example/a' --compressed -X PUT -H 'User-Agent: Mozilla/5.0' -H 'Accept-Language: de,en;q=0.5' --data-raw $'{\\u0021}'",
			"PUT https://shop.example/a\nuser-agent: Mozilla/5.0\naccept-language: de,en;q=0.5\naccept: */*\naccept-encoding: deflate, gzip, br, zstd\ncontent-type: application/x-www-form-urlencoded\ncontent-length: 3\n\"{!}\"\n"},
		{"Safari's", "curl 'https://shop.example/a' \\\n-X 'GET' \\\n-H 'Accept: */*' \\\n-H 'Priority: u=3, i' \\\n-H 'User-Agent: Mozilla/5.0 (Macintosh)'",
			"GET https://shop.example/a\naccept: */*\npriority: u=3, i\nuser-agent: Mozilla/5.0 (Macintosh)\n"},
		{"carets in a shell's quotes", "curl 'http://a/^\"' -d 'x ^\ny'", "POST http://a/%5E%22\n" + form(5) + "\"x ^\\ny\"\n"},
		{"options without a meaning here", "curl --max-time 3 -o /dev/null -w '%{http_code}' --http2 --no-progress-meter --location 'http://a'", "GET http://a/\n" + usual},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := curl.Parse(c.command)
			if err != nil {
				t.Fatal(err)
			}
			if got := written(m); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	for command, want := range map[string]string{
		"":                              "begins with curl",
		"wget http://a":                 "begins with curl",
		"curl":                          "no URL",
		"curl http://a http://b":        "two URLs",
		"curl http://a -d @file":        "is a file",
		"curl http://a -H @file":        "is a file",
		"curl http://a -b jar.txt":      "is a file",
		"curl http://a -F x=@y":         "--form is not read",
		"curl http://a --wonder":        "--wonder is not known",
		"curl http://a -H":              "needs a value",
		"curl http://$HOST/":            "has a variable",
		"curl \"http://${HOST}/\"":      "has a variable",
		"curl \"http://$(hostname)/\"":  "has a variable",
		"curl `hostname`":               "in backquotes",
		"curl 'http://a":                "is not closed",
		"curl ^\"http://a":              "is not closed",
		"curl \"http://a":               "is not closed",
		"curl $'http://a":               "is not closed",
		"curl $'http://a\\":             "is not closed",
		"curl ftp://a":                  "needs http:// or https://",
		"curl http://a -X 'A B'":        "is not a method",
		"curl http://a -H 'a b: c'":     "can't be a header",
		"curl http://a -H nothing":      "needs name: value",
		"curl http://a --next http://b": "several requests",
		"curl http:///x":                "has no host",
		"curl http://a " + strings.Repeat("-s ", 400_000): "at most",
	} {
		if m, err := curl.Parse(command); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, %v, want %q", command, m, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("curl -sS -X POST 'http://a/b?c' -H \"x: \\\"y\\\"\" --data-raw $'a\\x41\\u00e9' --compressed")
	f.Add("curl ^\"http://a/?b^&c^\" ^\n -H ^\"d: ^\\^\"e^\\^\"^\" --data \"f\"\"\\\\\"")
	f.Add("curl -G -u a:b http://a -d x#y --data-urlencode q=1 \\\n --json {}")
	f.Fuzz(func(t *testing.T, command string) {
		m, err := curl.Parse(command)
		if err != nil {
			return
		}
		if len(m.Headers) < 4 || m.Headers[0][1] == "" || m.Headers[1][1] == "" || m.Headers[3][1] == "" {
			t.Errorf("incomplete: %q", m.Headers)
		}
		for _, h := range m.Headers {
			if strings.ContainsAny(h[0]+h[1], "\r\n\x00") {
				t.Errorf("broken header %q", h)
			}
		}
	})
}

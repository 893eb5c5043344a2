package module

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
)

func TestPolicy(t *testing.T) {
	some := Policy{
		Schemes: []string{"https", "oci", "http"},
		Hosts:   []string{"example.com", "*.wasm.example.org", "10.1.0.0/16", "[2001:db8::1]:8443", "registry:5000"},
	}
	tests := []struct {
		policy Policy
		url    string
		err    string // contained; "": allowed
	}{
		{Policy{}, "http://example.com/a.wasm", ""},
		{Policy{}, "http://127.0.0.1:8080/a.wasm", ""},
		{Policy{}, "file:///a.wasm", ""},
		{Policy{}, "http://169.254.169.254/latest/meta-data", "a link-local address"},
		{Policy{}, "http://[::ffff:169.254.169.254]/", "169.254.169.254, a link-local address"},
		{Policy{}, "http://[64:ff9b::a9fe:a9fe]/", "a link-local address"},
		{Policy{}, "https://[fe80::1%25eth0]:443/", "a link-local address"},
		{Policy{}, "oci://[fd00:ec2::254]/a/b", "a metadata service"},
		{Policy{}, "http://100.100.100.200/", "a metadata service"},
		{Policy{}, "http://0.0.0.0/", "no single host's"},
		{Policy{}, "http://224.0.0.1/", "no single host's"},
		{Policy{LinkLocal: true}, "http://169.254.169.254/", ""},
		{Policy{}, "http://%zz/", "module URL"},
		{some, "file:///a.wasm", "may not come from file URLs, only https, oci, http"},
		{some, "https://example.com/a.wasm", ""},
		{some, "https://EXAMPLE.com.:444/a.wasm", ""},
		{some, "https://a.example.com/a.wasm", "may not come from a.example.com, only from example.com"},
		{some, "https://a.b.wasm.example.org/", ""},
		{some, "https://wasm.example.org/", "may not come from"},
		{some, "https://evilwasm.example.org/", "may not come from"},
		{some, "https://10.1.2.3/", ""},
		{some, "https://10.2.2.3/", "may not come from"},
		{some, "https://[2001:db8::1]:8443/", ""},
		{some, "https://[2001:db8::1]/", "may not come from"},
		{some, "oci://registry:5000/a/b:c", ""},
		{some, "oci://registry/a/b:c", "may not come from index.docker.io, only from"},
		{Policy{Hosts: []string{"docker.io"}}, "oci://someone/filter:v1", ""},
		{Policy{Hosts: []string{"docker.io"}}, "https://index.docker.io/v2/", ""},
		{Policy{Hosts: []string{"index.docker.io"}}, "oci://filter", ""},
		{Policy{Hosts: []string{"*.docker.io"}}, "oci://docker.io/someone/filter", ""},
		{Policy{Hosts: []string{"someone"}}, "oci://someone/filter:v1", "may not come from index.docker.io"},
		{Policy{Hosts: []string{"docker.io"}}, "https://auth.docker.io/token", "may not come from auth.docker.io"},
	}
	for _, test := range tests {
		err := test.policy.CheckURL(test.url)
		if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
			t.Errorf("%s: got %v, want %q", test.url, err, test.err)
		}
	}
	if err := some.Validate(); err != nil {
		t.Error(err)
	}
	for _, bad := range []Policy{{Schemes: []string{"ftp"}}, {Hosts: []string{""}}, {Hosts: []string{"a*b"}}, {Hosts: []string{"http://a"}}} {
		if err := bad.Validate(); err == nil {
			t.Errorf("%+v is valid", bad)
		}
	}
}

// TestPolicyDial checks that the address of a name is checked when a connection
// is made.
func TestPolicyDial(t *testing.T) {
	for address, allowed := range map[string]bool{
		"127.0.0.1:80":          true,
		"[2001:db8::1]:80":      true,
		"169.254.169.254:80":    false,
		"[fe80::1%eth0]:80":     false,
		"[::ffff:a9fe:a9fe]:80": false,
		"nonsense":              false,
	} {
		if err := (Policy{}).control("tcp", address, nil); (err == nil) != allowed {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// TestPolicyAddresses checks addresses in every notation, including translated
// ones.
func TestPolicyAddresses(t *testing.T) {
	refused := []string{
		"169.254.169.254", "0.0.0.0", "0.1.2.3", "100.64.0.1", "100.127.255.254", "192.0.0.1", "192.0.0.192", "198.18.0.1", "198.19.255.255",
		"224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "168.63.129.16", "100.100.100.200",
		"::", "fe80::1", "febf::1", "fec0::1", "ff02::1", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "100::1",
		"::ffff:169.254.169.254", "::169.254.169.254", "::ffff:0:169.254.169.254", // mapped, compatible, translated
		"2002:a9fe:a9fe::1", "2002:a9fe:a9fe:1234:5678::9", "2002:0:1::", // 6to4
		"64:ff9b::a9fe:a9fe", "64:ff9b:1::a9fe:a9fe", "64:ff9b:1:abcd::a9fe:a9fe", // NAT64, /96
		"64:ff9b:1:a9fe:a9:fe00::", "64:ff9b:1:aa:a9:fea9:fe00:0", "64:ff9b:1:a9:fe:a9fe::", // /48, and similar
		"2001:0:a9fe:a9fe::1", "2001:0:4136:e378:8000:63bf:5601:5601", // Teredo: server, client
		"2001:db8::5efe:169.254.169.254", "2001:db8::200:5efe:a9fe:a9fe", // ISATAP
		"64:ff9b::", "64:ff9b:1::",
	}
	allowed := []string{
		"127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "1.1.1.1", "100.63.255.255", "100.128.0.0", "192.0.1.0", "198.17.0.1", "198.20.0.1",
		"::1", "2001:db8::1", "2606:4700::1", "fd12::1", "::ffff:10.0.0.1", "::10.0.0.1", "2002:a00:1::1", "64:ff9b::a00:1", "64:ff9b:1::a00:1",
		"64:ff9b:1:808:8:800::", "2001:0:808:808:0:0:f7f7:f7f7", "2001:db8::5efe:10.0.0.1",
	}
	check := func(address string, want bool) {
		t.Helper()
		err := (Policy{}).CheckURL("http://" + netip.AddrPortFrom(netip.MustParseAddr(address), 80).String() + "/")
		dial := (Policy{}).control("tcp", netip.AddrPortFrom(netip.MustParseAddr(address), 80).String(), nil)
		if (err == nil) != want || (dial == nil) != want {
			t.Errorf("%s: URL: %v, connection: %v; allowed: %v", address, err, dial, want)
		}
		if err := (Policy{LinkLocal: true}).control("tcp", netip.AddrPortFrom(netip.MustParseAddr(address), 80).String(), nil); err != nil {
			t.Errorf("%s, with LinkLocal: %v", address, err)
		}
	}
	for _, a := range refused {
		check(a, false)
	}
	for _, a := range allowed {
		check(a, true)
	}
	if err := (Policy{}).control("tcp6", "[2002:a9fe:a9fe::1%eth0]:80", nil); err == nil {
		t.Error("a zone leads around it")
	}
}

func TestPolicyRedirects(t *testing.T) {
	var to string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, to, http.StatusFound)
	}))
	defer s.Close()
	for target, want := range map[string]string{
		"http://169.254.169.254/latest/meta-data/": "a link-local address",
		"http://elsewhere.example/a.wasm":          "may not come from elsewhere.example",
	} {
		to = target
		h := Policy{Hosts: []string{"127.0.0.1", "169.254.0.0/16"}}.NewHTTP()
		_, err := h.Fetch(t.Context(), Request{URL: s.URL})
		h.Close()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("redirect to %s: %v", target, err)
		}
		if _, refused := errors.AsType[*ContentError](err); !refused {
			t.Errorf("%v is no refusal", err)
		}
	}
}

func TestPolicyOfResolver(t *testing.T) {
	origin := newOrigin(t, gives(filter("x")))
	r := resolve(t, Options{Policy: Policy{Schemes: []string{"https"}}})
	r.set(wanted("hello", origin.URL))
	if got := r.until(Failed, nil); got.Reason != "modules may not come from http URLs, only https" {
		t.Errorf("%+v", got)
	}
	if n := origin.requests.Load(); n != 0 {
		t.Errorf("%d requests", n)
	}
}

func FuzzPolicy(f *testing.F) {
	f.Add("http://[::ffff:169.254.169.254]:80/a")
	f.Add("oci://a:1/b")
	f.Add("https://0x7f.1/")
	f.Fuzz(func(t *testing.T, raw string) {
		if (Policy{}).CheckURL(raw) != nil {
			return
		}
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatalf("%q is allowed but no URL", raw)
		}
		if addr, err := netip.ParseAddr(u.Hostname()); err == nil && u.Scheme != "file" && addr.Unmap().IsLinkLocalUnicast() {
			t.Fatalf("%q is allowed", raw)
		}
		if err := (Policy{Hosts: []string{"only.example"}}).CheckURL(raw); err == nil && u.Scheme != "file" &&
			strings.ToLower(strings.TrimSuffix(u.Hostname(), ".")) != "only.example" {
			t.Fatalf("%q is allowed with only.example", raw)
		}
	})
}

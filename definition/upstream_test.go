package definition

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestClusterNames checks that an upstream can be rebuilt from the name of its
// cluster.
func TestClusterNames(t *testing.T) {
	check := HealthCheck{By: CheckHTTP, Of: "/a b?&=,", Interval: time.Second, Timeout: 1500 * time.Millisecond, Unhealthy: 1, Healthy: 7}
	usual := defaultCheck
	for name, u := range map[string]Upstream{
		"a:1":                            {Address: "a:1"},
		"[::1]:80":                       {Address: "[::1]:0080"},
		"tls://a:1":                      {Address: "a:1", TLS: true},
		"http2://a:1":                    {Address: "a:1", Protocol: HTTP2},
		"http2+tls://a:1":                {Address: "a:1", Protocol: HTTP2, TLS: true},
		"http1://a:1,b:2":                {Endpoints: []string{"a:1", "b:2"}},
		"a:2":                            {Endpoints: []string{"a:2"}},
		"http1+tls://a:1,b:2?name=c":     {Endpoints: []string{"a:1", "b:2"}, TLS: true, ServerName: "c"},
		"http1://a:1?check=tcp%3A":       {Address: "a:1", HealthCheck: &usual},
		"http2://a:1?check=grpc%3As.Two": {Address: "a:1", Protocol: HTTP2, HealthCheck: &HealthCheck{CheckGRPC, "s.Two", 5 * time.Second, time.Second, 3, 2}},
		"http1://a:1?check=http%3A%2Fa+b%3F%26%3D%2C&healthy=7&interval=1s&timeout=1.5s&unhealthy=1": {Address: "a:1", HealthCheck: &check},
	} {
		if got := u.ClusterName(); got != name {
			t.Errorf("%+v is called %q, not %q", u, got, name)
		}
		again, ok := UpstreamOf(name)
		if !ok || again.ClusterName() != name || !slices.Equal(again.All(), plainly(u.All())) {
			t.Errorf("%q is taken for %+v, %v", name, again, ok)
		}
	}
	for _, name := range []string{"", "a", "http3://a:1", "http1://a:1", "a:1,b:2", "http2://a:1?", "http2://a:1?name=", "tls://a:1?name=b", "http1://a:1?check=x"} {
		if u, ok := UpstreamOf(name); ok {
			t.Errorf("%q is taken for %+v", name, u)
		}
	}
}

func plainly(addresses []string) []string {
	return slices.Collect(func(yield func(string) bool) {
		for _, a := range addresses {
			if !yield(Upstream{Address: a}.ClusterName()) {
				return
			}
		}
	})
}

// TestVirtualHosts checks that, whatever hosts a request names, it meets the
// routes that apply to it in the order of the file.
func TestVirtualHosts(t *testing.T) {
	routes := func(hosts ...[]string) []Route {
		var all []Route
		for _, h := range hosts {
			all = append(all, Route{Hosts: h})
		}
		return all
	}
	for _, test := range []struct {
		routes []Route
		want   []VirtualHost
	}{
		{routes(nil, nil), []VirtualHost{{[]string{"*"}, []int{0, 1}}}},
		{routes([]string{"a", "b"}, []string{"b", "a"}), []VirtualHost{{[]string{"a", "b"}, []int{0, 1}}}},
		{routes([]string{"a"}, nil, []string{"b"}), []VirtualHost{{[]string{"a"}, []int{0, 1}}, {[]string{"*"}, []int{1}}, {[]string{"b"}, []int{1, 2}}}},
		{routes([]string{"x.b.c"}, []string{"*.b.c"}, []string{"*.c"}, []string{"b.c"}), []VirtualHost{
			{[]string{"x.b.c"}, []int{0, 1, 2}}, {[]string{"*.b.c"}, []int{1, 2}}, {[]string{"*.c"}, []int{2}}, {[]string{"b.c"}, []int{2, 3}}}},
		{routes([]string{"a", "*"}), []VirtualHost{{[]string{"a", "*"}, []int{0}}}},
		{routes([]string{"[2001:db8::1.2.3.4]"}, []string{"*.4]"}), []VirtualHost{{[]string{"[2001:db8::1.2.3.4]"}, []int{0}}, {[]string{"*.4]"}, []int{1}}}},
	} {
		if diff := cmp.Diff(test.want, VirtualHosts(test.routes)); diff != "" {
			t.Errorf("%v (-want +got):\n%s", test.routes, diff)
		}
	}
}

package resource

import "testing"

// TestUpstream checks that a cluster that no route refers to any more can be
// rebuilt from its name, if that is an upstream's.
func TestUpstream(t *testing.T) {
	s := &Snapshot{opts: Options{}.withDefaults()}
	for _, name := range []string{"127.0.0.1:9000", "[::1]:9000", "example.com:443", "tls://example.com:443"} {
		if c := s.Upstream(name); c == nil || c.Name != name {
			t.Errorf("%s: %v", name, c)
		}
	}
	for _, name := range []string{"", "up", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:09000", "http://127.0.0.1:9000", "tls://tls://a:1"} {
		if c := s.Upstream(name); c != nil {
			t.Errorf("%s: %v", name, c)
		}
	}
}

package textdiff

import (
	"strings"
	"testing"
)

func TestLines(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{"a\nb\nc\nd\n", "a\nc\nx\nd\n", " a|-b| c|+x| d"},
		{"", "a\nb\n", "+a|+b"},
		{"a\n", "", "-a"},
		{"a\n", "a\n", " a"},
	} {
		var got []string
		for _, l := range Lines(c.from, c.to) {
			got = append(got, l.Sign()+l.Text)
		}
		if strings.Join(got, "|") != c.want {
			t.Errorf("%q and %q: %q, want %q", c.from, c.to, got, c.want)
		}
	}
}

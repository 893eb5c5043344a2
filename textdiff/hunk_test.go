package textdiff

import (
	"strings"
	"testing"
)

func TestHunks(t *testing.T) {
	lines := func(s string) string { return strings.Join(strings.Split(s, ""), "\n") + "\n" }
	for _, c := range []struct{ from, to, want string }{
		{"", "", ""},
		{lines("abc"), lines("abc"), ""},
		{"", lines("ab"), "@@ -0,0 +1,2 @@ +a+b"},
		{lines("ab"), "", "@@ -1,2 +0,0 @@ -a-b"},
		{lines("abcdefghij"), lines("abcdeXfghij"), "@@ -3,6 +3,7 @@  c d e+X f g h"},
		{lines("abcdefghijklm"), lines("Xbcdefghijkl"), "@@ -1,4 +1,4 @@ -a+X b c d@@ -10,4 +10,3 @@  j k l-m"},
	} {
		var b strings.Builder
		for _, h := range Hunks(Lines(c.from, c.to)) {
			b.WriteString(h.Head() + " ")
			for _, l := range h.Lines {
				b.WriteString(l.Sign() + l.Text)
			}
		}
		if b.String() != c.want {
			t.Errorf("%q to %q: %q, want %q", c.from, c.to, b.String(), c.want)
		}
	}
}

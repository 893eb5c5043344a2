package rollout

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestGuards: each function that an invariant says keeps it is there.
func TestGuards(t *testing.T) {
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var code strings.Builder
	for _, f := range files {
		if strings.HasSuffix(f.Name(), ".go") {
			b, err := os.ReadFile(f.Name())
			if err != nil {
				t.Fatal(err)
			}
			code.Write(b)
		}
	}
	text := regexp.MustCompile(`\n// `).ReplaceAllString(code.String(), " ")
	kept := regexp.MustCompile(`(?s)is invariant (\d+)[^\n]*?Kept by ([^\n]*?)\.( |\n)`).FindAllStringSubmatch(text, -1)
	if len(kept) != 9 {
		t.Errorf("%d of 9 invariants say what keeps them", len(kept))
	}
	for _, k := range kept {
		for _, name := range regexp.MustCompile(`\w+`).FindAllString(k[2], -1) {
			switch name {
			case "and", "by", "of", "that", "all", "everything", "waits", "for", "time", "a", "Plan", "changes":
				continue
			}
			if !strings.Contains(text, ") "+name+"(") && !strings.Contains(text, "func "+name+"(") {
				t.Errorf("invariant %s is kept by %s, which is not there", k[1], name)
			}
		}
	}
}

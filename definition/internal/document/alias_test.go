package document

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestAliasBomb checks that the expansion of a few lines of aliases is counted,
// not built.
func TestAliasBomb(t *testing.T) {
	bomb := []string{"a0: &a0 [x, x, x, x, x, x, x, x, x, x]"}
	for i := 1; i < 30; i++ {
		ref := fmt.Sprintf("*a%d", i-1)
		bomb = append(bomb, fmt.Sprintf("a%d: &a%d [%s]", i, i, strings.TrimSuffix(strings.Repeat(ref+", ", 10), ", ")))
	}
	for name, text := range map[string]string{
		"lists":  strings.Join(bomb, "\n"),
		"merges": strings.NewReplacer("[", "{<<: [", "]", "]}", "x, x, x, x, x, x, x, x, x, x", "{x: 1}").Replace(strings.Join(bomb, "\n")),
		"itself": "a: &a [*a]",
	} {
		start := time.Now()
		if docs, problems := YAML([]byte(text)); len(problems) == 0 {
			t.Errorf("%s: no problem, %d documents", name, len(docs))
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s: took %v", name, took)
		}
	}
}

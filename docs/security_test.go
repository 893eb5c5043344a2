package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"wasmxds/e2e/harness"
)

// TestSecurity: each input that the tables say is refused has a test, and each
// test is there.
func TestSecurity(t *testing.T) {
	root, err := harness.Root()
	must(t, err)
	text, err := os.ReadFile(filepath.Join(root, "docs", "security.md"))
	must(t, err)
	_, refused, ok := strings.Cut(string(text), "\n## Invalid and hostile input\n")
	if !ok {
		t.Fatal("there is no part that says what is refused")
	}
	named := regexp.MustCompile("`([^`]+)`")
	inputs := 0
	for line := range strings.Lines(refused) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 5 || strings.HasPrefix(cells[1], " ---") || cells[3] == " test " {
			continue
		}
		inputs++
		tests := named.FindAllStringSubmatch(cells[3], -1)
		if len(tests) == 0 {
			t.Errorf("no test shows it: %s", cells[1])
		}
		for _, test := range tests {
			if err := there(root, test[1]); err != "" {
				t.Errorf("%s: %s", test[1], err)
			}
		}
	}
	if inputs < 30 {
		t.Errorf("only %d inputs were found: the tables are read wrongly", inputs)
	}
}

// there says what keeps a test, FOLDER/NAME or a script's path, from being one.
func there(root, test string) string {
	if strings.HasSuffix(test, ".txtar") {
		if _, err := os.Stat(filepath.Join(root, test)); err != nil {
			return err.Error()
		}
		return ""
	}
	folder, name := filepath.Split(test)
	files, err := filepath.Glob(filepath.Join(root, folder, "*_test.go"))
	if err != nil {
		return err.Error()
	}
	function := regexp.MustCompile(`(?m)^func ` + regexp.QuoteMeta(name) + `\((t \*testing\.T|f \*testing\.F)\)`)
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err == nil && function.Match(content) {
			return ""
		}
	}
	return "there is no such test"
}

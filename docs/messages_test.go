package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"wasmxds/e2e/harness"
)

var (
	inBackquotes = regexp.MustCompile("`([^`]+)`")
	placeholder  = regexp.MustCompile(`…|[A-Z]{4,}(:[A-Z]+)?`) // as in FILE:LINE
)

// TestMessages checks that each message which when-a-filter-does-not-load.md explains in
// a table is one that some test wants, or that a command of the documents prints.
func TestMessages(t *testing.T) {
	root, err := harness.Root()
	must(t, err)
	var wanted strings.Builder
	must(t, filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			if slices.Contains([]string{".git", ".tools", "bin", "dist", "target", "vendor"}, d.Name()) {
				return filepath.SkipDir
			}
		case strings.HasSuffix(path, "_test.go"), strings.Contains(path, "/testdata/") && filepath.Ext(path) != ".wasm":
			text, err := os.ReadFile(path)
			wanted.Write(text)
			return err
		}
		return nil
	}))
	var messages []string
	for _, path := range documents(t, root) {
		text, err := os.ReadFile(filepath.Join(root, path))
		must(t, err)
		session := false
		for line := range strings.Lines(string(text)) {
			switch {
			case strings.HasPrefix(line, "```"):
				session = strings.HasPrefix(line, "```console")
			case session:
				wanted.WriteString(line)
			case filepath.Base(path) == "when-a-filter-does-not-load.md" && strings.HasPrefix(line, "| `"):
				message, _, _ := strings.Cut(line, " | ")
				messages = append(messages, message)
			}
		}
	}
	if len(messages) < 20 {
		t.Fatalf("only %d messages: is there another form of table?", len(messages))
	}
	for _, cell := range messages {
		for _, message := range inBackquotes.FindAllStringSubmatch(cell, -1) {
			for _, part := range placeholder.Split(message[1], -1) {
				if part = strings.Trim(part, ` "(),:`); !strings.Contains(wanted.String(), part) {
					t.Errorf("no test wants %q, which is a part of the message %q", part, message[1])
				}
			}
		}
	}
}

package h2_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// TestContract checks that the tests that the contract names exist.
func TestContract(t *testing.T) {
	contract, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	declared := map[string]bool{}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`).FindAllSubmatch(b, -1) {
			declared[string(m[1])] = true
		}
	}
	named := regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w+`).FindAllString(string(contract), -1)
	if len(named) == 0 {
		t.Fatal("the contract names no test")
	}
	for _, name := range named {
		if !declared[name] {
			t.Errorf("there is no %s", name)
		}
	}
}

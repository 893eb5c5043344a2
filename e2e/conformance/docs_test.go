package conformance

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

const page = "../../docs/testing-filters.md"

// TestDifferences compares the table of differences with what cases say.
func TestDifferences(t *testing.T) {
	cases, err := Cases("testdata")
	must(t, err)
	b, err := os.ReadFile(page)
	must(t, err)
	const begin, end = "| where the host differs | cases |\n| --- | --- |\n", "\n## "
	before, rest, found := strings.Cut(string(b), begin)
	if !found {
		t.Fatalf("%s has no table that begins with %q", page, begin)
	}
	old, after, _ := strings.Cut(rest, end)
	want := table(cases)
	if strings.TrimSpace(old) == strings.TrimSpace(want) {
		return
	}
	if !*update {
		t.Fatalf("%s: the table of differences is\n%s\nwant\n%s(-update writes it)", page, old, want)
	}
	if after != "" {
		after = end + after
	}
	must(t, os.WriteFile(page, []byte(before+begin+want+after), 0o644))
}

// table has a row for each reason.
func table(cases []*Case) string {
	var reasons []string
	names := map[string][]string{}
	for _, c := range cases {
		if c.Differs == "" {
			continue
		}
		if names[c.Differs] == nil {
			reasons = append(reasons, c.Differs)
		}
		names[c.Differs] = append(names[c.Differs], "`"+c.Name+"`")
	}
	var b strings.Builder
	for _, r := range reasons {
		fmt.Fprintf(&b, "| %s | %s |\n", r, strings.Join(names[r], ", "))
	}
	return b.String()
}

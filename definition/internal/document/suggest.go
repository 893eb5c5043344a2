package document

import (
	"fmt"
	"strings"

	"wasmxds/misspelt"
)

// Suggest returns a hint with the names that a mistyped one may stand for: the
// nearest if it is similar, or all of them if there are few.
func Suggest(got string, names []string) string {
	if best := misspelt.Nearest(got, names); best != "" {
		return fmt.Sprintf("did you mean %s?", best)
	}
	switch {
	case len(names) == 0 || len(names) > 16:
		return ""
	case len(names) == 1:
		return "expected " + names[0]
	}
	return "expected one of " + strings.Join(names, ", ")
}

package document

import (
	"fmt"
	"strings"

	"wasmxds/misspelt"
)

// Suggest makes a hint of the names that a mistyped one may have been meant
// for: the nearest where one is near, all of them where they are few.
func Suggest(got string, names []string) string {
	if best := misspelt.Nearest(got, names); best != "" {
		return fmt.Sprintf("did you mean %s?", best)
	}
	if len(names) == 0 || len(names) > 16 {
		return ""
	}
	return "known are " + strings.Join(names, ", ")
}

package printable

import (
	"fmt"
	"strings"
)

// JSON returns a JSON document that is also valid YAML: JSON may contain DEL,
// the C1 controls and noncharacters literally, YAML only as escapes.
func JSON(doc []byte) []byte {
	var b strings.Builder
	for _, r := range string(doc) {
		if r >= 0x7f && r < 0xa0 || r == 0xfffe || r == 0xffff {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return []byte(b.String())
}

package printable

import (
	"fmt"
	"strings"
)

// JSON is a JSON document that is YAML as well: JSON may have DEL, the C1
// controls and noncharacters as they are, YAML only as escapes.
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

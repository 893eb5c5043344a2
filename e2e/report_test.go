package e2e

import (
	"flag"
)

var full = flag.Bool("full", false, "play every scene at full counts")

// swaps is how many swaps a scene makes.
func swaps() int {
	if *full {
		return 50
	}
	return 5
}

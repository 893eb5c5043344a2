package resource

import (
	"fmt"
	"strconv"
	"strings"
)

// Spares is the number of slots that a listener has beyond those that its
// filters need. A spare slot holds a filter that does nothing, until an added
// filter is put into it. Then the listener is not replaced, and no connection
// is closed. The zero value is none.
type Spares struct {
	Around  int // before the first filter of a chain, and the same number after the last
	Between int // between any two filters
}

// maxSpares bounds each of the two numbers: every slot is a subscription of
// each Envoy, and each request passes through it.
const maxSpares = 64

// ParseSpares is the inverse of [Spares.String]: "2" is two around, "2,1" also
// has one between any two filters.
func ParseSpares(text string) (Spares, error) {
	around, between, two := strings.Cut(text, ",")
	var s Spares
	var err error
	if s.Around, err = parseSpare(around); err == nil && two {
		s.Between, err = parseSpare(between)
	}
	if err != nil {
		return Spares{}, fmt.Errorf("%q: N or N,M, each from 0 to %d", text, maxSpares)
	}
	return s, nil
}

// parseSpare parses a number of slots, which is written with digits only.
func parseSpare(text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 8)
	if err == nil && n > maxSpares {
		err = strconv.ErrRange
	}
	return int(n), err
}

func (s Spares) String() string {
	if s.Between == 0 {
		return strconv.Itoa(s.Around)
	}
	return fmt.Sprintf("%d,%d", s.Around, s.Between)
}

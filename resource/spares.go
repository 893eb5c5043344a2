package resource

import (
	"fmt"
	"strconv"
	"strings"
)

// Spares says how many slots a listener has beyond those that its filters need.
// A spare holds a filter that does nothing, until a filter that is added is put
// into it: the listener is then not replaced, and no connection is closed. The
// zero value is none.
type Spares struct {
	Around  int // before the first filter of a chain, and as many after the last
	Between int // between any two filters
}

// maxSpares bounds each of the two numbers: every slot is a subscription of each
// Envoy, and each request passes through it.
const maxSpares = 64

// ParseSpares reads what [Spares.String] writes: "2" is two around, "2,1" one
// more between any two filters.
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

// parseSpare reads a number of slots: digits alone, as no other way to write a
// number is needed.
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

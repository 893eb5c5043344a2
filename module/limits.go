package module

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// What V8 takes, as seen on Envoy 1.36.2 (V8 13.8) and 1.40.0 (14.6): a module
// that has more is refused there, and may cost a lot here.
const (
	maxTypes        = 1_000_000
	maxParameters   = 1000 // results, too
	maxFunctions    = 1_000_000
	maxTables       = 100_000
	maxTable        = 10_000_000 // entries that a table begins with
	maxPages        = 65_536
	maxGlobals      = 1_000_000
	maxDataSegments = 100_000
	maxFunctionSize = 7_654_321 // bytes
	maxLocals       = 50_000    // of a function (V8 counts its parameters as well)
)

const (
	sectionType   = 1
	sectionTable  = 4
	sectionMemory = 5
	sectionGlobal = 6
	sectionData   = 11
)

// checkLimits refuses a section that V8 would refuse for its size. What it
// can't read, it leaves to whoever compiles the module.
func checkLimits(r io.ReaderAt, id byte, s section) error {
	in := &stream{r: bufio.NewReader(io.NewSectionReader(r, s.at, int64(s.size)))}
	switch id {
	case sectionType:
		return in.types()
	case sectionFunction:
		return tooMany("functions", in.u32(), maxFunctions)
	case sectionTable:
		return in.tables()
	case sectionMemory:
		return in.memories()
	case sectionGlobal:
		return tooMany("globals", in.u32(), maxGlobals)
	case sectionCode:
		return in.bodies()
	case sectionData:
		return tooMany("data segments", in.u32(), maxDataSegments)
	}
	return nil
}

func tooMany(what string, n, limit uint32) error {
	if n <= limit {
		return nil
	}
	return &ContentError{
		Message: fmt.Sprintf("is a Wasm module with %d %s; Envoy takes at most %d", n, what, limit),
		Hint:    "it was not made by a compiler for filters; build it anew",
	}
}

// stream reads a section without keeping it. After an error, numbers are zero.
type stream struct {
	r   *bufio.Reader
	err error
}

func (s *stream) u32() uint32 {
	if s.err != nil {
		return 0
	}
	v, err := binary.ReadUvarint(s.r)
	if err == nil && v > math.MaxUint32 {
		err = fmt.Errorf("number of more than 32 bits")
	}
	if err != nil {
		s.err = err
		return 0
	}
	return uint32(v)
}

func (s *stream) skip(n uint32) {
	if s.err == nil {
		_, s.err = s.r.Discard(int(n))
	}
}

// value skips the type of a value.
func (s *stream) value() {
	const nullable, reference = 0x63, 0x64
	if kind := s.u32(); kind == nullable || kind == reference {
		s.u32() // to what
	}
}

func (s *stream) types() error {
	const function = 0x60
	n := s.u32()
	if err := tooMany("types", n, maxTypes); err != nil {
		return err
	}
	for ; n > 0 && s.err == nil; n-- {
		if s.u32() != function {
			return nil // structures, arrays and groups: newer than filters are
		}
		for _, what := range []string{"parameters of a function", "results of a function"} {
			values := s.u32()
			if err := tooMany(what, values, maxParameters); err != nil {
				return err
			}
			for ; values > 0 && s.err == nil; values-- {
				s.value()
			}
		}
	}
	return nil
}

func (s *stream) tables() error {
	const functions, externals = 0x70, 0x6f
	n := s.u32()
	if err := tooMany("tables", n, maxTables); err != nil {
		return err
	}
	for ; n > 0 && s.err == nil; n-- {
		if element := s.u32(); element != functions && element != externals {
			return nil
		}
		first, _ := s.limits()
		if err := tooMany("entries of a table", first, maxTable); err != nil {
			return err
		}
	}
	return nil
}

func (s *stream) memories() error {
	for n := s.u32(); n > 0 && s.err == nil; n-- {
		first, most := s.limits()
		if err := tooMany("pages of memory", max(first, most), maxPages); err != nil {
			return err
		}
	}
	return nil
}

func (s *stream) limits() (first, most uint32) {
	const bounded, wide = 1, 4
	flags := s.u32()
	if flags&wide != 0 {
		s.err = fmt.Errorf("addresses of 64 bits") // not looked at
		return 0, 0
	}
	first = s.u32()
	if flags&bounded != 0 {
		most = s.u32()
	}
	return first, most
}

// bodies looks at each function's size and at how many locals it declares.
func (s *stream) bodies() error {
	n := s.u32()
	if err := tooMany("functions", n, maxFunctions); err != nil {
		return err
	}
	beginning := &stream{r: bufio.NewReaderSize(nil, 64)}
	for ; n > 0 && s.err == nil; n-- {
		size := s.u32()
		if err := tooMany("bytes of a function", size, maxFunctionSize); err != nil {
			return err
		}
		if s.err != nil {
			return nil
		}
		body := &io.LimitedReader{R: s.r, N: int64(size)}
		beginning.r.Reset(body)
		beginning.err = nil
		if err := tooMany("locals of a function", beginning.locals(), maxLocals); err != nil {
			return err
		}
		s.skip(uint32(body.N))
	}
	return nil
}

// locals adds up what a function's body begins with.
func (s *stream) locals() uint32 {
	sum := uint64(0)
	for groups := s.u32(); groups > 0 && s.err == nil && sum <= maxLocals; groups-- {
		sum += uint64(s.u32())
		s.value()
	}
	return uint32(min(sum, math.MaxUint32))
}

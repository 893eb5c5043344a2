package module

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// Limits of V8, measured on Envoy 1.36.2 (V8 13.8) and 1.40.0 (14.6): a module
// that exceeds one is rejected there, and may cost a lot here.
const (
	maxTypes        = 1_000_000
	maxParameters   = 1000 // of results as well
	maxFunctions    = 1_000_000
	maxTables       = 100_000
	maxTable        = 10_000_000 // initial entries of a table
	maxPages        = 65_536
	maxGlobals      = 1_000_000
	maxDataSegments = 100_000
	maxFunctionSize = 7_654_321 // bytes
	maxLocals       = 50_000    // in a function (V8 also counts its parameters)
)

const (
	sectionType   = 1
	sectionTable  = 4
	sectionMemory = 5
	sectionGlobal = 6
	sectionData   = 11
)

// checkLimits returns an error if V8 would reject a section for its size. It
// ignores what it can't parse; compiling the module will report it.
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
		Hint:    "it was not made by a compiler for filters; build it with a Proxy-Wasm SDK",
	}
}

// stream parses a section without buffering it. After an error, all numbers are
// zero.
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

// value skips a value type.
func (s *stream) value() {
	const nullable, reference = 0x63, 0x64
	if kind := s.u32(); kind == nullable || kind == reference {
		s.u32() // the type that it refers to
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
			return nil // structures, arrays and groups: too new for filters
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
		s.err = fmt.Errorf("addresses of 64 bits") // not checked
		return 0, 0
	}
	first = s.u32()
	if flags&bounded != 0 {
		most = s.u32()
	}
	return first, most
}

// bodies checks each function's size and number of locals.
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

// locals returns the number of locals at the beginning of a function's body.
func (s *stream) locals() uint32 {
	sum := uint64(0)
	for groups := s.u32(); groups > 0 && s.err == nil && sum <= maxLocals; groups-- {
		sum += uint64(s.u32())
		s.value()
	}
	return uint32(min(sum, math.MaxUint32))
}

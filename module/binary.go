package module

import (
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// Section ids of a core module, from the WebAssembly specification.
const (
	sectionImport   = 2
	sectionFunction = 3
	sectionExport   = 7
	sectionCode     = 10
	sectionLast     = 13
)

const (
	maxNames   = 10_000  // imports or exports
	maxSection = 4 << 20 // size of an import or export section in bytes
	maxLayout  = 10_000  // number of sections, including custom ones
)

// section is the location of a section's content.
type section struct {
	at    int64 // offset of the content
	start int   // size of the id and the size field
	size  uint32
}

func readSection(r io.ReaderAt, offset, size int64) (id byte, s section, err error) {
	var head [6]byte // id, size as LEB128
	n, err := r.ReadAt(head[:min(6, size-offset)], offset)
	if n == 0 {
		return 0, s, fmt.Errorf("read module: %w", err)
	}
	id = head[0]
	if id > sectionLast {
		return 0, s, malformed("unknown section %d at byte %d", id, offset)
	}
	in := input{b: head[1:n]}
	s.size = in.u32()
	if errors.Is(in.err, io.ErrUnexpectedEOF) {
		return 0, s, truncated(size)
	} else if in.err != nil {
		return 0, s, malformed("section %d at byte %d: %v", id, offset, in.err)
	}
	s.start = n - len(in.b)
	s.at = offset + int64(s.start)
	if s.at+int64(s.size) > size {
		return 0, s, truncated(size)
	}
	return id, s, nil
}

// open reads the content of a section, or only its beginning if just the count
// is needed.
func (s section) open(r io.ReaderAt, id byte) (*input, error) {
	limit := uint32(maxSection)
	if id == sectionFunction || id == sectionCode {
		limit = 5
	}
	b := make([]byte, min(s.size, limit))
	if n, err := r.ReadAt(b, s.at); n < len(b) {
		return nil, fmt.Errorf("read module: %w", err)
	}
	return &input{b: b}, nil
}

// input is a cursor over bytes. It keeps the first error.
type input struct {
	b   []byte
	err error
}

func (in *input) u8() byte {
	if len(in.b) == 0 {
		in.fail(io.ErrUnexpectedEOF)
		return 0
	}
	c := in.b[0]
	in.b = in.b[1:]
	return c
}

// uleb reads an unsigned LEB128 of at most the given bits.
func (in *input) uleb(bits int) uint64 {
	var v uint64
	for shift := 0; shift < bits; shift += 7 {
		c := in.u8()
		if in.err != nil {
			return 0
		}
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			if bits < 64 && v >= 1<<bits {
				break
			}
			return v
		}
	}
	in.fail(errors.New("number too long"))
	return 0
}

func (in *input) u32() uint32 { return uint32(in.uleb(32)) }

func (in *input) name() string {
	n := in.u32()
	if in.err == nil && int64(n) > int64(len(in.b)) {
		in.fail(io.ErrUnexpectedEOF)
	}
	if in.err != nil {
		return ""
	}
	s := string(in.b[:n])
	in.b = in.b[n:]
	if !utf8.ValidString(s) {
		in.fail(errors.New("name is not UTF-8"))
	}
	return s
}

func (in *input) fail(err error) {
	if in.err == nil {
		in.err, in.b = err, nil
	}
}

// count reads a number of entries.
func (in *input) count() uint32 {
	n := in.u32()
	if n > maxNames {
		in.fail(fmt.Errorf("%d entries, at most %d are read", n, maxNames))
		return 0
	}
	return n
}

func (in *input) exports() []string {
	var names []string
	for n := in.count(); n > 0 && in.err == nil; n-- {
		names = append(names, in.name())
		in.u8()  // kind
		in.u32() // index
	}
	return names
}

func (in *input) imports() []string {
	var names []string
	for n := in.count(); n > 0 && in.err == nil; n-- {
		module, name := in.name(), in.name()
		names = append(names, module+"."+name)
		switch kind := in.u8(); kind {
		case 0: // function: type index
			in.u32()
		case 1: // table: element type, limits
			in.u8()
			in.limits()
		case 2: // memory
			in.limits()
		case 3: // global: value type, mutability
			in.u8()
			in.u8()
		case 4: // tag: attribute, type index
			in.u8()
			in.u32()
		default:
			in.fail(fmt.Errorf("unknown import kind %d", kind))
		}
	}
	return names
}

// limits skips the limits of a table or memory.
func (in *input) limits() {
	flags := in.u8()
	in.uleb(64)
	if flags&1 != 0 {
		in.uleb(64)
	}
}

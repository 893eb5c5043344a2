package meter

import (
	"encoding/binary"
	"fmt"
)

// reader reads the binary format.
type reader struct {
	b  []byte
	at int
}

func (r *reader) byte() (byte, error) {
	if r.at >= len(r.b) {
		return 0, errShort
	}
	r.at++
	return r.b[r.at-1], nil
}

// u reads a number.
func (r *reader) u() (uint64, error) {
	n, size := binary.Uvarint(r.b[r.at:])
	if size <= 0 {
		return 0, errShort
	}
	r.at += size
	return n, nil
}

// skip skips some numbers, signed or unsigned.
func (r *reader) skip(n uint64) error {
	for n > 0 {
		b, err := r.byte()
		if err != nil {
			return err
		}
		if b < 0x80 { // the last byte of a number
			n--
		}
	}
	return nil
}

func (r *reader) pass(n int) error {
	if n > len(r.b)-r.at {
		return errShort
	}
	r.at += n
	return nil
}

// bytes reads a number, and then that many bytes.
func (r *reader) bytes() ([]byte, error) {
	n, err := r.u()
	if err != nil {
		return nil, err
	}
	if n > uint64(len(r.b)-r.at) {
		return nil, errShort
	}
	r.at += int(n)
	return r.b[r.at-int(n) : r.at], nil
}

func (r *reader) valueType() error {
	t, err := r.byte()
	if err == nil && (t == 0x63 || t == 0x64) { // a reference, followed by its heap type
		err = r.skip(1)
	}
	return err
}

func (r *reader) limits() error {
	flags, err := r.byte()
	if err != nil {
		return err
	}
	return r.skip(1 + uint64(flags&1))
}

// memory reads the operand of an instruction that accesses memory.
func (r *reader) memory() error {
	align, err := r.u()
	if err == nil && align&0x40 != 0 { // followed by the index of a memory
		err = r.skip(1)
	}
	if err == nil {
		err = r.skip(1)
	}
	return err
}

// list reads a number, and then that many other numbers.
func (r *reader) list(more uint64) error {
	n, err := r.u()
	if err != nil {
		return err
	}
	if n > uint64(len(r.b)) {
		return errShort
	}
	return r.skip(n + more)
}

// instruction reads an instruction. It reports whether the instruction counts as one, and
// whether it ends a run. Instructions that only delimit blocks do not count.
func (r *reader) instruction() (counts, ends bool, err error) {
	op, err := r.byte()
	if err != nil {
		return false, false, err
	}
	counts = true
	switch {
	case op == 0x01: // nop
		counts = false
	case op == 0x02: // block
		counts, err = false, r.blockType()
	case op == 0x03, op == 0x06: // loop, try
		counts, ends, err = false, true, r.blockType()
	case op == 0x04: // if
		ends, err = true, r.blockType()
	case op == 0x05, op == 0x0b, op == 0x19: // else, end, catch_all
		counts, ends = false, true
	case op == 0x07, op == 0x18: // catch, delegate
		counts, ends, err = false, true, r.skip(1)
	case op == 0x1f: // try_table
		counts, ends = false, true
		if err = r.blockType(); err == nil {
			err = r.catches()
		}
	case op == 0x00, op == 0x0a, op == 0x0f: // unreachable, throw_ref, return
		ends = true
	case op == 0x08, op == 0x09, op == 0x0c, op == 0x0d, op == 0x12, op == 0x15, op == 0xd5, op == 0xd6: // throw, rethrow, br, br_if, return_call, return_call_ref, br_on_null, br_on_non_null
		ends, err = true, r.skip(1)
	case op == 0x0e: // br_table
		ends, err = true, r.list(1)
	case op == 0x13: // return_call_indirect
		ends, err = true, r.skip(2)
	case op == 0x11: // call_indirect
		err = r.skip(2)
	case op == 0x10, op == 0x14, op >= 0x20 && op <= 0x26, op == 0x3f, op == 0x40, op == 0x41, op == 0x42, op == 0xd0, op == 0xd2:
		err = r.skip(1)
	case op == 0x1c: // select of a type
		err = r.types()
	case op >= 0x28 && op <= 0x3e:
		err = r.memory()
	case op == 0x43: // f32.const
		err = r.pass(4)
	case op == 0x44: // f64.const
		err = r.pass(8)
	case op == 0x1a, op == 0x1b, op >= 0x45 && op <= 0xc4, op == 0xd1, op == 0xd3, op == 0xd4:
	case op == 0xfc, op == 0xfd, op == 0xfe:
		err = r.prefixed(op)
	default:
		err = fmt.Errorf("instruction %#x is not known", op)
	}
	return counts, ends, err
}

// blockType reads a type, or the index of one.
func (r *reader) blockType() error {
	if r.at < len(r.b) && (r.b[r.at] == 0x63 || r.b[r.at] == 0x64) {
		return r.valueType()
	}
	return r.skip(1)
}

func (r *reader) types() error {
	n, err := r.u()
	for ; n > 0 && err == nil; n-- {
		err = r.valueType()
	}
	return err
}

func (r *reader) catches() error {
	n, err := r.u()
	for ; n > 0 && err == nil; n-- {
		var kind byte
		if kind, err = r.byte(); err == nil {
			err = r.skip(uint64(2 - kind>>1&1)) // catch_all has no tag
		}
	}
	return err
}

// prefixed reads the rest of an instruction whose opcode consists of two numbers.
func (r *reader) prefixed(prefix byte) error {
	op, err := r.u()
	if err != nil {
		return err
	}
	switch {
	case prefix == 0xfc && op <= 7:
		return nil
	case prefix == 0xfc && (op == 8 || op == 10 || op == 12 || op == 14):
		return r.skip(2)
	case prefix == 0xfc && op <= 17:
		return r.skip(1)
	case prefix == 0xfd && (op <= 11 || op == 92 || op == 93):
		return r.memory()
	case prefix == 0xfd && (op == 12 || op == 13):
		return r.pass(16)
	case prefix == 0xfd && op >= 21 && op <= 34:
		return r.pass(1)
	case prefix == 0xfd && op >= 84 && op <= 91:
		if err := r.memory(); err != nil {
			return err
		}
		return r.pass(1)
	case prefix == 0xfd && op <= 0x113:
		return nil
	case prefix == 0xfe && op == 3:
		return r.pass(1)
	case prefix == 0xfe && (op <= 2 || op >= 0x10 && op <= 0x4e):
		return r.memory()
	}
	return fmt.Errorf("instruction %#x %d is not known", prefix, op)
}

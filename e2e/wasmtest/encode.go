package wasmtest

// The parts of the WebAssembly binary format (core specification 1.0, chapter
// 5) that a small filter needs.

const (
	i32     = 0x7f // value type
	i64     = 0x7e
	funcref = 0x70

	opUnreachable = 0x00
	opBlock       = 0x02
	opLoop        = 0x03
	opIf          = 0x04
	opEnd         = 0x0b
	opBr          = 0x0c
	opBrIf        = 0x0d
	opBrTable     = 0x0e
	opReturn      = 0x0f
	opCall        = 0x10
	opDrop        = 0x1a
	opLocalGet    = 0x20
	opLocalSet    = 0x21
	opTee         = 0x22
	opGlobalGet   = 0x23
	opGlobalSet   = 0x24
	opLoad        = 0x28
	opStore       = 0x36
	opGrow        = 0x40
	opConst       = 0x41
	opLong        = 0x42 // a constant of 64 bits
	opEqz         = 0x45
	opEq          = 0x46
	opAdd         = 0x6a
	opRem         = 0x70 // unsigned
	opAnd         = 0x71
	opShl         = 0x74
	opBulk        = 0xfc
	opFill        = 0x0b // after opBulk

	noResult = 0x40 // block type
)

// function is a type, and a body where it is not an import.
type function struct {
	name            string // of the import or export
	params, results int    // all of them i32
	long            bool   // an i64 comes behind the parameters
	locals          int    // i32, after the parameters
	body            []byte // without the closing end
}

// image is a module about to be encoded. Functions are numbered imports
// first, in the order of the slices.
type image struct {
	imports []function // all from "env"
	exports []function
	hidden  []function // after the exports
	tables  []int      // their sizes
	pages   int        // of memory
	global  int        // first value of the one mutable global
	data    []byte     // at dataAt in memory
}

const dataAt = 16 // below is room for pointers that the host returns

func (m image) encode() []byte {
	b := []byte("\x00asm\x01\x00\x00\x00")
	own := append(append([]function(nil), m.exports...), m.hidden...)
	all := append(append([]function(nil), m.imports...), own...)

	types := uleb(len(all))
	for _, f := range all {
		types = append(types, 0x60)
		params := repeat(i32, f.params)
		if f.long {
			params = append(params, i64)
		}
		types = append(append(types, uleb(len(params))...), params...)
		types = append(append(types, uleb(f.results)...), repeat(i32, f.results)...)
	}
	b = section(b, 1, types)

	imports := uleb(len(m.imports))
	for i, f := range m.imports {
		imports = append(append(imports, text("env")...), text(f.name)...)
		imports = append(append(imports, 0x00), uleb(i)...)
	}
	b = section(b, 2, imports)

	functions := uleb(len(own))
	exports := append(uleb(len(m.exports)+1), append(text("memory"), 0x02, 0)...)
	code := uleb(len(own))
	for i, f := range own {
		index := uleb(len(m.imports) + i)
		functions = append(functions, index...)
		if i < len(m.exports) {
			exports = append(append(append(exports, text(f.name)...), 0x00), index...)
		}
		body := append(append(append(uleb(1), uleb(f.locals)...), i32), f.body...)
		body = append(body, opEnd)
		code = append(append(code, uleb(len(body))...), body...)
	}
	b = section(b, 3, functions)
	if len(m.tables) > 0 {
		tables := uleb(len(m.tables))
		for _, size := range m.tables {
			tables = append(append(tables, funcref, 0x00), uleb(size)...)
		}
		b = section(b, 4, tables)
	}
	b = section(b, 5, append([]byte{1, 0x00}, uleb(m.pages)...))
	b = section(b, 6, append(append([]byte{1, i32, 0x01, opConst}, sleb(m.global)...), opEnd))
	b = section(b, 7, exports)
	b = section(b, 10, code)

	data := append(append([]byte{1, 0x00, opConst}, sleb(dataAt)...), opEnd)
	data = append(append(data, uleb(len(m.data))...), m.data...)
	return section(b, 11, data)
}

// pad makes b size bytes long with a custom section. A module that is too long
// already, or too few bytes short, is returned as it is.
func pad(b []byte, size int) []byte {
	const header = 1 + 5 + 1 + len("pad") // id, length, name
	n := size - len(b) - header
	if n < 0 {
		return b
	}
	length := n + 1 + len("pad")
	b = append(b, 0)
	for range 4 { // always five bytes long, so that the header's size is known
		b = append(b, byte(length)|0x80)
		length >>= 7
	}
	b = append(b, byte(length))
	b = append(b, text("pad")...)
	return append(b, make([]byte, n)...)
}

func section(b []byte, id byte, content []byte) []byte {
	return append(append(append(b, id), uleb(len(content))...), content...)
}

func text(s string) []byte { return append(uleb(len(s)), s...) }

func repeat(b byte, n int) []byte {
	s := make([]byte, n)
	for i := range s {
		s[i] = b
	}
	return s
}

func uleb(n int) []byte {
	var b []byte
	for n >= 0x80 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n))
}

func sleb(n int) []byte {
	var b []byte
	for {
		c := byte(n & 0x7f)
		n >>= 7
		if n == 0 && c&0x40 == 0 || n == -1 && c&0x40 != 0 {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}

// Instructions.

func ops(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func op(codes ...byte) []byte { return codes }
func push(n int) []byte       { return append([]byte{opConst}, sleb(n)...) }
func get(local int) []byte    { return append([]byte{opLocalGet}, uleb(local)...) }
func set(local int) []byte    { return append([]byte{opLocalSet}, uleb(local)...) }

// load and store take their address from the stack, plus offset.
func load(offset int) []byte  { return append([]byte{opLoad, 2}, uleb(offset)...) }
func store(offset int) []byte { return append([]byte{opStore, 2}, uleb(offset)...) }

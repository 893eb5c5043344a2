package wasmtest

// Functions of a script's module that make a line and log it, in the order of
// their numbers.
const (
	lineText   = iota // bytes as they are, by address and length
	lineByte          // a byte, as two digits
	lineNumber        // a number: a blank and eight digits
	lineBytes         // bytes, by address and length: their number, a blank and two digits for each
	lineEnd           // logs the line
)

// shownBytes is how many bytes of a value a line has.
const shownBytes = 2048

func (w *scriptWriter) call(line int) []byte {
	return append([]byte{opCall}, uleb(w.first+line)...)
}

// say adds a text to the line.
func (w *scriptWriter) say(s string) []byte {
	return ops(push(w.word(s)), push(len(s)), w.call(lineText))
}

func (w *scriptWriter) lineFunctions() []function {
	const opCopy, opLess, opShiftRight, opLoad8, opStore8 = 0x0a, 0x49, 0x76, 0x2d, 0x3a
	load8 := op(opLoad8, 0, 0)
	store8 := op(opStore8, 0, 0)
	end := ops(push(w.cursor), load(0), push(lineAt), op(opAdd)) // where the next byte goes
	advance := func(by []byte) []byte {
		return ops(push(w.cursor), push(w.cursor), load(0), by, op(opAdd), store(0))
	}
	digit := func(value []byte) []byte {
		return ops(end, value, push(15), op(opAnd), push(w.digits), op(opAdd), load8, store8, advance(push(1)))
	}
	shifted := func(by int) []byte { return ops(get(0), push(by), op(opShiftRight)) }
	blank := ops(end, push(' '), store8, advance(push(1)))
	const at, size, i = 0, 1, 2
	return []function{
		lineText: {params: 2, body: ops(end, get(at), get(size), op(opBulk, opCopy, 0, 0), advance(get(size)))},
		lineByte: {params: 1, body: ops(digit(shifted(4)), digit(get(0)))},
		lineNumber: {params: 1, body: ops(blank,
			shifted(24), w.call(lineByte), shifted(16), w.call(lineByte), shifted(8), w.call(lineByte), get(0), w.call(lineByte))},
		lineBytes: {params: 2, locals: 1, body: ops(get(size), w.call(lineNumber), blank,
			op(opBlock, noResult, opLoop, noResult),
			get(i), get(size), op(opLess, opEqz, opBrIf, 1), get(i), push(shownBytes), op(opLess, opEqz, opBrIf, 1),
			get(at), get(i), op(opAdd), load8, w.call(lineByte),
			get(i), push(1), op(opAdd), set(i),
			op(opBr, 0, opEnd, opEnd))},
		lineEnd: {body: ops(push(levelInfo), push(lineAt), push(w.cursor), load(0),
			append([]byte{opCall}, uleb(w.calls["log"])...), op(opDrop),
			push(w.cursor), push(0), store(0))},
	}
}

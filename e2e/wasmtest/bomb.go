package wasmtest

// Bomb is what a module has in it, unused, that costs whoever loads it far more
// than its size.
type Bomb int

const (
	NoBomb      Bomb = iota
	HugeLocals       // a function with 2³² locals, nearly
	ManyLocals       // 2,000 functions of 50,000 locals each, as many as V8 takes
	HugeTable        // a table of 2³⁰ entries
	LargeTables      // 40 tables as large as V8 takes them
	DeepBlocks       // a million blocks, one in the other
	SlowCode         // code that takes long to compile to machine code
	WideBranch       // branches with more targets than V8 takes
)

// set puts the bomb into a module.
func (b Bomb) set(m *image) {
	switch b {
	case HugeLocals:
		m.hidden = []function{{locals: 0xfffffff0}}
	case ManyLocals:
		for range 2000 {
			m.hidden = append(m.hidden, function{locals: 50_000})
		}
	case HugeTable:
		m.tables = []int{1 << 30}
	case LargeTables:
		for range 40 {
			m.tables = append(m.tables, 10_000_000)
		}
	case DeepBlocks:
		const depth = 1_000_000
		var body []byte
		for range depth {
			body = append(body, opBlock, noResult)
		}
		m.hidden = []function{{body: append(body, repeat(opEnd, depth)...)}}
	case SlowCode:
		m.hidden = []function{{locals: 2000, body: tangle(2000, 2000)}}
	case WideBranch:
		targets := append([]byte{opBrTable}, uleb(100_000)...)
		targets = append(targets, make([]byte, 100_001)...)
		m.hidden = []function{{body: ops(op(opBlock, noResult), push(0), targets, op(opEnd))}}
	}
}

// tangle is loops in loops, each with variables that live on in all others.
func tangle(locals, loops int) []byte {
	var b []byte
	for i := range loops {
		b = append(b, ops(op(opLoop, noResult), get(i%locals), op(opBrIf, 0))...)
	}
	for i := range loops {
		b = append(b, ops(get(i%locals), push(1), op(opAdd), set(i*7%locals), op(opEnd))...)
	}
	return b
}

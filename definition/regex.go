package definition

import (
	"regexp/syntax"
	"unicode"
)

const (
	// mostRegex is the maximum length of an expression in bytes.
	mostRegex = 1024
	// mostProgram is the maximum size of an expression's program in Envoy,
	// unless its runtime overrides it. Measured on 1.36.2 and 1.40.0.
	mostProgram = 100
)

// regex checks an RE2 expression.
func (d *Doc) regex(path, value string) {
	if value == "" {
		return
	}
	if len(value) > mostRegex {
		d.Problem(path, "", "%d bytes, %d at most", len(value), mostRegex)
		return
	}
	size, err := programSize(value)
	if err != nil {
		d.Problem(path, "it is an RE2 expression for the whole of it", "%v", err)
		return
	}
	if size > mostProgram {
		d.Warn(path, "write it shorter, or raise re2.max_program_size.error_level in the Envoys' runtime",
			"Envoy refuses an expression whose program has more than %d steps; this one has about %d", mostProgram, size)
	}
}

// programSize estimates the size of RE2's program for an expression, rather too
// large than too small.
func programSize(value string) (int, error) {
	re, err := syntax.Parse(value, syntax.Perl)
	if err != nil {
		return 0, err
	}
	program, err := syntax.Compile(re.Simplify())
	if err != nil {
		return 0, err
	}
	size := len(program.Inst) + 2
	for _, i := range program.Inst {
		switch i.Op {
		case syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
			size += anyRune
		case syntax.InstRune, syntax.InstRune1:
			if len(i.Rune) > 0 && i.Rune[len(i.Rune)-1] > unicode.MaxASCII {
				size += anyRune
			}
			size += max(0, len(i.Rune)/2-1) // instructions match ranges of bytes
		}
	}
	return size, nil
}

// anyRune is the number of additional instructions that match the bytes of any
// rune.
const anyRune = 7

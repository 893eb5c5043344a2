package definition

import (
	"regexp/syntax"
	"unicode"
)

const (
	// mostRegex is how long an expression may be.
	mostRegex = 1024
	// mostProgram is how large an expression's program may be in Envoy, unless its
	// runtime says otherwise. Seen on 1.36.2 and 1.40.0.
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

// programSize is about as large as RE2 makes the program of an expression, rather
// more than less.
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
			size += max(0, len(i.Rune)/2-1) // steps are of ranges of bytes
		}
	}
	return size, nil
}

// anyRune is how many more steps it takes to tell the bytes of any rune.
const anyRune = 7

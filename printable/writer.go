package printable

import (
	"io"
	"sync"
	"unicode/utf8"
)

// Writer escapes characters that are not printable and writes the result to
// another writer. Line breaks and tabs are unchanged. It is safe for concurrent
// use.
type Writer struct {
	Out io.Writer // underlying writer

	mu   sync.Mutex
	part []byte // first bytes of a character that the next Write completes
}

// NewWriter returns a Writer that writes to out.
func NewWriter(out io.Writer) *Writer { return &Writer{Out: out} }

func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := append(w.part, p...)
	whole := len(text) - begun(text)
	w.part = append([]byte(nil), text[whole:]...)
	if _, err := io.WriteString(w.Out, Lines(string(text[:whole]))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// begun returns the number of bytes of an incomplete character at the end of
// text.
func begun(text []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(text); n++ {
		if tail := text[len(text)-n:]; utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}

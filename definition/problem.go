package definition

// Problem is something wrong with a definition, told to the person who wrote
// it: where, what, and what to do.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"` // from 1; 0: the file as a whole
	Field   string `json:"field,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	Diff    string `json:"diff,omitempty"`    // lines of what was expected and what came, of a test
	Warning bool   `json:"warning,omitempty"` // the definition is used all the same
}

// Error gives "file:line: field: message", without the hint.
func (p Problem) Error() string {
	at := Position{File: p.File, Line: p.Line}.String()
	if p.Field != "" {
		at += ": " + p.Field
	}
	return at + ": " + p.Message
}

package definition

// Problem describes an error in a definition to the person who wrote it: where
// it is, what is wrong, and what to do.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"` // from 1; 0: the file as a whole
	Field   string `json:"field,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	Diff    string `json:"diff,omitempty"`    // for a test: a diff of the expected and the actual lines
	Warning bool   `json:"warning,omitempty"` // the definition is used nevertheless
}

// Error returns "file:line: field: message", without the hint.
func (p Problem) Error() string {
	at := Position{File: p.File, Line: p.Line}.String()
	if p.Field != "" {
		at += ": " + p.Field
	}
	return at + ": " + p.Message
}

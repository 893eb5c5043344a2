// Package textdiff compares texts line by line, for people.
package textdiff

import "strings"

// Line is a line of a comparison.
type Line struct {
	Class string `json:"class"` // "same", "added" or "removed"
	Text  string `json:"text"`
}

// Sign returns the prefix of the line in a patch.
func (l Line) Sign() string {
	switch l.Class {
	case "added":
		return "+"
	case "removed":
		return "-"
	}
	return " "
}

// Most is the maximum number of lines that are compared on each side:
// definitions are short.
const Most = 2000

// Lines compares two texts (longest common subsequence).
func Lines(from, to string) []Line {
	a, b := split(from), split(to)
	common := make([][]int32, len(a)+1) // [i][j]: for a[i:] and b[j:]
	for i := range common {
		common[i] = make([]int32, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var out []Line
	for i, j := 0, 0; i < len(a) || j < len(b); {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			out = append(out, Line{"same", a[i]})
			i, j = i+1, j+1
		case i < len(a) && (j == len(b) || common[i+1][j] >= common[i][j+1]):
			out = append(out, Line{"removed", a[i]})
			i++
		default:
			out = append(out, Line{"added", b[j]})
			j++
		}
	}
	return out
}

// split returns the lines of a text, or none if it is empty.
func split(text string) []string {
	if text == "" {
		return nil
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	return lines[:min(len(lines), Most)]
}

package admin

import "strings"

// diffLine is a line of a comparison.
type diffLine struct {
	Class, Sign string // "same" " ", "added" "+", "removed" "-"
	Text        string
}

// maxDiff is how many lines of each side are compared: definitions are short.
const maxDiff = 2000

// diff compares two texts by lines (longest common subsequence).
func diff(from, to string) []diffLine {
	a, b := lines(from), lines(to)
	common := make([][]int32, len(a)+1) // [i][j]: of a[i:] and b[j:]
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
	var out []diffLine
	for i, j := 0, 0; i < len(a) || j < len(b); {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			out = append(out, diffLine{"same", " ", a[i]})
			i, j = i+1, j+1
		case i < len(a) && (j == len(b) || common[i+1][j] >= common[i][j+1]):
			out = append(out, diffLine{"removed", "-", a[i]})
			i++
		default:
			out = append(out, diffLine{"added", "+", b[j]})
			j++
		}
	}
	return out
}

func lines(text string) []string {
	ls := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	return ls[:min(len(ls), maxDiff)]
}

// Package misspelt finds the name that a misspelt one stands for.
package misspelt

import "strings"

// Nearest returns the name with the smallest edit distance, ignoring case and
// underscores, or "" if no name is similar.
func Nearest(got string, names []string) string {
	best, least := "", min(max(2, len(got)/3), 4)+1
	for _, name := range names {
		if d := distance(fold(got), fold(name)); d < least && d < len(name) {
			best, least = name, d
		}
	}
	return best
}

func fold(s string) string { return strings.ReplaceAll(strings.ToLower(s), "_", "") }

// distance returns the number of characters to add, remove, replace or swap
// with their neighbour. Words of more than 100 bytes are treated as different.
func distance(a, b string) int {
	if len(a) > 100 || len(b) > 100 {
		return 100
	}
	var before, last, row []int // rows i-2, i-1, i of the table
	for j := range len(b) + 1 {
		last = append(last, j)
	}
	for i := 1; i <= len(a); i++ {
		row = []int{i}
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d := min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, before[j-2]+1)
			}
			row = append(row, d)
		}
		before, last = last, row
	}
	return last[len(b)]
}

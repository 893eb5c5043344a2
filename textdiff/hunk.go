package textdiff

import "fmt"

// Hunk is a part of a comparison that contains changes.
type Hunk struct {
	From, To int // number of the first line on each side, from 1
	Lines    []Line
}

// around is the number of unchanged lines before and after a change.
const around = 3

// Hunks returns the changes with the lines around them.
func Hunks(lines []Line) []Hunk {
	near := make([]bool, len(lines))
	for i, l := range lines {
		if l.Class == "same" {
			continue
		}
		for j := max(0, i-around); j <= min(len(lines)-1, i+around); j++ {
			near[j] = true
		}
	}
	var hunks []Hunk
	from, to := 1, 1
	for i, l := range lines {
		if near[i] {
			if i == 0 || !near[i-1] {
				hunks = append(hunks, Hunk{From: from, To: to})
			}
			h := &hunks[len(hunks)-1]
			h.Lines = append(h.Lines, l)
		}
		if l.Class != "added" {
			from++
		}
		if l.Class != "removed" {
			to++
		}
	}
	return hunks
}

// Head returns the header line of the hunk in a patch.
func (h *Hunk) Head() string {
	from, to := h.From, h.To
	var removed, added int
	for _, l := range h.Lines {
		if l.Class != "added" {
			removed++
		}
		if l.Class != "removed" {
			added++
		}
	}
	if removed == 0 { // for an empty range, the number is that of the line before
		from--
	}
	if added == 0 {
		to--
	}
	return fmt.Sprintf("@@ -%d,%d +%d,%d @@", from, removed, to, added)
}

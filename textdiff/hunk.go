package textdiff

import "fmt"

// Hunk is a part of a comparison with something changed in it.
type Hunk struct {
	From, To int // numbers of the first line, from 1
	Lines    []Line
}

// around is how many lines that are the same are shown before and after.
const around = 3

// Hunks leaves out what is far from any change.
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

// Head is the line that a patch has before it.
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
	if removed == 0 { // of no lines, the number is that of the one before
		from--
	}
	if added == 0 {
		to--
	}
	return fmt.Sprintf("@@ -%d,%d +%d,%d @@", from, removed, to, added)
}

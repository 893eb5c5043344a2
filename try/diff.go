package try

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"wasmxds/module/dryrun/stream"
	"wasmxds/textdiff"
)

// Limits of what is shown of texts from filters, which may be arbitrarily large.
const (
	mostLines = 40
	mostWidth = 200
	mostQuote = 80
)

// lineDiff compares texts by lines, for people. The first text is the expected one.
func lineDiff(want, got string) string {
	hunks := textdiff.Hunks(textdiff.Lines(want, got))
	if len(hunks) == 0 { // they differ in the last line break, or beyond the limit
		return "- " + cut(quote(tail(want)), mostWidth) + "\n+ " + cut(quote(tail(got)), mostWidth) + "\n"
	}
	return shown(hunks, mostLines)
}

// shown returns the lines of hunks for people, up to a limit.
func shown(hunks []textdiff.Hunk, most int) string {
	var b strings.Builder
	n := 0
	for i, h := range hunks {
		if i > 0 {
			b.WriteString("…\n")
		}
		for _, l := range h.Lines {
			if n++; n > most {
				b.WriteString("…\n")
				return b.String()
			}
			b.WriteString(strings.TrimRight(l.Sign()+" "+cut(l.Text, mostWidth), " ") + "\n")
		}
	}
	return b.String()
}

func tail(text string) string { return text[max(0, len(text)-40):] }

// lines returns the lines of a text, each with a prefix.
func lines(sign, text string) string {
	if text == "" {
		return ""
	}
	var b strings.Builder
	n := 0
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		if n++; n > mostLines {
			b.WriteString(sign + " …\n")
			break
		}
		b.WriteString(sign + " " + cut(line, mostWidth) + "\n")
	}
	return b.String()
}

func headerLines(sign, name string, values []string) string {
	var b strings.Builder
	for _, v := range values[:min(len(values), mostLines)] {
		b.WriteString(lines(sign, name+": "+v))
	}
	return b.String()
}

func logLines(all []stream.Line) string {
	var b strings.Builder
	for _, l := range all[max(0, len(all)-mostLines/2):] {
		b.WriteString("  log " + l.Level + ": " + cut(strings.TrimRight(l.Text, "\n"), mostWidth) + "\n")
	}
	return b.String()
}

// cut shortens a text to about that many bytes.
func cut(text string, most int) string {
	text = strings.ToValidUTF8(text, "\ufffd")
	if len(text) <= most {
		return text
	}
	end := most
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return fmt.Sprintf("%s… (%d bytes more)", text[:end], len(text)-end)
}

func quote(text string) string {
	if len(text) <= mostQuote {
		return fmt.Sprintf("%q", text)
	}
	return fmt.Sprintf("%q… (%d bytes)", strings.ToValidUTF8(text[:mostQuote], ""), len(text))
}

func quoted(values []string) string {
	switch len(values) {
	case 0:
		return "no such header"
	case 1:
		return quote(values[0])
	}
	var all []string
	for _, v := range values[:min(len(values), 5)] {
		all = append(all, quote(v))
	}
	if len(values) > 5 {
		all = append(all, "…")
	}
	return strings.Join(all, " and ")
}

// differ describes how two texts differ, and from which byte on.
func differ(got, want string) string {
	if len(got) <= mostQuote && len(want) <= mostQuote {
		return fmt.Sprintf("got %q, expected %q", got, want)
	}
	at := 0
	for at < len(got) && at < len(want) && got[at] == want[at] {
		at++
	}
	return fmt.Sprintf("got %d bytes, expected %d, which differ from byte %d on: %s, expected %s", len(got), len(want), at, quote(around(got, at)), quote(around(want, at)))
}

func around(text string, at int) string {
	from := max(0, at-20)
	return strings.ToValidUTF8(text[from:min(len(text), from+mostQuote)], "")
}

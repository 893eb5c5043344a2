package definition

import (
	"regexp"
	"strconv"
	"strings"

	"wasmxds/definition/internal/document"
)

const percentPattern = `^[0-9]*\.?[0-9]+%$`

var percentForm = regexp.MustCompile(percentPattern)

// percent reads 5% as 0.05. Good says of a number of percents whether it can
// be, and needs says it to people.
func (d *Doc) percent(at string, n *document.Node, needs string, good func(float64) bool) float64 {
	digits := strings.TrimSuffix(n.Text, "%")
	p, err := strconv.ParseFloat(digits, 64)
	less := strings.HasPrefix(digits, "-") // than nothing, which is a number all the same
	switch {
	case n.Kind != document.Text || err != nil || !percentForm.MatchString(strings.TrimPrefix(n.Text, "-")):
		d.Problem(at, "a share is written with a percent sign, like 5% or 0.5%", "%s is not a share", shown(n))
		return 0
	case less || !good(p):
		d.Problem(at, "", "%s, needs %s", n.Text, needs)
		return 0
	}
	return share(digits)
}

// share is so many percents of 1: the float that is nearest, which p/100 need
// not be.
func share(percents string) float64 {
	s, _ := strconv.ParseFloat(percents+"e-2", 64)
	return s
}

// percentOf writes a share as it is read.
func percentOf(of float64) string {
	for digits := 1; digits <= 17; digits++ {
		p, _ := strconv.ParseFloat(strconv.FormatFloat(of*100, 'e', digits-1, 64), 64)
		if text := strconv.FormatFloat(p, 'f', -1, 64); share(text) == of {
			return text + "%"
		}
	}
	return strconv.FormatFloat(of*100, 'f', -1, 64) + "%"
}

// shown is what is written, for people.
func shown(n *document.Node) string {
	switch {
	case n.Kind == document.Text:
		return strconv.Quote(n.Text)
	case n.Kind == document.Number && n.Plain != "":
		return n.Plain
	case n.Kind == document.Number:
		return n.Text
	}
	return n.Kind.String()
}

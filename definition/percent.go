package definition

import (
	"regexp"
	"strconv"
	"strings"

	"wasmxds/definition/internal/document"
)

const percentPattern = `^[0-9]*\.?[0-9]+%$`

var percentForm = regexp.MustCompile(percentPattern)

// percent reads 5% as 0.05. The function good reports whether a percentage is
// valid, and needs describes the valid ones in errors.
func (d *Doc) percent(at string, n *document.Node, needs string, good func(float64) bool) float64 {
	digits := strings.TrimSuffix(n.Text, "%")
	p, err := strconv.ParseFloat(digits, 64)
	less := strings.HasPrefix(digits, "-") // a number, but never a valid one
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

// share returns the float nearest to a percentage of 1. Dividing by 100 may
// give another one.
func share(percents string) float64 {
	s, _ := strconv.ParseFloat(percents+"e-2", 64)
	return s
}

// percentOf is the inverse of percent.
func percentOf(of float64) string {
	for digits := 1; digits <= 17; digits++ {
		p, _ := strconv.ParseFloat(strconv.FormatFloat(of*100, 'e', digits-1, 64), 64)
		if text := strconv.FormatFloat(p, 'f', -1, 64); share(text) == of {
			return text + "%"
		}
	}
	return strconv.FormatFloat(of*100, 'f', -1, 64) + "%"
}

// shown returns the value of a node as shown in messages.
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

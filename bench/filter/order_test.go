package main

import (
	"strings"
	"testing"
)

func TestContradictions(t *testing.T) {
	for name, c := range map[string]struct {
		costs []cost
		want  string
	}{
		"the same order":            {[]cost{{"a", 100, []float64{1, 2}}, {"b", 200, []float64{3, 4}}}, ""},
		"the other order":           {[]cost{{"a", 100, []float64{3, 4}}, {"b", 200, []float64{1, 2}}}, "b takes more instructions than a"},
		"as many instructions":      {[]cost{{"a", 100, []float64{3, 4}}, {"b", 120, []float64{1, 2}}}, ""},
		"rounds that lie together":  {[]cost{{"a", 100, []float64{2, 4}}, {"b", 200, []float64{1, 3}}}, ""},
		"one of three is elsewhere": {[]cost{{"a", 100, []float64{1}}, {"b", 900, []float64{2}}, {"c", 500, []float64{3}}}, "b takes more instructions than c"},
	} {
		got := strings.Join(contradictions(c.costs), "; ")
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

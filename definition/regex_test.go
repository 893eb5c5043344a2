package definition

import (
	"strings"
	"testing"
)

// TestProgramSize compares with sizes that Envoy (1.36.2) has reported.
func TestProgramSize(t *testing.T) {
	for expression, envoy := range map[string]int{
		"/" + strings.Repeat("ab", 60):      125,
		"/[a-z]{120}":                       125,
		"/[a-z]{0,120}":                     245,
		"/.{120}":                           965,
		"/" + strings.Repeat("[^/]+/", 120): 1205,
		"/" + strings.Repeat("é", 120):      245,
		"/" + strings.Repeat("(a)", 120):    365,
		"/" + strings.Repeat(`\w+/`, 120):   605,
		"/[a-z]{1,40}/[a-z]{1,40}":          164,
	} {
		size, err := programSize(expression)
		if err != nil || size < envoy-5 || size > 5*envoy {
			t.Errorf("%.20s…: %d, %v; Envoy says %d", expression, size, err, envoy)
		}
	}
	if size, err := programSize("/users/[0-9]+/orders"); err != nil || size > mostProgram {
		t.Errorf("%d, %v", size, err)
	}
}

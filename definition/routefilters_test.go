package definition_test

import (
	"fmt"
	"strings"
	"testing"
)

// TestVariantsAreBounded checks that each configuration counts once, and the
// first one beyond the limit is reported with its line.
func TestVariantsAreBounded(t *testing.T) {
	listener := func(configs, times int) string {
		var b strings.Builder
		b.WriteString("kind: Listener\nname: web\naddress: 127.0.0.1:80\nroutes:\n")
		for i := range configs * times {
			fmt.Fprintf(&b, "- {prefix: /%d, upstream: \"a:1\", filters: {hello: {config: {n: %d}}}}\n", i, i%configs)
		}
		return b.String()
	}
	if f, problems := parser.Parse("web.yaml", []byte(listener(64, 3))); len(problems) > 0 || len(f.Listeners) != 1 {
		t.Errorf("64 configurations on 192 routes: %v", problems)
	}
	for _, n := range []int{65, 2000} {
		f, problems := parser.Parse("web.yaml", []byte(listener(n, 1)))
		if len(problems) != 1 || problems[0].Line != 5+64 || problems[0].Field != "routes[64].filters.hello.config" || f != nil {
			t.Errorf("%d configurations: %v", n, problems)
		}
	}
}

package module

import (
	"fmt"
	"testing"
)

// TestUsed checks that the first maxUsed modules in the store that Envoys may
// fetch again are kept. Modules that are missing, or kept anyway, do not count.
func TestUsed(t *testing.T) {
	store := newStore(t)
	var here []string
	for i := range maxUsed + 2 {
		here = append(here, put(t, store, filter(fmt.Sprint(i))).SHA256)
	}
	used := []string{"", "../../etc/passwd", fmt.Sprintf("%064d", 1)}
	r := New(Options{Store: store, Used: func() []string { return append(used, here...) }, Needed: func() []string { return here[:1] }})
	named := (&resolution{Resolver: r}).named()
	if len(named) != 1+maxUsed || !named[here[maxUsed]] || named[here[maxUsed+1]] {
		t.Errorf("%d modules stay, of %d that Envoys name", len(named), len(used)+len(here))
	}
}

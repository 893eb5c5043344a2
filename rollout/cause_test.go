package rollout_test

import (
	"slices"
	"strings"

	"wasmxds/rollout"
)

// causeWrong returns what is wrong with the cause in a telling, given its words, or "".
func causeWrong(t rollout.Told) string {
	ends := strings.HasPrefix(t.Words, "stopped") || strings.HasPrefix(t.Words, "paused")
	if !ends || strings.Contains(t.Words, "back on the previous version") {
		if t.Cause != "" {
			return "it was stopped before: " + t.Words
		}
		return ""
	}
	_, why, _ := strings.Cut(t.Words, ": ")
	want := rollout.Cause("")
	for _, c := range []struct {
		word  string
		cause rollout.Cause
	}{
		{"by ", rollout.ByHand}, {" crashed ", rollout.ByCrashes}, {" rejected ", rollout.ByRefusals},
		{"of the wave restarted", rollout.ByRestarts}, {"went away", rollout.ByRestarts},
	} {
		if strings.Contains(why, c.word) && want == "" && (c.cause != rollout.ByHand || strings.HasPrefix(why, c.word)) {
			want = c.cause
		}
	}
	switch {
	case want != "" && t.Cause != want, want == "" && !slices.Contains(rollout.Causes()[4:], t.Cause):
		return "cause " + string(t.Cause) + " of: " + t.Words
	}
	return ""
}

package admin

import (
	"testing"
	"time"

	"wasmxds/xds/swap"
)

func TestCrashesInWords(t *testing.T) {
	clock := func(t time.Time) string { return t.UTC().Format(time.TimeOnly) }
	for want, c := range map[string]swap.Crashes{
		"version a1 crashed once, last at 17:45:10":                                                                         {Version: "a1", Count: 1, Last: replaced},
		"version a1 crashed once, last at 17:45:10, and was replaced at 17:45:11":                                           {Version: "a1", Count: 1, Last: replaced, Replaced: replaced.Add(time.Second)},
		"version a1 crashed 2 times, last at 17:45:10, and was replaced each time, last at 17:45:11":                        {Version: "a1", Count: 2, Last: replaced, Replaced: replaced.Add(time.Second)},
		"version a1 crashed 3 times, last at 17:45:10":                                                                      {Version: "a1", Count: 3, Last: replaced, Replaced: replaced.Add(-time.Second), WentBack: true},
		"version a1 or another filter crashed once, last at 17:45:10 (Envoy does not say which; this one was changed last)": {Version: "a1", Count: 1, Last: replaced, Unsure: true},
	} {
		if got := FilterCrashes(&c, clock); got != want {
			t.Errorf("%+v: %s\nwant %s", c, got, want)
		}
	}
}

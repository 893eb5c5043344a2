package emulator

import (
	"encoding/hex"
	"testing"
)

func TestStartable(t *testing.T) {
	const (
		header = "0061736d01000000"
		types  = "01040160" + "0000" // one type, () -> ()
		before = "070f01" + "0b" + "5f696e697469616c697a65" + "0000"
		after  = "070a01" + "06" + "5f7374617274" + "0000"
	)
	tests := map[string]struct{ module, want, bad string }{
		"renamed":      {module: header + types + before, want: header + types + after},
		"no such name": {module: header + types, bad: "it exports no _initialize"},
		"cut short":    {module: header + types + before[:10], bad: "section 7 is cut short"},
		"no module":    {module: "3c68746d6c3e", bad: "not a Wasm module"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			module, err := hex.DecodeString(test.module)
			if err != nil {
				t.Fatal(err)
			}
			got, err := startable(module)
			if test.bad != "" {
				if err == nil || err.Error() != test.bad {
					t.Errorf("error %v, want %s", err, test.bad)
				}
				return
			}
			if err != nil || hex.EncodeToString(got) != test.want {
				t.Errorf("got %x (%v), want %s", got, err, test.want)
			}
		})
	}
}

package config_test

import (
	"testing"

	"wasmxds/filter/config"
)

func TestDecode(t *testing.T) {
	type settings struct {
		Name string `json:"name"`
		N    int    `json:"n"`
	}
	tests := map[string]struct {
		data string
		want settings
		bad  string
	}{
		"all":        {data: `{"name": "b", "n": 2}`, want: settings{"b", 2}},
		"some":       {data: `{"n": 2}`, want: settings{"a", 2}},
		"empty":      {data: `{}`, want: settings{"a", 1}},
		"nothing":    {data: " \n", want: settings{"a", 1}},
		"unknown":    {data: `{"nam": "b"}`, bad: `json: unknown field "nam"`},
		"two values": {data: `{} {}`, bad: "more than one JSON value"},
		"cut short":  {data: `{"name": `, bad: "unexpected EOF"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := settings{Name: "a", N: 1}
			err := config.Decode([]byte(test.data), &got)
			switch {
			case test.bad != "" && (err == nil || err.Error() != test.bad):
				t.Errorf("error %v, want %s", err, test.bad)
			case test.bad == "" && err != nil:
				t.Error(err)
			case test.bad == "" && got != test.want:
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

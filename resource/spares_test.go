package resource

import "testing"

func TestParseSpares(t *testing.T) {
	for text, want := range map[string]Spares{
		"0":     {},
		"2":     {Around: 2},
		"2,0":   {Around: 2},
		"2,1":   {Around: 2, Between: 1},
		"0,1":   {Between: 1},
		"64,64": {Around: 64, Between: 64},
	} {
		got, err := ParseSpares(text)
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", text, got, err, want)
		}
		if again, err := ParseSpares(got.String()); err != nil || again != got {
			t.Errorf("%s: written as %s, which is read as %+v, %v", text, got, again, err)
		}
	}
	for _, text := range []string{"", "-1", "+2", "65", "2,65", "2,", ",1", "2,1,1", "2 ,1", "two", "2.5", "1e1", "0x2", "99999999999999999999"} {
		if got, err := ParseSpares(text); err == nil {
			t.Errorf("%q: read as %+v", text, got)
		}
	}
}

func FuzzParseSpares(f *testing.F) {
	for _, text := range []string{"0", "2,1", "64,64", "-1", ","} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSpares(text)
		if err != nil {
			return
		}
		if s.Around < 0 || s.Around > maxSpares || s.Between < 0 || s.Between > maxSpares {
			t.Errorf("%q: %+v is out of bounds", text, s)
		}
		if again, err := ParseSpares(s.String()); err != nil || again != s {
			t.Errorf("%q: %+v is written as %s, which is read as %+v, %v", text, s, s, again, err)
		}
	})
}

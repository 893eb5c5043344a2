package definition

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzParse: whatever a file holds, Parse ends, gives either a file or a
// reason, and what it gives can be merged.
func FuzzParse(f *testing.F) { fuzz(f, ".yaml", "*/*.yaml") }

// FuzzParseJSON does the same for JSON.
func FuzzParseJSON(f *testing.F) { fuzz(f, ".json", "*/*.json") }

// FuzzWasmPlugin, FuzzEnvoyFilter and FuzzEnvoyExtensionPolicy begin with
// documents of that kind.
func FuzzWasmPlugin(f *testing.F)           { fuzz(f, ".yaml", "*/wasmplugin*.yaml") }
func FuzzEnvoyFilter(f *testing.F)          { fuzz(f, ".yaml", "*/envoyfilter*.yaml") }
func FuzzEnvoyExtensionPolicy(f *testing.F) { fuzz(f, ".yaml", "*/envoyextensionpolicy*.yaml") }

func fuzz(f *testing.F, extension, seeds string) {
	names, err := filepath.Glob("testdata/" + seeds)
	if err != nil || len(names) == 0 {
		f.Fatalf("no seeds (%v)", err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		read := Read("dir/fuzz"+extension, data)
		file, problems := read.File, read.Problems
		if file == nil {
			if onlyWarnings(problems) {
				t.Fatalf("no file and no reason: %v", problems)
			}
			return
		}
		if !onlyWarnings(problems) && len(read.Holes) == 0 {
			t.Fatalf("a file in spite of %v", problems) // but for what is wrong in a List
		}
		for _, filter := range file.Filters {
			if filter.Name == "" || filter.Module.URL == "" || filter.OnFailure == "" || filter.Verify == "" || filter.Module.Fetch == "" {
				t.Errorf("incomplete: %+v", filter)
			}
			if filter.Pos.Line < 1 {
				t.Errorf("no line: %+v", filter.Pos)
			}
		}
		if written, err := Convert(file); err == nil {
			again, problems := Parse("dir/again.yaml", written)
			if again == nil {
				t.Fatalf("converted to what can't be read: %v\n%s", problems, written)
			}
			if diff := cmp.Diff(file.Filters, again.Filters, exceptOrigin); diff != "" {
				t.Fatalf("converted to something else: %s", diff)
			}
		}
		set, found := Merge([]*File{file})
		if set == nil {
			t.Fatalf("no set: %v", found)
		}
		if onlyWarnings(found) != (len(set.Filters) == len(file.Filters) && len(set.Listeners) == len(file.Listeners) && len(set.Resources) == len(file.Resources)) {
			t.Errorf("left out %v for %v", file, found)
		}
	})
}

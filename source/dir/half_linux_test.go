package dir

import (
	"os"
	"testing"
	"time"
)

// TestHalfFile checks that a slow copy is not read before it is complete: half
// of it may be valid YAML.
func TestHalfFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir+"/a.yaml", filter("a", "one")+"---\n"+filter("b", "one"))
	r := start(t, &Directory{Path: dir})
	r.until("a=one b=one", 0)

	f, err := os.Create(dir + "/a.yaml") // truncates: an empty file is valid YAML, too
	must(t, err)
	for _, part := range []string{filter("a", "two"), "---\n", filter("b", "two")} {
		time.Sleep(250 * time.Millisecond) // longer than Max
		_, err = f.WriteString(part)
		must(t, err)
	}
	time.Sleep(250 * time.Millisecond)
	must(t, f.Close())
	for {
		u := r.next()
		got := filterNames(u)
		if got == "a=two b=two" && len(u.Problems) == 0 {
			return
		}
		if got != "a=one b=one" {
			t.Fatalf("half of the file was taken for the whole: %q", got)
		}
	}
}

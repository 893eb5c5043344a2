package dir

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// volume is a folder as the kubelet creates it for a ConfigMap: users see links
// through "..data", which is swapped as a whole.
type volume struct {
	testing.TB
	dir  string
	turn int
}

func (v *volume) publish(files map[string]string) {
	v.Helper()
	v.turn++
	real := fmt.Sprintf("..2026_11_%d", v.turn)
	for name, content := range files {
		write(v, filepath.Join(v.dir, real, name), content)
	}
	must(v, os.MkdirAll(filepath.Join(v.dir, real), 0o777))
	old, _ := os.Readlink(v.dir + "/..data")
	must(v, os.Symlink(real, v.dir+"/..data_tmp"))
	must(v, os.Rename(v.dir+"/..data_tmp", v.dir+"/..data"))
	seen, err := os.ReadDir(v.dir)
	must(v, err)
	for name := range files {
		top := name
		if d := filepath.Dir(name); d != "." {
			top = d
		}
		if _, err := os.Lstat(filepath.Join(v.dir, top)); err != nil {
			must(v, os.Symlink("..data/"+top, filepath.Join(v.dir, top)))
		}
	}
	for _, e := range seen {
		if hidden(e.Name()) {
			continue
		}
		if _, err := os.Stat(filepath.Join(v.dir, e.Name())); err != nil {
			must(v, os.Remove(filepath.Join(v.dir, e.Name())))
		}
	}
	if old != "" {
		must(v, os.RemoveAll(filepath.Join(v.dir, old)))
	}
}

func TestConfigMap(t *testing.T) {
	t.Parallel()
	v := &volume{TB: t, dir: t.TempDir()}
	v.publish(map[string]string{"a.yaml": filter("a", "one"), "sub/b.yaml": filter("b", "one")})
	r := start(t, &Directory{Path: v.dir})
	u := r.until("a=one b=one", 0)
	if got, want := byName(u, "a").Pos.File, filepath.Join(v.dir, "a.yaml"); got != want {
		t.Errorf("position %s, want %s", got, want)
	}
	for i := range 5 {
		root := fmt.Sprint("r", i)
		v.publish(map[string]string{"a.yaml": filter("a", root), "sub/b.yaml": filter("b", root)})
		// Both at once, and never without.
		if u := r.next(); filterNames(u) != fmt.Sprintf("a=%s b=%s", root, root) || len(u.Problems) != 0 {
			t.Fatalf("swap %d: filters %q, problems %v", i, filterNames(u), u.Problems)
		}
	}
	v.publish(map[string]string{"a.yaml": filter("a", "last"), "c.yaml": filter("c", "new")})
	r.until("a=last c=new", 0)
	v.publish(nil)
	r.until("", 0)
	v.publish(map[string]string{"a.yaml": filter("a", "again")})
	r.until("a=again", 0)
	r.quiet()
}

// TestRootIsALink checks that the root itself may be a link that is swapped.
func TestRootIsALink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir+"/v1/a.yaml", filter("a", "one"))
	write(t, dir+"/v2/a.yaml", filter("a", "two"))
	must(t, os.Symlink("v1", dir+"/current"))
	r := start(t, &Directory{Path: dir + "/current"})
	r.until("a=one", 0)
	must(t, os.Symlink("v2", dir+"/.next"))
	must(t, os.Rename(dir+"/.next", dir+"/current"))
	r.until("a=two", 0)
	write(t, dir+"/v2/a.yaml", filter("a", "three"))
	r.until("a=three", 0)
}

func TestLinksElsewhere(t *testing.T) {
	t.Parallel()
	dir, other := t.TempDir(), t.TempDir()
	write(t, other+"/x/real", filter("a", "one"))
	must(t, os.Symlink(other+"/x", other+"/y"))
	must(t, os.Symlink(other+"/y/real", dir+"/a.yaml"))
	must(t, os.Symlink(dir, dir+"/loop"))
	must(t, os.Symlink("self.yaml", dir+"/self.yaml"))
	r := start(t, &Directory{Path: dir, Roots: []string{other}})
	r.until("a=one", 1) // self.yaml
	must(t, os.Remove(dir+"/self.yaml"))
	r.until("a=one", 0)
	write(t, other+"/x/real", filter("a", "two"))
	r.until("a=two", 0)
	write(t, other+"/z/real", filter("a", "three"))
	must(t, os.Remove(other+"/y"))
	must(t, os.Symlink("z", other+"/y"))
	r.until("a=three", 0)

	// A linked folder whose target is missing keeps its definitions.
	write(t, other+"/folder/b.yaml", filter("b", "one"))
	must(t, os.Symlink(other+"/folder", dir+"/sub"))
	r.until("a=three b=one", 0)
	must(t, os.RemoveAll(other+"/folder"))
	r.until("a=three b=one", 1)
	must(t, os.Remove(dir+"/sub"))
	r.until("a=three", 0)
}

func TestTrail(t *testing.T) {
	t.Parallel()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	write(t, dir+"/real/f", "")
	must(t, os.Symlink("real", dir+"/link"))
	must(t, os.Symlink("ring2", dir+"/ring1"))
	must(t, os.Symlink("ring1", dir+"/ring2"))
	for _, tc := range []struct {
		path string
		want []place
	}{
		{"real/f", []place{{dir + "/real", "f"}}},
		{"link/f", []place{{dir, "link"}, {dir + "/real", "f"}}},
		{"link/../link/f", []place{{dir, "link"}, {dir + "/real", "f"}}},
		{"real/none/f", []place{{dir + "/real", "none"}}},
		{"link/none", []place{{dir, "link"}, {dir + "/real", "none"}}},
	} {
		got := trail(dir + "/" + tc.path)
		if fmt.Sprint(got) != fmt.Sprint(tc.want) {
			t.Errorf("%s: %v, want %v", tc.path, got, tc.want)
		}
	}
	if got := trail(dir + "/ring1"); len(got) > maxLinks+1 {
		t.Errorf("a ring: %d places", len(got))
	}
}

// TestLinksOutAndHugeTrees checks that links out of the directory, and an
// endless tree in it, are reported, and do not delay anything else.
func TestLinksOutAndHugeTrees(t *testing.T) {
	t.Parallel()
	dir, other := t.TempDir(), t.TempDir()
	write(t, other+"/secret.yaml", filter("secret", "one"))
	write(t, dir+"/a.yaml", filter("a", "one"))
	write(t, dir+"/z/z.yaml", filter("z", "one"))
	must(t, os.Symlink("/", dir+"/root"))
	must(t, os.Symlink(other, dir+"/other"))
	must(t, os.Symlink(other+"/secret.yaml", dir+"/secret.yaml"))
	must(t, os.Symlink(other+"/gone.yaml", dir+"/gone.yaml"))
	for i := range 30 { // each leads to all others: endless paths
		must(t, os.MkdirAll(fmt.Sprintf("%s/maze/%d", dir, i), 0o777))
		for j := range 30 {
			must(t, os.Symlink(fmt.Sprintf("../%d", j), fmt.Sprintf("%s/maze/%d/to-%d", dir, i, j)))
		}
	}
	r := start(t, &Directory{Path: dir})
	u := r.until("a=one z=one", 5)
	told := fmt.Sprint(u.Problems)
	for _, want := range []string{"/root: is a link that leads out", "/other: is a link that leads out", "/secret.yaml: is a link that leads out",
		"/gone.yaml: is a link that leads out", "more than 2000 folders"} {
		if !strings.Contains(told, want) {
			t.Errorf("told %s, want %s", told, want)
		}
	}
	for i := range 3 {
		value := fmt.Sprint("v", i)
		write(t, dir+"/a.yaml", filter("a", value))
		write(t, dir+"/z/z.yaml", filter("z", value))
		r.until("a="+value+" z="+value, 5)
	}
	must(t, os.RemoveAll(dir+"/maze"))
	must(t, os.Remove(dir+"/root"))
	r.until("a=v2 z=v2", 3)
}

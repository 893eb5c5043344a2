package dir

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"wasmxds/source"
	"wasmxds/state/statetest"
)

// configured waits until the filter has a configuration, with the given number
// of problems.
func (r *running) configured(want string, problems int) source.Update {
	r.Helper()
	timeout := time.After(deadline)
	var got string
	for {
		select {
		case u := <-r.updates:
			var text wrapperspb.StringValue
			if f := byName(u, "a"); f != nil {
				must(r.T, proto.Unmarshal(f.Config.GetValue(), &text))
			}
			if got = text.Value; got == want && len(u.Problems) == problems {
				return u
			}
		case <-timeout:
			r.Fatalf("waited for %q and %d problems, last %q", want, problems, got)
		}
	}
}

// TestConfigFileChanges checks that a configuration is updated when its file
// changes in any way, and is stored with its definition.
func TestConfigFileChanges(t *testing.T) {
	t.Parallel()
	dir, data, outside := t.TempDir(), t.TempDir(), t.TempDir()
	p := statetest.Start(t, data)
	r := start(t, &Directory{Path: dir, Audit: time.Hour}, in(p.Writer))
	write(t, dir+"/sub/a.yaml", filter("a", "")+"configFrom: {file: conf/a.conf}\n")
	u := r.configured("", 1)
	if got := u.Problems[0].Error(); !strings.Contains(got, dir+"/sub/a.yaml:") || !strings.Contains(got, "configFrom.file: conf/a.conf is not there") {
		t.Error(got)
	}
	write(t, dir+"/sub/conf/a.conf", "one")
	r.configured("one", 0)
	write(t, dir+"/sub/conf/a.conf", "two")
	r.configured("two", 0)
	replace(t, dir+"/sub/conf/a.conf", "three")
	r.configured("three", 0)
	must(t, os.RemoveAll(dir+"/sub/conf"))
	r.configured("three", 1)
	// As Kubernetes mounts a ConfigMap: links to a folder that is swapped as a
	// whole.
	write(t, dir+"/sub/conf/..1/a.conf", "four")
	must(t, os.Symlink("..1", dir+"/sub/conf/..data"))
	must(t, os.Symlink("..data/a.conf", dir+"/sub/conf/a.conf"))
	r.configured("four", 0)
	write(t, dir+"/sub/conf/..2/a.conf", "five")
	must(t, os.Symlink("..2", dir+"/sub/conf/..new"))
	must(t, os.Rename(dir+"/sub/conf/..new", dir+"/sub/conf/..data"))
	r.configured("five", 0)
	// A file outside the folder, or anything but a file, is not read.
	write(t, outside+"/a.conf", "secret")
	must(t, os.Remove(dir+"/sub/conf/a.conf"))
	must(t, os.Symlink(outside+"/a.conf", dir+"/sub/conf/a.conf"))
	if u := r.configured("five", 2); !strings.Contains(u.Problems[0].Message+u.Problems[1].Message, "is not below the folder of definitions") {
		t.Error(u.Problems)
	}
	must(t, os.Remove(dir+"/sub/conf/a.conf"))
	must(t, syscall.Mkfifo(dir+"/sub/conf/a.conf", 0o600))
	if u := r.configured("five", 1); !strings.Contains(u.Problems[0].Message, "is no regular file") {
		t.Error(u.Problems)
	}
	// After a restart, the last good content is used.
	r.stop()
	p = next(t, p, data)
	r = start(t, &Directory{Path: dir, Audit: time.Hour}, in(p.Writer))
	r.configured("five", 1)
	must(t, os.Remove(dir+"/sub/conf/a.conf"))
	write(t, dir+"/sub/conf/a.conf", "six")
	r.configured("six", 0)
	r.quiet()
}

package apply

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"wasmxds/etcdconn"
	"wasmxds/state/statetest/etcdtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newStore(t *testing.T) *Store {
	t.Helper()
	o := &etcdconn.Options{Endpoints: etcdtest.Start(t, 1).Endpoints(), Log: slog.New(slog.DiscardHandler)}
	client, err := o.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return &Store{Client: client, Prefix: "/w/"}
}

func read1(t *testing.T, s *Store) *Contents {
	t.Helper()
	c, err := s.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func planned(t *testing.T, c *Contents, change Change) *Plan {
	t.Helper()
	p, err := c.Plan(change)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func file(name, text string) File { return File{Name: name, Path: name + ".yaml", Text: []byte(text)} }

// TestConflict checks that nothing is written if any document has changed since
// the documents were read.
func TestConflict(t *testing.T) {
	s := newStore(t)
	write := func(change Change) error { return s.Write(t.Context(), planned(t, read1(t, s), change)) }
	put := func(key, value string) error { _, err := s.Client.Put(t.Context(), key, value); return err }
	if err := write(Change{Files: []File{file("a", "1"), file("b", "1")}}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		between  func() error
		conflict bool
	}{
		{"the same is applied", func() error { return write(Change{Files: []File{file("c", "x")}}) }, true},
		{"another is applied", func() error { return write(Change{Files: []File{file("d", "x")}}) }, true},
		{"another is deleted", func() error { return write(Change{Delete: []string{"d"}}) }, true},
		{"labels are applied", func() error { return write(Change{Files: []File{file("a", "1")}, Labels: Labels{"x": "y"}}) }, true},
		{"another tool changes one", func() error { return put("/w/definitions/b", "2") }, true},
		{"another tool makes one", func() error { return put("/w/definitions/e", "2") }, true},
		{"something else is written", func() error { return put("/w/other", "2") }, false},
		{"nothing changes", func() error { return write(Change{Files: []File{file("a", "1")}}) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := planned(t, read1(t, s), Change{Files: []File{file("c", c.name)}})
			if err := c.between(); err != nil {
				t.Fatal(err)
			}
			err := s.Write(t.Context(), p)
			written := string(docOr(read1(t, s), "c").Text) == c.name
			if errors.Is(err, ErrConflict) != c.conflict || written == c.conflict {
				t.Errorf("%v, written %v", err, written)
			}
		})
	}
}

func docOr(c *Contents, name string) *Document {
	if d := c.Documents[name]; d != nil {
		return d
	}
	return &Document{}
}

// TestTooMuch checks that what exceeds one transaction is rejected as a whole.
func TestTooMuch(t *testing.T) {
	s := newStore(t)
	var most, many []File
	for i := range 128 {
		many = append(many, file(fmt.Sprintf("d%03d", i), "x"))
	}
	most = many[:127]
	large := []File{file("a", strings.Repeat("x", 1<<20)), file("b", strings.Repeat("x", 1<<20))}
	for _, c := range []struct {
		name  string
		files []File
		want  string
	}{
		{"many", many, "it needs 129 operations, more than etcd allows (its --max-txn-ops, 128 by default)"},
		{"large", large, "--max-request-bytes"},
		{"larger", append(large, large[0], large[1]), "--max-request-bytes"},
		{"most", most, ""},
	} {
		for i := range c.files {
			c.files[i].Name += c.name + fmt.Sprint(i)
		}
		err := s.Write(t.Context(), planned(t, read1(t, s), Change{Files: c.files}))
		n := len(read1(t, s).Documents)
		switch {
		case c.want == "" && (err != nil || n != len(c.files)):
			t.Errorf("%s: %v, %d documents", c.name, err, n)
		case c.want != "" && (!errors.Is(err, ErrTooMuch) || !strings.Contains(err.Error(), c.want) || n != 0):
			t.Errorf("%s: %v, %d documents", c.name, err, n)
		}
	}
}

func TestPlan(t *testing.T) {
	c := &Contents{Documents: map[string]*Document{
		"a": {Name: "a", Text: []byte("1"), Labels: Labels{"team": "edge", "env": "prod"}},
		"b": {Name: "b", Text: []byte("1"), Labels: Labels{"team": "edge"}},
		"c": {Name: "c", Text: []byte("1")},
	}}
	for _, tc := range []struct {
		change Change
		want   string
	}{
		{Change{Files: []File{file("a", "1"), file("b", "2"), file("d", "1")}}, "a unchanged, b configured, d created"},
		{Change{Files: []File{file("b", "1")}, Labels: Labels{"team": "edge"}, Prune: true}, "a pruned, b unchanged"},
		{Change{Files: []File{file("d", "1")}, Labels: Labels{"team": "edge", "env": "prod"}, Prune: true}, "a pruned, d created"},
		{Change{Files: []File{file("a", "1"), file("c", "1")}, Labels: Labels{"team": "edge"}}, "a configured, c configured"},
		{Change{Delete: []string{"c", "a"}}, "a deleted, c deleted"},
		{Change{Labels: Labels{"team": "edge"}, Prune: true}, "a deleted, b deleted"},
		{Change{Delete: []string{"d"}}, "no document d"},
		{Change{Delete: []string{"d", "c"}, IgnoreNotFound: true}, "c deleted"},
		{Change{Files: []File{file("a", "1"), file("a", "2")}}, "a.yaml and a.yaml are both document a"},
		{Change{Files: []File{file("a\n", "1")}}, "a\n.yaml: invalid document name: the name has characters that can't be seen"},
		{Change{Prune: true}, "prune needs labels: without them, every other document would be deleted"},
	} {
		p, err := c.Plan(tc.change)
		var said []string
		if err != nil {
			said = append(said, err.Error())
		} else {
			for _, a := range p.Actions {
				said = append(said, a.Name+" "+string(a.What))
			}
		}
		if got := strings.Join(said, ", "); got != tc.want {
			t.Errorf("%+v: %q, want %q", tc.change, got, tc.want)
		}
	}
}

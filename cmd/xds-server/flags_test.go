package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestListsSaySo checks that the help of each flag that takes several values
// tells how to write them.
func TestListsSaySo(t *testing.T) {
	how := map[string]string{
		"stringSlice": "comma-separated", "stringToString": "comma-separated or repeatable",
		"stringArray": "repeatable", "path": "repeatable",
	}
	found := map[string]bool{}
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			want, list := how[f.Value.Type()]
			_, is := f.Value.(pflag.SliceValue)
			if (list || is) && (want == "" || !strings.Contains(f.Usage, want)) {
				t.Errorf("%s --%s, a %s: %q does not say that it is %q", cmd.Name(), f.Name, f.Value.Type(), f.Usage, want)
			}
			found[f.Value.Type()] = true
		})
		for _, c := range cmd.Commands() {
			visit(c)
		}
	}
	visit(newRoot(nil))
	for kind := range how {
		if !found[kind] {
			t.Errorf("no flag is a %s", kind)
		}
	}
}

// TestPaths checks that the names of folders may have commas, and that a
// variable has them as PATH does.
func TestPaths(t *testing.T) {
	for _, test := range []struct {
		args []string
		env  environment
		want []string
	}{
		{args: []string{"--module-root", "a,b", "--module-root=c"}, want: []string{"a,b", "c"}},
		{env: environment{"XDS_SERVER_MODULE_ROOT": "a,b:/c"}, want: []string{"a,b", "/c"}},
		{args: []string{"--module-root", "a"}, env: environment{"XDS_SERVER_MODULE_ROOT": "b"}, want: []string{"a"}},
		{},
	} {
		var f originFlags
		cmd := &cobra.Command{}
		f.add(cmd)
		if err := cmd.ParseFlags(test.args); err != nil {
			t.Fatal(err)
		}
		if err := test.env.set(cmd.Flags()); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(f.roots, test.want) {
			t.Errorf("%q and %v: %q, want %q", test.args, test.env, []string(f.roots), test.want)
		}
	}
}

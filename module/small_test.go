package module

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"testing"

	"wasmxds/e2e/wasmtest"
)

// smallStore returns a store with modules of a size, and their hashes.
func smallStore(t *testing.T, n, size int) (s *Store, contents [][]byte, sums []string) {
	t.Helper()
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		content := wasmtest.Filter{Header: "x-small", Value: fmt.Sprint(i), Size: size}.Module()
		info, err := s.Put(bytes.NewReader(content), 10<<20)
		if err != nil {
			t.Fatal(err)
		}
		contents, sums = append(contents, content), append(sums, info.SHA256)
	}
	return s, contents, sums
}

// TestSmallModulesAreInMemory checks that small modules are read once, match
// their hashes whatever happens to their files, and are evicted with them.
func TestSmallModulesAreInMemory(t *testing.T) {
	s, contents, sums := smallStore(t, 2, 0)
	for i, sum := range sums {
		if got := s.Small(sum); !bytes.Equal(got, contents[i]) {
			t.Errorf("module %d: %d bytes, want %d", i, len(got), len(contents[i]))
		}
	}
	if err := os.Remove(s.path(sums[0])); err != nil {
		t.Fatal(err)
	}
	if got := s.Small(sums[0]); !bytes.Equal(got, contents[0]) {
		t.Error("it was read again")
	}
	if _, err := s.Stat(sums[0]); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Stat of a module that is gone: %v", err)
	}
	if s.Small(sums[0]) != nil {
		t.Error("a module is in memory of which it is known that it is gone")
	}
	if s.Small(sums[1]) == nil {
		t.Error("another one was forgotten as well")
	}
}

// TestMemoryOfSmallModules checks that large modules are not held in memory,
// and of small ones those that were used last.
func TestMemoryOfSmallModules(t *testing.T) {
	large, _, sum := smallStore(t, 1, smallModule+1)
	if large.Small(sum[0]) != nil {
		t.Error("a large module is kept in memory")
	}
	const each = 200 << 10
	s, _, sums := smallStore(t, smallInAll/each+5, each)
	for _, sum := range sums {
		if s.Small(sum) == nil || s.Small(sums[0]) == nil {
			t.Fatal("it is not in memory")
		}
	}
	if n := s.remembered(); n > smallInAll || n < smallInAll-2*each {
		t.Errorf("%d bytes are in memory, want at most %d, and not much less", n, smallInAll)
	}
	for i, want := range map[int]bool{0: true, 1: false, len(sums) - 1: true} {
		if got := s.verified[sums[i]].content != nil; got != want {
			t.Errorf("module %d is in memory: %v", i, got)
		}
	}
}

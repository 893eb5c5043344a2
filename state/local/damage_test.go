package local

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"wasmxds/state"
)

// writeForEver runs in another process: it writes pairs of entries that belong together,
// and prints each when it is written.
func writeForEver(path string) {
	s, err := Open(path, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for n := 1; ; n++ {
		value := []byte(strconv.Itoa(n))
		padded := append(value, make([]byte, n*37%9000)...)
		if _, err := s.Apply(context.Background(), []state.Op{{Key: "left", Value: value}, {Key: "pad/" + strconv.Itoa(n%50), Value: padded}, {Key: "right", Value: value}}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(n)
	}
}

// TestKilled kills a writing process at many random points, and checks that every write
// that it has reported is there, and no half of a batch.
func TestKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	said := 0
	for round := range 12 {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), "WASMXDS_TEST_WRITE_TO="+path)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for range 3 + rand.IntN(40) {
			if !lines.Scan() {
				t.Fatal("the writer ended by itself")
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for ok := true; ok; ok = lines.Scan() {
			if n, err := strconv.Atoi(lines.Text()); err == nil {
				said = n
			}
		}
		_ = cmd.Wait() // it was killed

		s := opened(t, path)
		left := must(s.Get(t.Context(), "left"))(t)
		right := must(s.Get(t.Context(), "right"))(t)
		if string(left.Value) != string(right.Value) {
			t.Fatalf("round %d: half of a batch: %s and %s", round, left.Value, right.Value)
		}
		if n, _ := strconv.Atoi(string(left.Value)); n < said {
			t.Fatalf("round %d: %d is there, %d was said to be written", round, n, said)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDamaged checks that a file that was truncated or changed opens, with what is intact
// or empty.
func TestDamaged(t *testing.T) {
	good := filepath.Join(t.TempDir(), "state.db")
	s := opened(t, good)
	for i := range 40 {
		must(s.Put(t.Context(), fmt.Sprint(i), make([]byte, i*300), 0))(t)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	damages := map[string]func([]byte) []byte{
		"empty":       func(b []byte) []byte { return nil },
		"text":        func(b []byte) []byte { return []byte("this is not a database") },
		"long text":   func(b []byte) []byte { return []byte(fmt.Sprintf("%20000s", "neither is this")) },
		"no metadata": func(b []byte) []byte { clear(b[:8192]); return b },
		"zeroes":      func(b []byte) []byte { clear(b[8192:]); return b },
	}
	for _, at := range []int{1, 100, 4096, 8192, 8193, 12288, len(whole) / 2, len(whole) - 1} {
		damages[fmt.Sprintf("cut at %d", at)] = func(b []byte) []byte { return b[:at] }
	}
	for n := range 60 {
		at := rng.IntN(len(whole))
		damages[fmt.Sprintf("changed %d at %d", n, at)] = func(b []byte) []byte { b[at] ^= byte(1 + rng.IntN(255)); return b }
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state.db")
			if err := os.WriteFile(path, damage(append([]byte(nil), whole...)), 0o600); err != nil {
				t.Fatal(err)
			}
			s := opened(t, path)
			entries := listed(t, s, "")
			for _, e := range entries {
				if n, err := strconv.Atoi(e.Key); err != nil || len(e.Value) != n*300 {
					t.Errorf("%q has %d bytes", e.Key, len(e.Value))
				}
			}
			must(s.Put(t.Context(), "new", []byte("value"), 0))(t)
			if e := must(s.Get(t.Context(), "new"))(t); string(e.Value) != "value" {
				t.Errorf("read %q", e.Value)
			}
		})
	}
}

// TestNotAFile checks that the error explains why a file can't be opened, and that it stays
// where it is.
func TestNotAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, slog.New(slog.DiscardHandler)); err == nil || errors.Is(err, errDamaged) {
		t.Errorf("opened a directory: %v", err)
	}
}

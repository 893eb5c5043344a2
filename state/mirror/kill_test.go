package mirror

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var seeds = flag.Uint64("seeds", 8, "`how many` interleavings TestRandomKills plays")

// TestRandomKills has two processes write behind to a store that hangs, answers late or
// never, or is away, and kills them. It checks that nothing that was put a moment before is
// lost: neither the copy is older nor, when everything works again, the shared store.
func TestRandomKills(t *testing.T) {
	for seed := range *seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) { killAtRandom(t, dir, rand.New(rand.NewPCG(seed, 2))) })
		})
	}
}

func killAtRandom(t *testing.T, dir string, rng *rand.Rand) {
	s := &scene{t: t, dir: dir, shared: opened(t, dir+"/shared.db"), actors: map[string]*actor{}}
	defer s.end()
	names := []string{"one", "two"}
	put := map[string]int{} // by key; each belongs to one process alone; an odd number: removed
	for _, name := range names {
		s.do("start", []string{name})
	}
	check := func(where, contents string, keys string) {
		t.Helper()
		there := map[string]int{}
		for word := range strings.FieldsSeq(strings.ReplaceAll(contents, "?", "")) {
			key, value, _ := strings.Cut(word, "=")
			there[key], _ = strconv.Atoi(value)
		}
		for key, n := range put {
			if strings.HasPrefix(key, keys) || strings.HasPrefix(key, "b/") && keys == "a/one" {
				if n%2 == 1 {
					n = 0
				}
				if there[key] != n {
					t.Fatalf("%s has %s=%d, want %d: %s", where, key, there[key], n, contents)
				}
			}
		}
	}
	for n := 2; n < 200; n++ {
		name := names[rng.IntN(len(names))]
		switch rng.IntN(10) {
		case 0, 1:
			time.Sleep(time.Second)
			s.do("kill", []string{name})
			check("the copy of "+name, s.do("copy", []string{name}), "a/"+name)
			if rng.IntN(2) == 0 {
				time.Sleep(time.Duration(rng.IntN(20)) * time.Second)
			}
			s.do("start", []string{name})
			check("the copy of "+name+", started", s.do("copy", []string{name}), "a/"+name)
		case 2, 3:
			s.do("store", []string{name, []string{"hangs", "late", "deaf", "away", "there"}[rng.IntN(5)]})
		case 4:
			time.Sleep(time.Duration(rng.IntN(30)) * time.Second)
		default:
			key := fmt.Sprintf("a/%s-%d", name, rng.IntN(3))
			if name == "one" && rng.IntN(2) == 0 {
				key = fmt.Sprintf("b/%d", rng.IntN(3))
			}
			word := fmt.Sprintf("%s=%d", key, n)
			if n%2 == 1 {
				word = "-" + key
			}
			put[key] = n
			s.do("put", []string{name, word})
			time.Sleep(time.Duration(rng.IntN(700)) * time.Millisecond)
		}
	}
	for _, name := range names {
		s.do("store", []string{name, "there"})
	}
	time.Sleep(2 * time.Minute)
	synctest.Wait()
	for _, name := range names {
		check("the shared store", contents(t, s.shared), "a/"+name)
		check("the copy of "+name, s.do("copy", []string{name}), "")
	}
}

package rollouts

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"wasmxds/rollout"
)

// figures are what there is to report.
type figures struct {
	good, latency, bad summary
	live               []stopped
}

func report(set func(*figures)) {
	reportMutex.Lock()
	defer reportMutex.Unlock()
	set(&reportNow)
}

func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 && *reportFile != "" {
		if err := reportNow.write(*reportFile); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

const reportEnd = "<!-- end -->\n"

// reportBegin is the marker before a table.
func reportBegin(table string) string { return "<!-- make rollout-report: " + table + " -->\n" }

// write puts the tables between their markers in a file. One of which nothing was
// played stays as it is.
func (f *figures) write(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text := string(b)
	when := fmt.Sprintf("\nMeasured on %s, %d processors, %s.\n\n", time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), runtime.Version())
	for _, table := range []struct{ name, content string }{{"played", f.playedTable()}, {"live", f.liveTable()}} {
		if table.content == "" {
			continue
		}
		before, rest, begins := strings.Cut(text, reportBegin(table.name))
		_, after, ends := strings.Cut(rest, reportEnd)
		if !begins || !ends {
			return fmt.Errorf("%s lacks the markers %q and %q", path, reportBegin(table.name), reportEnd)
		}
		text = before + reportBegin(table.name) + when + table.content + "\n" + reportEnd + after
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

// playedTable has what was played in virtual time.
func (f *figures) playedTable() string {
	var b strings.Builder
	for _, row := range []struct {
		name string
		summary
	}{
		{"good; errors judged", f.good},
		{"good; errors and latency judged", f.latency},
		{"2 % more 5xx", f.bad},
	} {
		if len(row.summary) == 0 {
			continue
		}
		s := row.summary
		took := s.sorted(func(o outcome) time.Duration { return o.took })
		fmt.Fprintf(&b, "| %s | %d to %d | %d | %d | %d | %d | %d | %s (%s) |\n", row.name, s[0].seed, s[len(s)-1].seed,
			s.count(rollout.Done), s.count(rollout.Stopped), s.first(), s.count(rollout.Rolling), s.exposed(), minutes(took[len(took)/2]), minutes(took[len(took)-1]))
	}
	if b.Len() == 0 {
		return ""
	}
	return playedHead + b.String()
}

const playedHead = "| change | seeds | joined | stopped | of them in wave 1 | under way after two hours | Envoys that had what was stopped, at most | until it ended, median (most) |\n" +
	"| --- | --- | --: | --: | --: | --: | --: | --- |\n"

func minutes(d time.Duration) string {
	return fmt.Sprintf("%d:%02d min", int(d.Minutes()), int(d.Seconds())%60)
}

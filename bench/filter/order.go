package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
)

// tries is how many requests xds-server try plays through a filter: the first ones also
// pay for what the filter sets up.
const tries = 50

// try gives the instructions that a request takes by xds-server try: the median.
func (c testCase) try(ctx context.Context, program, dir string) (float64, error) {
	const entry = `{"request":{"method":"GET","url":"http://shop.example/","headers":[]},"response":{"status":200,"headers":[],"content":{}}}`
	har := filepath.Join(dir, "requests.har")
	archive := fmt.Sprintf(`{"log":{"version":"1.2","entries":[%s]}}`, strings.Repeat(entry+",", tries-1)+entry)
	if err := os.WriteFile(har, []byte(archive), 0o644); err != nil {
		return 0, err
	}
	args := []string{"try", c.module, "--har", har, "-o", "json"}
	if c.config != "" {
		args = append(args, "--config", c.config)
	}
	out, err := exec.CommandContext(ctx, program, args...).Output()
	if err != nil {
		return 0, fmt.Errorf("xds-server try %s: %w", c.module, err)
	}
	var told struct {
		Requests []struct {
			Crash, Stopped string
			Callbacks      []struct{ Instructions float64 }
		}
	}
	if err := json.Unmarshal(out, &told); err != nil {
		return 0, fmt.Errorf("xds-server try %s: %w", c.module, err)
	}
	if len(told.Requests) != tries {
		return 0, fmt.Errorf("xds-server try %s: %d of %d requests", c.module, len(told.Requests), tries)
	}
	var each []float64
	for _, r := range told.Requests {
		if r.Crash != "" || r.Stopped != "" {
			return 0, fmt.Errorf("xds-server try %s: %s", c.module, cmp.Or(r.Crash, r.Stopped))
		}
		sum := 0.0
		for _, callback := range r.Callbacks {
			sum += callback.Instructions
		}
		each = append(each, sum)
	}
	return median(each), nil
}

// cost is what a request costs with a filter.
type cost struct {
	name         string
	instructions float64   // by try
	cpu          []float64 // in Envoy, more than without a filter: of each round
}

// clear is how much more instructions have to be for a filter to be dearer by try.
const clear = 1.25

// contradictions are pairs of which try says that the one is clearly dearer, and Envoy
// that the other is, in each round.
func contradictions(costs []cost) []string {
	var all []string
	for _, a := range costs {
		for _, b := range costs {
			if a.instructions > clear*b.instructions && slices.Max(a.cpu) < slices.Min(b.cpu) {
				all = append(all, fmt.Sprintf("%s takes more instructions than %s, and less of Envoy's processor", a.name, b.name))
			}
		}
	}
	return all
}

// orders prints the filters in the order of what try says, and in that of what Envoy
// pays.
func orders(out io.Writer, costs []cost) {
	byTry, byEnvoy := slices.Clone(costs), slices.Clone(costs)
	slices.SortFunc(byTry, func(a, b cost) int { return cmp.Compare(a.instructions, b.instructions) })
	slices.SortFunc(byEnvoy, func(a, b cost) int { return cmp.Compare(median(a.cpu), median(b.cpu)) })
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "\nby try\tinstructions/request\tby Envoy\tCPU µs/request more\t\n")
	for i, a := range byTry {
		b := byEnvoy[i]
		fmt.Fprintf(w, "%s\t%.0f\t%s\t%+.1f (%+.1f to %+.1f)\t\n", a.name, a.instructions, b.name, median(b.cpu), slices.Min(b.cpu), slices.Max(b.cpu))
	}
	w.Flush()
}

// compared has try play the filters that were measured, prints both orders, and fails
// where they contradict each other.
func compared(ctx context.Context, out io.Writer, program, dir string, cases []testCase, results []Result) error {
	var costs []cost
	first := of(results, cases[0])
	for _, c := range cases {
		if c.module == "" {
			continue
		}
		instructions, err := c.try(ctx, program, dir)
		if err != nil {
			return err
		}
		costs = append(costs, cost{c.name, instructions, above(first, of(results, c))})
	}
	if len(costs) < 2 {
		return nil
	}
	orders(out, costs)
	if wrong := contradictions(costs); len(wrong) > 0 {
		return fmt.Errorf("try and Envoy contradict each other: %s", strings.Join(wrong, "; "))
	}
	return nil
}

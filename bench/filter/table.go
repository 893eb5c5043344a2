package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// table prints the medians of each case's rounds.
func table(out io.Writer, cases []testCase, results []Result) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "filter\tEnvoy\trequests/s\tp50 µs\tp99 µs\talone p50\talone p99\tCPU µs/request\tmore than %s\tmemory MB\tstart ms\t\n", cases[0].name)
	first := of(results, cases[0])
	for _, c := range cases {
		rs := of(results, c)
		if len(rs) == 0 {
			continue
		}
		mid := func(figure func(Result) float64) float64 { return median(figures(rs, figure)) }
		fmt.Fprintf(w, "%s\t%s\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.1f\t%s\t%.0f\t%.0f\t\n", c.name, rs[0].Envoy,
			mid(func(r Result) float64 { return r.Rate }), mid(func(r Result) float64 { return r.P50 }), mid(func(r Result) float64 { return r.P99 }),
			mid(func(r Result) float64 { return r.Lone50 }), mid(func(r Result) float64 { return r.Lone99 }), mid(cpu),
			more(first, rs), mid(func(r Result) float64 { return float64(r.Memory) / (1 << 20) }), mid(func(r Result) float64 { return r.Startup / 1e3 }))
	}
	w.Flush()
}

func cpu(r Result) float64 { return r.CPU }

func of(results []Result, c testCase) []Result {
	return slices.DeleteFunc(slices.Clone(results), func(r Result) bool { return r.Case != c.name })
}

func figures(rs []Result, figure func(Result) float64) []float64 {
	var all []float64
	for _, r := range rs {
		all = append(all, figure(r))
	}
	return all
}

// more is how much more processor time a request of rs takes than one of first
// in the same round: the median, and the least and the most of all rounds.
func more(first, rs []Result) string {
	all := above(first, rs)
	return fmt.Sprintf("%+.1f (%+.1f to %+.1f)", median(all), slices.Min(all), slices.Max(all))
}

func above(first, rs []Result) []float64 {
	var all []float64
	for i := range min(len(first), len(rs)) {
		all = append(all, rs[i].CPU-first[i].CPU)
	}
	return all
}

func median(all []float64) float64 {
	all = slices.Sorted(slices.Values(all))
	n := len(all)
	return (all[(n-1)/2] + all[n/2]) / 2
}

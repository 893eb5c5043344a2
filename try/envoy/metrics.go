package envoy

import (
	"context"
	"strconv"
	"strings"

	"wasmxds/module/dryrun/stream"
)

// Metrics returns the metrics of modules from the output of Envoy's admin interface.
// Histograms have no value there.
func Metrics(ctx context.Context, get func(ctx context.Context, path string) ([]byte, error)) ([]stream.Metric, error) {
	var all []stream.Metric
	for _, kind := range []string{"Counters", "Gauges", "Histograms"} {
		body, err := get(ctx, "/stats?filter=^wasmcustom&type="+kind)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(body)) {
			at := strings.LastIndex(line, ": ")
			if kind == "Histograms" {
				at = strings.Index(line, ": ")
			}
			name, ours := strings.CutPrefix(line[:max(at, 0)], "wasmcustom.")
			if !ours {
				continue
			}
			m := stream.Metric{Name: name, Type: strings.ToLower(strings.TrimSuffix(kind, "s"))}
			if kind != "Histograms" {
				m.Value, _ = strconv.ParseUint(strings.TrimSpace(line[at+2:]), 10, 64)
			}
			all = append(all, m)
		}
	}
	return all, nil
}

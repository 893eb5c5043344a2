package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is all results of one run of the program, and what they say.
type Report struct {
	Time    time.Time `json:"time"`
	Go      string    `json:"go"`
	CPUs    int       `json:"cpus"`
	Filters int       `json:"filters"`
	Bytes   int       `json:"configBytes"`
	Results []*Result `json:"results"`
	Ratios  []Ratio   `json:"ratios"`
	Groups  *Groups   `json:"groups,omitempty"`
}

// Ratio is a figure of xds-server's over naive's on the same work.
type Ratio struct {
	Server  string  `json:"server"` // wasmxds, or wasmxds-h2
	Figure  string  `json:"figure"`
	Clients int     `json:"clients"`
	Delta   bool    `json:"delta"`
	TLS     bool    `json:"tls"`
	Ours    float64 `json:"ours"`
	Naive   float64 `json:"naive"`
	Ratio   float64 `json:"ratio"`
	Target  float64 `json:"target,omitempty"` // at 10,000 clients
}

func newReport() *Report {
	return &Report{Time: time.Now().UTC().Truncate(time.Second), Go: runtime.Version(), CPUs: runtime.NumCPU(),
		Filters: filters, Bytes: configBytes}
}

// figure is a number that is compared.
type figure struct {
	name        string
	target      float64
	targetTLS   float64
	ours, naive func(*Result) float64
}

// of gives a figure of a scene, 0 where it was not played.
func of(scene string, f func(*Figures) float64) func(*Result) float64 {
	return func(r *Result) float64 {
		if s := r.Scenes[scene]; s != nil {
			return f(s)
		}
		return 0
	}
}

func cpu(f *Figures) float64 { return f.CPU }
func p99(f *Figures) float64 { return f.P99 }

func figures() []figure {
	memory := func(r *Result) float64 { return r.Memory }
	each := func(f *Figures) float64 { return f.CPU / f.Responses }
	return []figure{
		{"memory a connection (bytes)", 0.45, 0.35, memory, memory},
		{"CPU a change and client, one of 20 (µs)", 0.16, 0.16, of(sceneOne, cpu), of(sceneOne, cpu)},
		{"CPU a response (µs)", 0, 0, of(sceneOne, each), of(sceneOne, each)},
		{"CPU a change and client, all 20 (µs)", 0.21, 0.21, of(sceneAll, cpu), of(sceneAll, cpu)},
		{"p99, one of 20 (s)", 0.20, 0.20, of(sceneOne, p99), of(sceneOne, p99)},
		{"p99, all 20 (s)", 0, 0, of(sceneAll, p99), of(sceneAll, p99)},
		{"p99, safe swap of a 1 KB module / naive's push (s)", 0.60, 0.60, of(sceneModule, p99), of(sceneOne, p99)},
		{"p99, safe swap of a 200 KB module / naive's push (s)", 0, 0, of(sceneBig, p99), of(sceneOne, p99)},
		{"connect storm, p99 (s)", 0.40, 0.40, of(sceneStorm, p99), of(sceneStorm, p99)},
		{"connect storm, CPU a client (µs)", 0, 0, of(sceneStorm, cpu), of(sceneStorm, cpu)},
		{"all cut during a change, p99 (s)", 0, 0, of(sceneAgain, p99), of(sceneAgain, p99)},
	}
}

// scale compares xds-server with naive wherever both were measured.
func (r *Report) scale() {
	r.Ratios = nil
	for _, ours := range r.Results {
		for _, naive := range r.Results {
			if !strings.HasPrefix(ours.Server, "wasmxds") || naive.Server != "naive" ||
				ours.Clients != naive.Clients || ours.Delta != naive.Delta || ours.TLS != naive.TLS {
				continue
			}
			for _, f := range figures() {
				q := Ratio{Server: ours.Server, Figure: f.name, Clients: ours.Clients, Delta: ours.Delta, TLS: ours.TLS,
					Ours: f.ours(ours), Naive: f.naive(naive), Target: f.target}
				if q.TLS {
					q.Target = f.targetTLS
				}
				if q.Ours <= 0 || q.Naive <= 0 {
					continue
				}
				q.Ratio = q.Ours / q.Naive
				r.Ratios = append(r.Ratios, q)
			}
		}
	}
}

// rollouts tells what it costs that changes have a Rollout, wherever both were
// measured.
func (r *Report) rollouts(out io.Writer) {
	for _, with := range r.Results {
		for _, without := range r.Results {
			if with.Server != without.Server+rolledOut || with.Clients != without.Clients || with.Delta != without.Delta || with.TLS != without.TLS {
				continue
			}
			cpu := of(sceneOne, cpu)
			fmt.Fprintf(out, "\n%v: of that without a Rollout, memory %.2f (target 1.05), CPU a change %.2f (target 1.10)\n",
				with.run, with.Memory/without.Memory, cpu(with)/cpu(without))
		}
	}
}

func (r *Report) table(out io.Writer) {
	if r.Groups != nil {
		defer r.Groups.table(out)
	}
	defer r.rollouts(out)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, res := range r.Results {
		fmt.Fprintf(out, "\n%v: %.1f KB a connection\n", res.run, res.Memory/1024)
		fmt.Fprintln(w, "scene\tp50 ms\tp99 ms\tmax ms\tCPU µs\tits client's\tresponses\tKB\tdownloads\tagain\tfailed\t")
		for _, name := range sceneNames {
			f := res.Scenes[name]
			if f == nil {
				continue
			}
			fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%.0f\t%.1f\t%.1f\t%.1f\t%.1f\t%d\t%d\t%d\t\n", name, f.P50*1e3, f.P99*1e3, f.Max*1e3,
				f.CPU, f.ClientCPU, f.Responses, f.Bytes/1024, f.Fetches, f.Refetches, f.Failed)
		}
		w.Flush()
		if res.RefusingPushes > 0 {
			fmt.Fprintf(out, "an Envoy that refuses got %.1f responses with filters\n", res.RefusingPushes)
		}
	}
	if len(r.Ratios) == 0 {
		return
	}
	fmt.Fprintln(out, "\nxds-server over naive")
	fmt.Fprintln(w, "server\tclients\tprotocol\tfigure\tours\tnaive\tratio\ttarget\t")
	for _, q := range r.Ratios {
		target := ""
		if q.Target > 0 && q.Clients >= 10000 {
			target = fmt.Sprintf("%.2f", q.Target)
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%.4g\t%.4g\t%.2f\t%s\t\n", q.Server, q.Clients, run{Delta: q.Delta, TLS: q.TLS}.kind(), q.Figure, q.Ours, q.Naive, q.Ratio, target)
	}
	w.Flush()
}

// kind is the protocol, and TLS.
func (r run) kind() string {
	if r.TLS {
		return r.protocol() + " TLS"
	}
	return r.protocol()
}

// write writes bench.json and bench.svg.
func (r *Report) write(dir string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "bench.json"), append(b, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "bench.svg"), r.svg(), 0o644)
}

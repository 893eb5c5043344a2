package dir

import (
	"fmt"
	"testing"
	"time"

	"wasmxds/source"
)

// BenchmarkChange measures the time from writing one of many files to its
// update, including Directory.Quiet.
func BenchmarkChange(b *testing.B) {
	for _, files := range []int{10, 1000, 10000} {
		b.Run(fmt.Sprintf("files=%d", files), func(b *testing.B) {
			dir := b.TempDir()
			for i := range files {
				write(b, fmt.Sprintf("%s/%d/%d.yaml", dir, i%100, i), filter(fmt.Sprint("f", i), ""))
			}
			updates := make(chan source.Update, 100)
			done := make(chan error, 1)
			began := time.Now()
			go func() { done <- joined(&Directory{Path: dir}).Run(b.Context(), func(u source.Update) { updates <- u }) }()
			<-updates
			start := time.Since(began)
			i := 0
			for b.Loop() {
				i++
				replace(b, dir+"/0/0.yaml", filter("f0", fmt.Sprint("r", i)))
				<-updates
			}
			b.ReportMetric(float64(start.Milliseconds()), "start-ms")
		})
	}
}

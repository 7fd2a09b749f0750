package hub_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// How long a publisher waits for its stream of 10,000 viewers while operators list them again and
// again: the 99th percentile of a write, and the longest.
func BenchmarkWriteWhileListed(b *testing.B) {
	for _, listed := range []bool{false, true} {
		b.Run(fmt.Sprintf("listed=%v", listed), func(b *testing.B) {
			h := hub.New(hub.Config{})
			p, err := h.Publish(publisher(h, key), hub.PublishOptions{})
			require.NoError(b, err)
			defer p.Close()
			for _, word := range []string{"meta:v", "vc:s", "K:1", "M:1"} {
				p.Write(tag(word))
			}
			for range 10_000 {
				v, err := h.Watch(viewer(h, key), hub.WatchOptions{})
				require.NoError(b, err)
				defer v.Close()
				v.TryStart()
			}
			stop := make(chan struct{})
			var operators sync.WaitGroup
			if listed {
				operators.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
							h.Sessions()
						}
					}
				})
			}
			var took []time.Duration
			next := tag("P:2")
			for b.Loop() {
				next.Timestamp += 40
				began := time.Now()
				p.Write(next)
				took = append(took, time.Since(began))
				time.Sleep(100 * time.Microsecond) // as packets come
			}
			close(stop)
			operators.Wait()
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds()), "p99-ns")
			b.ReportMetric(float64(took[len(took)-1].Nanoseconds()), "longest-ns")
		})
	}
}

package replica

import (
	"context"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
	"sluice/hub/cluster"
)

// paced is a stream whose items are made when the test says so, without garbage.
type paced struct {
	batches chan int // of so many items
	items   [64]cluster.Item
	number  uint64
	data    []byte
}

func newPaced(size int) *paced { return &paced{batches: make(chan int, 1), data: make([]byte, size)} }

func (p *paced) Serve(context.Context, string, hub.Key, *cluster.Position) (cluster.Outflow, error) {
	return p, nil
}
func (p *paced) Start() cluster.Start { return cluster.Start{At: at(1)} }
func (p *paced) Close()               {}

// Next returns items that say when they were made.
func (p *paced) Next(ctx context.Context, until time.Time) ([]cluster.Item, error) {
	select {
	case n := <-p.batches:
		for i := range n {
			p.number++
			p.items[i] = cluster.Item{Tag: flv.Tag{Type: flv.TypeVideo, Data: p.data}, At: at(p.number), Time: int64(p.number)}
		}
		binary.BigEndian.PutUint64(p.data, uint64(time.Now().UnixNano()))
		return p.items[:n], nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// pass has a batch pass, and returns how long that took.
func (p *paced) pass(t testing.TB, s cluster.Source, n int) time.Duration {
	p.batches <- n
	var it cluster.Item
	for range n {
		var err error
		if it, err = s.Next(); err != nil {
			t.Fatal(err)
		}
	}
	return time.Duration(time.Now().UnixNano() - int64(binary.BigEndian.Uint64(it.Tag.Data)))
}

func openPaced(t testing.TB, p *paced) cluster.Source {
	address := serve(t, NewServer(Config{Streams: p, Secret: secret, Node: boot}, nil))
	s, err := opener().Open(context.Background(), cluster.Opening{Address: address, Boot: boot, Key: demo})
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// A stream that runs makes no garbage, at either end.
func TestCopyMakesNoGarbage(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector makes some itself")
	}
	for _, size := range []int{200, 50_000} {
		p := newPaced(size)
		s := openPaced(t, p)
		p.pass(t, s, 64)
		perBatch := testing.AllocsPerRun(200, func() { p.pass(t, s, 8) })
		assert.Less(t, perBatch, 1.0, "8 items of %d bytes", size)
	}
}

func BenchmarkCopy(b *testing.B) {
	for _, c := range []struct {
		name        string
		size, batch int
	}{{"one of 200 bytes", 200, 1}, {"one of 5 KB", 5000, 1}, {"16 of 1 KB", 1000, 16}, {"one of 200 KB", 200_000, 1}} {
		b.Run(c.name, func(b *testing.B) {
			p := newPaced(c.size)
			s := openPaced(b, p)
			p.pass(b, s, c.batch)
			took := make([]time.Duration, 0, 1<<20)
			b.SetBytes(int64(c.size * c.batch))
			b.ReportAllocs()
			for b.Loop() {
				if d := p.pass(b, s, c.batch); len(took) < cap(took) {
					took = append(took, d)
				}
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
		})
	}
}

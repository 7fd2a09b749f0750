package rtmp

import (
	"encoding/binary"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/rtmp/internal/chunk"
)

// stopwatch is a Handler that measures how long messages took from their publisher:
// the first eight bytes of a body say when it was sent. Bodies of others are 0.
type stopwatch struct {
	Handler
	epoch time.Time
	mu    sync.Mutex
	took  []time.Duration
	other int // bytes
}

func (w *stopwatch) Publish(*ServerStream, *Request) (Publication, error) { return w, nil }
func (w *stopwatch) Close(error)                                          {}
func (w *stopwatch) WriteTag(t flv.Tag) error {
	now := time.Since(w.epoch)
	var sent uint64
	if len(t.Data) >= 8 {
		sent = binary.BigEndian.Uint64(t.Data)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if sent == 0 {
		w.other += len(t.Data)
		return nil
	}
	w.took = append(w.took, now-time.Duration(sent))
	return nil
}

// reset forgets what was measured and returns it, sorted.
func (w *stopwatch) reset() (took []time.Duration, other int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	took, other = w.took, w.other
	w.took, w.other = nil, 0
	slices.Sort(took)
	return took, other
}

// flood publishes and sends the same bytes over and over, as fast as they are taken,
// until the connection is closed.
func flood(tb testing.TB, addr string, piece []byte) net.Conn {
	p := connected(tb, addr, "live")
	p.publish("flood")
	p.nc.SetDeadline(time.Time{})
	go func() {
		for {
			if _, err := p.nc.Write(piece); err != nil {
				return
			}
		}
	}()
	return p.nc
}

// floods are what a publisher can keep a server busy with, as bytes at chunk size
// 128.
func floods() map[string][]byte {
	frames := chunk.AppendMessage(nil, protocolChunkSize, chunk.Message{Type: typeVideo, StreamID: 1, ChunkStream: 6, Payload: make([]byte, 60_000)})
	var empty []byte
	for range 5000 {
		empty = chunk.AppendMessage(empty, protocolChunkSize, chunk.Message{Type: typeAudio, StreamID: 1, ChunkStream: 4})
	}
	return map[string][]byte{"frames": frames, "empty": empty}
}

// BenchmarkFlood is what publishers that send as fast as the server reads do to 200
// that send 25 frames a second: the time from write to Publication.
func BenchmarkFlood(b *testing.B) {
	const publishers, rounds, group = 200, 50, 10
	w := &stopwatch{epoch: time.Now()}
	srv := &Server{Handler: w}
	poll(b, srv)
	addr := serve(b, srv)
	peers := make([]*peer, publishers)
	for i := range peers {
		peers[i] = connected(b, addr, "live")
		peers[i].publish("a")
		peers[i].nc.SetDeadline(time.Time{})
	}
	ordinary := func(b *testing.B) {
		body := make([]byte, 1000)
		w.reset()
		tick := time.NewTicker(40 * time.Millisecond * group / publishers)
		defer tick.Stop()
		for range rounds {
			for i, p := range peers {
				if i%group == 0 {
					<-tick.C
				}
				binary.BigEndian.PutUint64(body, uint64(time.Since(w.epoch)))
				p.message(chunk.Message{Type: typeVideo, StreamID: 1, ChunkStream: 6, Payload: body})
			}
		}
		require.Eventually(b, func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return len(w.took) == rounds*publishers
		}, 20*time.Second, time.Millisecond)
		took, other := w.reset()
		b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
		b.ReportMetric(float64(other)/1e6/(rounds*0.04), "flood-MB/s")
		b.ReportMetric(0, "ns/op")
	}
	b.Run("none", func(b *testing.B) {
		for b.Loop() {
			ordinary(b)
		}
	})
	for name, piece := range floods() {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				nc := flood(b, addr, piece)
				ordinary(b)
				nc.Close()
			}
		})
	}
}

package hub_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"sluice/flv"
	"sluice/hub"
)

// load is a stream as encoders send it at 206 kbit/s: 25 pictures and 43 AAC
// packets a second, and a key frame every two seconds.
type load struct {
	rng   *rand.Rand
	video int // pictures sent
	audio int
}

func newLoad(seed uint64) *load {
	return &load{rng: rand.New(rand.NewPCG(seed, 0))}
}

// What all loads send, as much of it as each tag has.
var (
	loadKey   = loadData(0x17, 1, 0, 0, 0)
	loadInter = loadData(0x27, 1, 0, 0, 0)
	loadAudio = loadData(0xaf, 1)
)

func loadData(head ...byte) []byte { return append(head, make([]byte, 16<<10)...) }

const (
	loadGOP = 50 // pictures
	loadFPS = 25
	aacRate = 48000.0 / 1024 * 0.92 // 43 packets a second, as at 44.1 kHz
)

// next returns the tag that follows.
func (l *load) next() flv.Tag {
	videoAt, audioAt := l.video*1000/loadFPS, int(float64(l.audio)*1000/aacRate)
	switch {
	case audioAt < videoAt:
		l.audio++
		return flv.Tag{Type: flv.TypeAudio, Timestamp: uint32(audioAt), Data: loadAudio[:150+l.rng.IntN(80)]}
	case l.video%loadGOP == 0:
		l.video++
		return flv.Tag{Type: flv.TypeVideo, Timestamp: uint32(videoAt), Data: loadKey[:8000+l.rng.IntN(2000)]}
	default:
		l.video++
		return flv.Tag{Type: flv.TypeVideo, Timestamp: uint32(videoAt), Data: loadInter[:200+l.rng.IntN(700)]}
	}
}

// plain frames tags as FLV.
type plain struct{}

func (plain) AppendTags(dst []byte, tags []flv.Tag) []byte {
	for _, t := range tags {
		dst = flv.AppendTag(dst, t)
	}
	return dst
}

// discard frames nothing: what is left is Fill's own work.
type discard struct{}

func (discard) AppendTags(dst []byte, tags []flv.Tag) []byte { return dst }

// audience is a hub's stream of load with viewers who are up to date.
func audience(b *testing.B, h *hub.Hub, n int) (*hub.Publisher, *load, []*hub.Viewer) {
	p, err := h.Publish(publisher(h, key), hub.PublishOptions{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(p.Close)
	l := newLoad(1)
	p.Write(tag("meta:av"))
	p.Write(tag("vc:s"))
	p.Write(tag("ac:s"))
	for range 10 {
		p.Write(l.next())
	}
	var batch hub.Batch
	viewers := make([]*hub.Viewer, n)
	for i := range viewers {
		v, err := h.Watch(viewer(h, key), hub.WatchOptions{})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(v.Close)
		if err := v.Wait(b.Context()); err != nil {
			b.Fatal(err)
		}
		viewers[i] = v
		fill(viewers[i:i+1], &batch, plain{})
	}
	return p, l, viewers
}

func fill(viewers []*hub.Viewer, b *hub.Batch, f hub.Framer) {
	for _, v := range viewers {
		for more := true; more; {
			b.Bytes = b.Bytes[:0]
			more, _ = v.Fill(b, f, 64<<10)
		}
	}
}

// One pass over many viewers, each of whom is due some packets. The figure to look
// at is that of one viewer.
func BenchmarkFill(b *testing.B) {
	const n = 9000
	for _, due := range []int{1, 7, 24} {
		for name, f := range map[string]hub.Framer{"flv": plain{}, "discard": discard{}} {
			b.Run(fmt.Sprintf("due=%d/%s", due, name), func(b *testing.B) {
				p, l, viewers := audience(b, hub.New(hub.Config{}), n)
				var batch hub.Batch
				b.ReportAllocs()
				for b.Loop() {
					for range due {
						p.Write(l.next())
					}
					fill(viewers, &batch, f)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/viewer")
			})
		}
	}
}

// The same by two goroutines, as pumps share the viewers of one stream, while the
// publisher goes on.
func BenchmarkFillByTwo(b *testing.B) {
	const n, due = 9000, 7
	for name, f := range map[string]hub.Framer{"flv": plain{}, "discard": discard{}} {
		b.Run(name, func(b *testing.B) {
			p, l, viewers := audience(b, hub.New(hub.Config{}), n)
			var batches [2]hub.Batch
			b.ReportAllocs()
			for b.Loop() {
				for range due {
					p.Write(l.next())
				}
				var pumps sync.WaitGroup
				for i := range batches {
					pumps.Go(func() { fill(viewers[i*n/2:(i+1)*n/2], &batches[i], f) })
				}
				pumps.Wait()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/viewer")
		})
	}
}

// What a packet costs the publisher, without viewers and with one who is up to
// date.
func BenchmarkWrite(b *testing.B) {
	for n := range 2 {
		b.Run(fmt.Sprintf("viewers=%d", n), func(b *testing.B) {
			p, l, viewers := audience(b, hub.New(hub.Config{MaxLag: 2 * time.Millisecond}), n) // of a clock that is slow here
			var batch hub.Batch
			for range 1000 {
				p.Write(l.next())
				fill(viewers, &batch, discard{})
			}
			b.ReportAllocs()
			for b.Loop() {
				p.Write(l.next())
				fill(viewers, &batch, discard{})
			}
		})
	}
}

// What a look at a stream with many viewers costs, during which its publisher
// waits.
func BenchmarkStreams(b *testing.B) {
	h := hub.New(hub.Config{})
	for range 9000 {
		v, err := h.Watch(viewer(h, key), hub.WatchOptions{})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(v.Close)
	}
	b.ReportAllocs()
	for b.Loop() {
		h.Streams()
	}
}

// What a look at what 2,000 publishers have sent costs.
func BenchmarkMeasure(b *testing.B) {
	h := hub.New(hub.Config{})
	for i := range 2000 {
		p, err := h.Publish(publisher(h, hub.Key{App: "live", Name: fmt.Sprint(i)}), hub.PublishOptions{})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(p.Close)
		l := newLoad(1)
		p.Write(tag("meta:av"))
		for range 10 {
			p.Write(l.next())
		}
	}
	var all []hub.Measures
	b.ReportAllocs()
	for b.Loop() {
		all = h.Measure(all[:0])
	}
}

// A viewer comes to a stream with many viewers, starts and leaves.
func BenchmarkJoin(b *testing.B) {
	h := hub.New(hub.Config{})
	audience(b, h, 9000)
	b.ReportAllocs()
	for b.Loop() {
		v, err := h.Watch(viewer(h, key), hub.WatchOptions{})
		if err != nil {
			b.Fatal(err)
		}
		if err := v.Wait(b.Context()); err != nil {
			b.Fatal(err)
		}
		v.Close()
	}
}

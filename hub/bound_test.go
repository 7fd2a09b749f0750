package hub_test

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
)

// A GOP beyond its bound loses its start: that is counted and logged once, no
// viewer starts until the next key frame, and those who keep up see nothing of it.
func TestGOPCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		h := newHub(t, hub.Config{GOPMaxBytes: 32 << 10, Logger: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelWarn}))})
		p := publish(t, h, client{})
		p.send("meta:v vc:s K:0@0")
		v := watch(t, h, hub.WatchOptions{})
		v.read()
		ts := 40
		for range 1000 {
			p.sendEvery("P", ts, 40, 1)
			require.Equal(t, "P:"+itoa(ts)+"@"+itoa(ts), v.read())
			ts += 40
		}
		assert.EqualValues(t, 1, info(t, h).GOPCuts)
		assert.Equal(t, 1, strings.Count(out.String(), "\n"), out.String())
		assert.Contains(t, out.String(), "level=WARN")
		assert.Contains(t, out.String(), "stream=live/demo")
		assert.Contains(t, out.String(), "max_bytes=32768")

		joins, done := waiting(t, h, hub.WatchOptions{})
		synctest.Wait()
		assert.Empty(t, done)
		p.send("K:k@"+itoa(ts), "P:p@"+itoa(ts+40))
		require.NoError(t, <-done)
		assert.Equal(t, "meta:v@0 vc:s@0 K:k@0 P:p@40", joins.read())
		assert.Zero(t, v.Dropped())
	})
}

// An encoder that never sends a second key frame, one that changes its header
// with every frame, and one that sends a header for whatever there is: none of
// them takes more memory than a stream's log may.
func TestMemoryIsBounded(t *testing.T) {
	const bound = 1 << 20
	header := strings.Repeat("h", 60<<10)
	for name, send := range map[string]func(p *source, i int){
		"small frames": func(p *source, i int) { p.send(fmt.Sprintf("P:@%d", i*40)) },
		"middling frames": func(p *source, i int) {
			data := append(tag("P:").Data, make([]byte, 1500)...)
			require.NoError(p.t, p.Write(flv.Tag{Type: flv.TypeVideo, Timestamp: uint32(i * 40), Data: data}))
		},
		"headers": func(p *source, i int) {
			if i < 500 {
				p.send(fmt.Sprintf("vc:%d%s P:@%d", i, header, i*40))
			}
		},
		"metadata": func(p *source, i int) {
			if i < 500 {
				p.send(fmt.Sprintf("meta:%c P:@%d", "av"[i%2], i*40))
			}
		},
		"tracks": func(p *source, i int) {
			if i < 256 { // Enhanced RTMP: one track of many, header
				data := append([]byte{0x96, 0x00, 'h', 'v', 'c', '1', byte(i)}, header...)
				require.NoError(p.t, p.Write(flv.Tag{Type: flv.TypeVideo, Data: data}))
				require.NoError(p.t, p.Write(flv.Tag{Type: flv.TypeVideo, Data: append(data, make([]byte, 64<<10)...)}))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t, hub.Config{GOPMaxBytes: bound})
			p := publish(t, h, client{})
			p.send("meta:v vc:s K:0@0")
			watch(t, h, hub.WatchOptions{}) // takes nothing, so that the log is kept
			before := heap()
			count := 5000
			if name == "small frames" {
				count = 40_000 // of which each takes the bound by some 40 bytes
			}
			for i := range count {
				send(p, i)
			}
			most := int64(bound * 5 / 4)
			if name == "tracks" {
				most += 64 * (64 << 10) // the headers in force, beside the log
			}
			if held := heap() - before; held > most {
				t.Errorf("holds %d KiB", held>>10)
			} else {
				t.Logf("holds %d KiB", held>>10)
			}
			if name == "tracks" {
				assert.EqualValues(t, 256+256-64, info(t, h).Skipped["excess header"])
			}
		})
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC() // what pools let go of
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// summing checks tags as they are framed: each ends with a checksum of itself.
type summing struct {
	t    *testing.T
	last int64
	tags int
}

func (f *summing) AppendTags(dst []byte, tags []flv.Tag) []byte {
	for _, tag := range tags {
		if tag.Type == flv.TypeScript {
			continue
		}
		body, sum := tag.Data[:len(tag.Data)-4], tag.Data[len(tag.Data)-4:]
		if got := crc32.ChecksumIEEE(body); got != uint32(sum[0])<<24|uint32(sum[1])<<16|uint32(sum[2])<<8|uint32(sum[3]) {
			f.t.Errorf("a tag of %d bytes at %d is not what was published", len(tag.Data), tag.Timestamp)
		}
		if at := int64(tag.Timestamp); at < f.last {
			f.t.Errorf("from %d back to %d", f.last, at)
		} else {
			f.last = at
		}
		f.tags++
	}
	return append(dst, byte(len(tags)))
}

// Many viewers, some quick and some slow, read several streams whose logs are
// small, so that pages are recycled all the time: every byte is the right one.
func TestRecyclingUnderViewers(t *testing.T) {
	const streams, viewers, packets = 3, 8, 2000
	h := newHub(t, hub.Config{GOPMaxBytes: 48 << 10, PublisherGrace: -1})
	var all sync.WaitGroup
	for n := range streams {
		k := hub.Key{App: "live", Name: itoa(n)}
		p, err := h.Publish(publisher(h, k), hub.PublishOptions{})
		require.NoError(t, err)
		sendSummed(t, p, 0, true, 10)
		started := make(chan struct{}, viewers)
		for i := range viewers {
			all.Go(func() {
				v, err := h.Watch(viewer(h, k), hub.WatchOptions{NoAudio: true})
				if !assert.NoError(t, err) {
					return
				}
				defer v.Close()
				if !assert.NoError(t, v.Wait(t.Context())) {
					return
				}
				woken := make(chan struct{}, 1)
				w := wakeFunc(func() {
					select {
					case woken <- struct{}{}:
					default:
					}
				})
				v.Stream().AddWaker(&w)
				defer v.Stream().RemoveWaker(&w)
				started <- struct{}{}
				rng := rand.New(rand.NewPCG(uint64(n), uint64(i)))
				f := &summing{t: t}
				var b hub.Batch
				for {
					b.Bytes = b.Bytes[:0]
					more, end := v.Fill(&b, f, 1+rng.IntN(10_000))
					if end != hub.ReasonNone {
						assert.Equal(t, hub.ReasonUnpublished, end)
						break
					}
					for range rng.IntN(1 << i) { // some are slow
						runtime.Gosched()
					}
					if !more {
						<-woken
					}
				}
				assert.NotZero(t, f.tags)
			})
		}
		all.Go(func() {
			defer p.Close()
			for range viewers {
				<-started
			}
			rng := rand.New(rand.NewPCG(uint64(n), 99))
			for i := 1; i < packets; i++ {
				size := rng.IntN(600)
				if rng.IntN(20) == 0 {
					size = rng.IntN(20_000)
				}
				sendSummed(t, p, i*10, rng.IntN(40) == 0, size)
				if i%10 == 0 {
					runtime.Gosched()
				}
			}
		})
	}
	all.Wait()
}

// sendSummed publishes a video frame that ends with its checksum.
func sendSummed(t *testing.T, p *hub.Publisher, ts int, isKey bool, size int) {
	kind := "P:"
	if isKey {
		kind = "K:"
	}
	data := append([]byte(nil), tag(kind).Data...)
	if ts == 0 {
		assert.NoError(t, p.Write(tag("meta:v")))
	}
	for i := range size {
		data = append(data, byte(i*i+ts))
	}
	sum := crc32.ChecksumIEEE(data)
	data = append(data, byte(sum>>24), byte(sum>>16), byte(sum>>8), byte(sum))
	assert.NoError(t, p.Write(flv.Tag{Type: flv.TypeVideo, Timestamp: uint32(ts), Data: data}))
}

// All logs together have a bound: those that hold much give way, and small ones are
// left alone.
func TestMaxBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 4 << 20
		h := newHub(t, hub.Config{MaxBytes: most})
		publishAs := func(name string) *source {
			s := &source{t: t}
			p, err := h.Publish(publisher(h, hub.Key{App: "live", Name: name}), hub.PublishOptions{})
			require.NoError(t, err)
			t.Cleanup(p.Close)
			s.Publisher = p
			return s
		}
		small := publishAs("small")
		small.send("meta:av vc:s ac:s K:1 A:1")
		var large []*source
		for i := range 8 {
			p := publishAs(fmt.Sprint("large", i))
			p.send("meta:av vc:s ac:s K:1 A:1")
			large = append(large, p)
		}
		for range 200 {
			for _, p := range large {
				p.write(video(40, append([]byte{0x27, 1, 0, 0, 0}, make([]byte, 8<<10)...)))
			}
		}
		held, logs := h.Logged()
		assert.EqualValues(t, 9, logs)
		assert.LessOrEqual(t, held, int64(most+8*(16<<10)))
		assert.Greater(t, held, int64(most/2))
		for _, s := range h.Streams() {
			assert.Equal(t, s.Name == "small", s.GOPCuts == 0, s.Name)
		}
		v, err := h.Watch(viewer(h, hub.Key{App: "live", Name: "small"}), hub.WatchOptions{})
		require.NoError(t, err)
		defer v.Close()
		assert.NoError(t, v.Wait(t.Context()))
	})
}

// A stream that nobody watches holds nothing while it waits for its publisher.
func TestNothingHeldForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.send("meta:av vc:s ac:s K:1 A:1 P:2@40")
		p.Close()
		assert.Equal(t, "grace", info(t, h).State)
		held, _ := h.Logged()
		assert.Zero(t, held)
		p = publish(t, h, client{})
		p.send("meta:av vc:s ac:s K:3 A:3")
		assert.Equal(t, "meta:av@0 vc:s@0 ac:s@0 K:3@0 A:3@0", watch(t, h, hub.WatchOptions{}).read())
		assert.NoError(t, h.Check())
	})
}

// What is only waited for is listed up to a bound.
func TestWaitingListed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		for i := range 1200 {
			v, err := h.Watch(viewer(h, hub.Key{App: "live", Name: itoa(i)}), hub.WatchOptions{})
			require.NoError(t, err)
			defer v.Close()
		}
		publish(t, h, client{}).send("meta:av vc:s ac:s K:1 A:1")
		assert.Len(t, h.Streams(), 1001)
	})
}

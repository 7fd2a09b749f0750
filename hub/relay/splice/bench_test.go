//go:build !race

package splice

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sluice/flv"
)

type nowhere struct{}

func (nowhere) Tag(flv.Tag) error { return nil }
func (nowhere) Cut()              {}

// BenchmarkTake is the steady state: packets of 1 KB go on.
func BenchmarkTake(b *testing.B) {
	for _, after := range []string{"first", "joined"} {
		b.Run(after, func(b *testing.B) {
			g := newRig(nil, rand.New(rand.NewPCG(1, 2)), plain, 6_000)
			r := New(Config{})
			now, base := time.Unix(1000, 0), uint32(0)
			for _, s := range g.shots {
				_ = r.Take(s.Tag, now.Add(time.Duration(s.at)*time.Millisecond), true, nowhere{})
			}
			if after == "joined" {
				r.Begin()
				for _, s := range g.shots[g.cacheAt(len(g.shots), 0):] {
					_ = r.Take(s.Tag, now.Add(6*time.Second), true, nowhere{})
				}
				require.Equal(b, Joined, r.Outcome())
			}
			video, key := make([]byte, 1024), make([]byte, 1024)
			copy(video, []byte{0x27, 1})
			copy(key, []byte{0x17, 1})
			audio := append([]byte{0xaf, 1}, make([]byte, 1022)...)
			base = 6_000
			b.SetBytes(1024)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				t := flv.Tag{Type: flv.TypeVideo, Timestamp: base + uint32(n*14), Data: video}
				switch {
				case n%140 == 0:
					t.Data = key
				case n%3 > 0:
					t.Type, t.Data = flv.TypeAudio, audio
				}
				n++
				t.Data[100] = byte(n)
				_ = r.Take(t, now, false, nowhere{})
			}
		})
	}
}

// BenchmarkJoin is a break: a burst of one GOP is joined.
func BenchmarkJoin(b *testing.B) {
	g := newRig(nil, rand.New(rand.NewPCG(1, 2)), plain, 20_000)
	now := time.Unix(1000, 0)
	r := New(Config{})
	for _, s := range g.shots[:g.now(11_900)] {
		_ = r.Take(s.Tag, now.Add(time.Duration(s.at)*time.Millisecond), true, nowhere{})
	}
	b.ReportAllocs()
	for b.Loop() {
		r.Begin()
		for _, s := range g.shots[g.cacheAt(g.now(11_900), 0):g.now(11_900)] {
			_ = r.Take(s.Tag, now.Add(12*time.Second), true, nowhere{})
		}
	}
	require.Zero(b, r.Counts().Cuts)
}

// What a run holds while it goes on.
func TestMemory(t *testing.T) {
	for _, test := range []struct {
		name string
		cam  camera
		most int // bytes
	}{
		{"25 pictures/s, sound, GOP of 2 s", plain, 8 << 10},
		{"60 pictures/s, sound, GOP of 2 s", camera{fps: 60, gop: 120, sound: 21333}, 14 << 10},
		{"sound", camera{sound: 21333}, 12 << 10},
		{"no key frame for hours", camera{fps: 60, gop: 1 << 20, sound: 5000}, 70 << 10},
	} {
		t.Run(test.name, func(t *testing.T) {
			const runs = 200
			shots := test.cam.shoot(22_000, rand.New(rand.NewPCG(1, 2)))
			var before, after runtime.MemStats
			all := make([]*Run, runs)
			runtime.GC()
			runtime.GC()
			runtime.ReadMemStats(&before)
			for i := range all {
				all[i] = New(Config{})
				for _, h := range test.cam.headers() {
					require.NoError(t, all[i].Take(h, time.Unix(0, 0), true, nowhere{}))
				}
				for _, s := range shots {
					require.NoError(t, all[i].Take(s.Tag, time.Unix(0, int64(s.at)*1e6), false, nowhere{}))
				}
			}
			runtime.GC()
			runtime.GC()
			runtime.ReadMemStats(&after)
			held := int(after.HeapAlloc-before.HeapAlloc) / runs
			t.Logf("%d bytes, %d marks", held, all[0].marks.n)
			if held > test.most {
				t.Errorf("a run holds %d bytes", held)
			}
			runtime.KeepAlive(all)
			runtime.KeepAlive(shots)
		})
	}
}

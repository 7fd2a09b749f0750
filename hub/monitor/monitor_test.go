package monitor

import (
	"fmt"
	"math"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// numbers returns how many values of a series are none.
func numbers(values []float64) (n int) {
	for _, v := range values {
		if !math.IsNaN(v) {
			n++
		}
	}
	return n
}

func TestStreamSeries(t *testing.T) {
	watch(t, func(r *rig) {
		_, known := r.monitor.Stream(me)
		assert.False(t, known)
		r.run(encoder{shift: 100 * time.Millisecond}, 21*time.Second)
		s, known := r.monitor.Stream(me)
		require.True(t, known)
		assert.Equal(t, step, s.Step)
		assert.Equal(t, 20*time.Second, s.End.Sub(r.monitor.began))
		require.Len(t, s.Points, 5)
		for name, want := range map[string]float64{
			"bitrate": 8 * (25*4000 + 21000/2 + 47*215 + 25*20), "frame_rate": 25, "key_frame_interval_ms": 2000, "av_distance_ms": -82,
		} {
			values := s.Points[name]
			require.Len(t, values, points)
			assert.Equal(t, 9, numbers(values), "%s: all looks but the first", name)
			assert.InEpsilon(t, want, values[points-1], .6, name)
		}
		assert.InDelta(t, 0, s.Points["jitter_ms"][points-1], 2)
		assert.InEpsilon(t, 8*(25*4000+21000/2+47*215+25*20), s.Points["bitrate"][points-1], .05)

		// It is kept while the publisher is away, goes on when it is back, and is forgotten in the end.
		time.Sleep(5500 * time.Millisecond)
		r.run(encoder{}, 21*time.Second)
		s, _ = r.monitor.Stream(me)
		rates := s.Points["frame_rate"][points-23:]
		for i, v := range rates {
			away := i >= 10 && i < 14
			assert.Equal(t, i == 0 || away, math.IsNaN(v), "%d: %v", i, rates)
		}
		time.Sleep(keep - 4*time.Second)
		_, known = r.monitor.Stream(me)
		assert.True(t, known)
		time.Sleep(8 * time.Second)
		_, known = r.monitor.Stream(me)
		assert.False(t, known)
	})
}

// Of streams that have ended, only so many are remembered: the last ones.
func TestFewAreRemembered(t *testing.T) {
	watch(t, func(r *rig) {
		for n := range 40 {
			var all []*hub.Publisher
			for i := range 50 {
				all = append(all, r.publish(hub.Key{App: "live", Name: fmt.Sprint(n, " ", i)}))
			}
			time.Sleep(step + time.Second)
			for _, p := range all {
				p.Close()
			}
		}
		time.Sleep(2 * step)
		synctest.Wait()
		assert.Len(t, r.monitor.streams, maxGone)
		_, known := r.monitor.Stream(hub.Key{App: "live", Name: "39 0"})
		assert.True(t, known)
		_, known = r.monitor.Stream(hub.Key{App: "live", Name: "0 0"})
		assert.False(t, known)
	})
}

func TestWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &counted{}
		used := time.Duration(0)
		m := New(Config{Hub: h, Usage: func() (time.Duration, int64) { used += 2 * time.Second; return used, 1 << 20 }})
		defer m.Close()
		synctest.Wait()
		for _, values := range m.Whole().Points {
			assert.Len(t, values, wholePoints)
			assert.Zero(t, numbers(values))
		}
		time.Sleep(wholeStep + time.Second)
		s := m.Whole()
		assert.Equal(t, wholeStep, s.Step)
		assert.Equal(t, wholeStep, s.End.Sub(m.began))
		for name, want := range map[string]float64{
			"streams": 2, "viewers": 5, "bits_in": 8000, "bits_out": 16000, "refused": 3, "cpu": .4, "memory": 1 << 20,
		} {
			values := s.Points[name]
			require.Len(t, values, wholePoints, name)
			assert.Equal(t, want, values[wholePoints-1], name)
			assert.Equal(t, 1, numbers(values), name)
		}
		time.Sleep(20 * time.Minute)
		for _, values := range m.Whole().Points {
			assert.Len(t, values, wholePoints)
			assert.Equal(t, wholePoints, numbers(values))
		}
	})
}

// counted is a hub with two publishers, of which one watches too, and in which the same happens between any two looks.
type counted struct{ looks uint64 }

func (c *counted) Measure(all []hub.Measures) []hub.Measures { return all }

func (c *counted) Totals() []hub.SessionTotals {
	c.looks++
	return []hub.SessionTotals{
		{Protocol: "rtmp", Role: hub.RolePublish, Begun: 2, Bytes: 5000 * c.looks, Refused: map[hub.Reason]uint64{hub.ReasonBusy: c.looks}},
		{Protocol: "rtmp", Role: hub.RoleWatch, Begun: 6, Ended: map[hub.Reason]uint64{hub.ReasonClientLeft: 1}, Bytes: 10000 * c.looks,
			Refused: map[hub.Reason]uint64{hub.ReasonDenied: 2 * c.looks}},
	}
}

// What is packed comes out as it went in, as far as a graph shows.
func TestPacking(t *testing.T) {
	for _, v := range []float64{0, 100, 409500, 409600, 1e6, 4.2e6, 50e6, 1e9, 13e9} {
		assert.InEpsilon(t, v+1, packBitrate(v).value()+1, 1./2000, v)
	}
	assert.True(t, math.IsNaN(packBitrate(math.NaN()).value()))
	assert.InEpsilon(t, 13.4e9, packBitrate(math.Inf(1)).value(), .01)
	assert.Zero(t, packBitrate(-5).value())
	var s series
	s.skip(points)
	for _, p := range []point{{2e6, 29.97, 2000, -40, 12}, noPoint, {0, 0, 0, 0, 0}, {1e12, 1e9, 1e9, 1e9, 1e9}, {1e12, 1e9, 1e9, -1e9, 1e9}} {
		s.add(p)
	}
	assert.Equal(t, point{2e6, 30, 2000, -40, 12}, s.at(4))
	for _, v := range []float64{s.at(3).bitrate, s.at(3).rate, s.at(3).key, s.at(3).apart, s.at(3).uneven, s.at(5).bitrate} {
		assert.True(t, math.IsNaN(v))
	}
	assert.Equal(t, point{}, s.at(2))
	assert.Equal(t, point{s.at(1).bitrate, 6553.4, 655340, math.MaxInt16, 65534}, s.at(1))
	assert.Equal(t, -float64(math.MaxInt16), s.at(0).apart)
	assert.Equal(t, s.at(0).bitrate, s.points()["bitrate"][points-1])
}

// A stream takes 2 KiB at the most.
func TestStreamIsSmall(t *testing.T) {
	t.Log(unsafe.Sizeof(stream{}), unsafe.Sizeof(series{}))
	assert.LessOrEqual(t, int(unsafe.Sizeof(stream{})), 2048)
}

// crowd is a hub with many publishers who all send well.
type crowd struct {
	counted
	sessions []*hub.Session
	frames   uint64
}

func newCrowd(n int) *crowd {
	h := hub.New(hub.Config{})
	c := new(crowd)
	for i := range n {
		c.sessions = append(c.sessions, h.NewSession(hub.RolePublish, hub.Key{App: "live", Name: fmt.Sprint(i)}, hub.Client{}))
	}
	return c
}

func (c *crowd) Measure(all []hub.Measures) []hub.Measures {
	c.frames += 50
	at := time.Duration(c.frames) * 40 * time.Millisecond
	for _, s := range c.sessions {
		all = append(all, hub.Measures{
			Session: s, Key: s.Key(), KeyInterval: 2 * time.Second, KeyGap: 50, AnnouncedRate: 25, HasApart: true,
			Counts: hub.Counts{Bytes: c.frames * 5000, VideoBytes: c.frames * 4500, Pictures: c.frames, Sounds: 2 * c.frames, Video: at, Audio: at},
		})
	}
	return all
}

// BenchmarkLook is a look at 2,000 publishers, as the monitor takes it every two seconds.
func BenchmarkLook(b *testing.B) {
	m := &Monitor{cfg: Config{Hub: newCrowd(2000)}, began: time.Now(), streams: map[hub.Key]*stream{}}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	m.look()
	runtime.GC()
	runtime.ReadMemStats(&after)
	for range 100 {
		m.began = m.began.Add(-step)
		m.look()
	}
	b.ReportAllocs()
	for b.Loop() {
		m.began = m.began.Add(-step)
		m.look()
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/2000, "B/stream")
	for _, s := range m.streams {
		if s.words != nil {
			b.Fatal("something is wrong with them")
		}
	}
}

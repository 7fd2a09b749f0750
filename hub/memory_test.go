//go:build !race

// With the race detector sync.Pool drops much of what it is given.

package hub_test

import (
	"runtime"
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
)

// What a stream of 206 kbit/s with a GOP of two seconds takes, on average over the
// phases of its GOP: little more than the bytes of half a GOP, and one viewer who
// is up to date changes next to nothing about it.
func TestMemoryOfAStream(t *testing.T) {
	for _, test := range []struct {
		name    string
		viewers int // of each stream
		most    int // bytes for each stream
	}{
		{"nobody watches", 0, 44 << 10},
		{"one viewer", 1, 45 << 10},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const streams = 400
				before := heapInUse()
				w := newWorld(t, streams, test.viewers)
				w.run(5 * time.Second)
				held := int(heapInUse()-before) / streams
				runtime.KeepAlive(w)
				t.Logf("%.1f KiB for each stream", float64(held)/1024)
				if held > test.most {
					t.Errorf("a stream holds %d bytes", held)
				}
			})
		})
	}
}

// Streams that run, and viewers who read them, make no garbage: the log takes its
// memory from what it trimmed.
func TestNoGarbage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const streams, seconds = 40, 4
		const packets = streams * seconds * 68
		defer debug.SetGCPercent(debug.SetGCPercent(-1)) // it would empty the pools
		w := newWorld(t, streams, 1)
		w.run(20 * time.Second)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		w.run(seconds * time.Second)
		runtime.ReadMemStats(&after)
		// A few slots are lacking now and then: sizes are random.
		got := after.TotalAlloc - before.TotalAlloc
		t.Logf("%d bytes in %d allocations", got, after.Mallocs-before.Mallocs)
		if got > 10*packets {
			t.Errorf("%d bytes of garbage in %d packets", got, packets)
		}
	})
}

// heapInUse returns the bytes of the heap that are in use, with what fragments it.
func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}

// world is many streams whose GOPs begin at different times, on a fake clock.
type world struct {
	t       *testing.T
	hub     *hub.Hub
	streams []*stream
	batch   hub.Batch
	now     time.Duration
}

type stream struct {
	*hub.Publisher
	load    *load
	due     flv.Tag // what is sent next
	phase   time.Duration
	viewers []*hub.Viewer
	begun   bool // the viewers have started
}

func newWorld(t *testing.T, streams, viewers int) *world {
	w := &world{t: t, hub: newHub(t, hub.Config{})}
	for i := range streams {
		k := hub.Key{App: "live", Name: itoa(i)}
		p, err := w.hub.Publish(publisher(w.hub, k), hub.PublishOptions{})
		require.NoError(t, err)
		t.Cleanup(p.Close)
		s := &stream{Publisher: p, load: newLoad(uint64(i)), phase: time.Duration(i) * 2 * time.Second / time.Duration(streams)}
		for _, header := range []string{"meta:av", "vc:s", "ac:c"} {
			require.NoError(t, p.Write(tag(header)))
		}
		for range viewers {
			v, err := w.hub.Watch(viewer(w.hub, k), hub.WatchOptions{})
			require.NoError(t, err)
			t.Cleanup(v.Close)
			s.viewers = append(s.viewers, v)
		}
		s.due = s.load.next()
		w.streams = append(w.streams, s)
	}
	return w
}

// run lets publishers send and viewers read what is due every 20 ms.
func (w *world) run(d time.Duration) {
	const step = 20 * time.Millisecond
	for end := w.now + d; w.now < end; w.now += step {
		time.Sleep(step)
		for _, s := range w.streams {
			for s.phase+time.Duration(s.due.Timestamp)*time.Millisecond <= w.now {
				if err := s.Write(s.due); err != nil {
					w.t.Fatal(err)
				}
				s.due = s.load.next()
			}
			if !s.begun && s.load.video > 2 {
				s.begun = true
				for _, v := range s.viewers {
					require.NoError(w.t, v.Wait(w.t.Context()))
				}
			}
			if s.begun {
				fill(s.viewers, &w.batch, discard{})
			}
		}
	}
}

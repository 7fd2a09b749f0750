package record

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
	"sluice/hub/archive"
)

// A disk that hangs for a while costs nothing: what is not written waits in the log.
func TestDiskHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.publish("")
		g.send("360p@0 aac@0")
		want := g.film(0, 2)
		g.disk.set(func() { g.disk.hangs = make(chan struct{}) })
		want = append(want, g.film(2000, 10)...)
		assert.Positive(t, g.rec.Totals().Waiting)
		close(g.disk.hangs)
		g.disk.set(func() { g.disk.hangs = nil })
		want = append(want, g.film(12000, 2)...)
		g.pub.Close()
		time.Sleep(10 * time.Second)
		all := g.recordings()
		require.Len(t, all, 1)
		same(t, want, frames(g.read(all[0].ID)), "the recording")
		assert.Zero(t, all[0].Gaps)
		assert.Zero(t, g.rec.Totals().Waiting)
	})
}

// Beyond the budget there is a gap, which is told in the file, in the log, by the counters
// and by an event; behind it the recording goes on with a key frame. Who watches gets
// everything.
func TestDiskHangsTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, func(c *Config) { c.Buffer = 2000 })
		g.publish("")
		g.send("360p@0 aac@0")
		watch := g.watch(hub.WatchOptions{})
		want := g.film(0, 2)
		g.disk.set(func() { g.disk.hangs = make(chan struct{}) })
		want = append(want, g.film(2000, 20)...)
		close(g.disk.hangs)
		g.disk.set(func() { g.disk.hangs = nil })
		want = append(want, g.film(22000, 2)...)
		time.Sleep(time.Second)
		all := g.recordings()
		require.Len(t, all, 1)
		got := frames(g.read(all[0].ID))
		require.Less(t, len(got), len(want))
		at := 0
		for at < len(got) && got[at] == want[at] {
			at++
		}
		assert.Regexp(t, `^K:`, got[at], "it goes on with a key frame")
		same(t, want[len(want)-len(got)+at:], got[at:], "and has all that follows")
		assert.Equal(t, 1, all[0].Gaps)
		assert.InDelta(t, len(want)-len(got), int(all[0].GapTime.Milliseconds()/50), 3)
		totals := g.rec.Totals()
		assert.Equal(t, uint64(1), totals.Gaps)
		assert.Equal(t, uint64(len(want)-len(got)), totals.Lost)
		assert.Contains(t, g.log.String(), "recording has a gap")
		assert.Equal(t, "begun gap", g.story())
		same(t, want, frames(watch.all()), "who watches")
	})
}

// A write that fails ends the file behind its last whole tag; when the disk works again
// another one begins, and what is lost is told.
func TestWriteFails(t *testing.T) {
	for _, partial := range []int{0, 7, 100} {
		synctest.Test(t, func(t *testing.T) {
			g := newRig(t)
			g.publish("")
			g.send("360p@0 aac@0")
			watch := g.watch(hub.WatchOptions{})
			want := g.film(0, 3)
			g.disk.set(func() { g.disk.fails, g.disk.partial = syscall.EIO, partial })
			want = append(want, g.film(3000, 4)...)
			g.disk.set(func() { g.disk.fails = nil })
			want = append(want, g.film(7000, 6)...)
			g.pub.Close()
			time.Sleep(30 * time.Second)
			all := g.recordings()
			require.Len(t, all, 2)
			first, second := frames(g.read(all[0].ID)), frames(g.read(all[1].ID))
			same(t, want[:len(first)], first, "the first file")
			assert.Greater(t, len(first), 30)
			assert.Regexp(t, "^K:", second[0])
			same(t, names(want[len(want)-len(second):]), names(second), "the second file")
			assert.Greater(t, len(second), 60)
			totals := g.rec.Totals()
			assert.Positive(t, totals.Failures)
			assert.Equal(t, uint64(len(want)-len(first)-len(second)), totals.Lost)
			assert.Contains(t, g.log.String(), "input/output error")
			same(t, want, frames(watch.all()), "who watches")
			for _, r := range all {
				assert.Equal(t, archive.StateFinished, r.State)
			}
		})
	}
}

// A recording that cannot begin does so later, with a key frame.
func TestCannotBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.disk.set(func() { g.disk.fails = syscall.EROFS })
		g.publish("")
		g.send("360p@0 aac@0")
		want := g.film(0, 4)
		assert.Empty(t, g.recordings())
		g.disk.set(func() { g.disk.fails = nil })
		want = append(want, g.film(4000, 6)...)
		g.pub.Close()
		time.Sleep(30 * time.Second)
		all := g.recordings()
		require.Len(t, all, 1)
		got := frames(g.read(all[0].ID))
		require.NotEmpty(t, got)
		assert.Regexp(t, "^K:", got[0])
		same(t, names(want[len(want)-len(got):]), names(got), "the file")
		totals := g.rec.Totals()
		assert.Equal(t, uint64(len(want)-len(got)), totals.Lost)
		assert.Positive(t, totals.Failures)
	})
}

// A full disk ends the file, and says so; when there is room again, it goes on.
func TestDiskFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.publish("")
		g.send("360p@0 aac@0")
		watch := g.watch(hub.WatchOptions{})
		want := g.film(0, 3)
		g.disk.set(func() { g.disk.fails, g.disk.partial = syscall.ENOSPC, 30 })
		want = append(want, g.film(3000, 30)...)
		all := g.recordings()
		require.NotEmpty(t, all)
		g.disk.set(func() { g.disk.fails = nil })
		want = append(want, g.film(33000, 20)...)
		g.pub.Close()
		time.Sleep(30 * time.Second)
		all = g.recordings()
		require.GreaterOrEqual(t, len(all), 2)
		assert.Equal(t, archive.StateDiskFull, all[0].State)
		assert.Contains(t, g.log.String(), "disk full")
		assert.Contains(t, g.log.String(), "room again")
		assert.False(t, g.rec.Totals().DiskFull)
		last := frames(g.read(all[len(all)-1].ID))
		same(t, names(want[len(want)-len(last):]), names(last), "the last file")
		assert.Greater(t, len(last), 100)
		same(t, want, frames(watch.all()), "who watches")
		assert.Positive(t, g.rec.Totals().Gaps)
		recorded := 0
		for _, r := range all {
			recorded += len(frames(g.read(r.ID)))
		}
		assert.Equal(t, uint64(len(want)-recorded), g.rec.Totals().Lost, "what is missing is counted")
	})
}

// However many recordings there are, no more than maxWrites write at a time.
func TestWritesAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		var pubs []*hub.Publisher
		for i := range 3 * maxWrites {
			other := hub.Key{App: "live", Name: fmt.Sprint(i)}
			p, err := g.hub.Publish(g.hub.NewSession(hub.RolePublish, other, hub.Client{Protocol: "test"}), hub.PublishOptions{})
			require.NoError(t, err)
			pubs = append(pubs, p)
		}
		send := func(words string) {
			for word := range strings.FieldsSeq(words) {
				for _, p := range pubs {
					require.NoError(t, p.Write(tagOf(t, word)))
				}
			}
		}
		send("aac@0 A:1@0 A:2@23")
		time.Sleep(3 * time.Second)
		g.disk.set(func() { g.disk.hangs = make(chan struct{}) })
		send("A:3@3000")
		time.Sleep(5 * time.Second)
		g.disk.set(func() { assert.Equal(t, maxWrites, g.disk.writing) })
		close(g.disk.hangs)
		g.disk.set(func() { g.disk.hangs = nil })
		time.Sleep(2 * time.Second)
		g.disk.set(func() { assert.Equal(t, maxWrites, g.disk.most) })
		for _, p := range pubs {
			p.Close()
		}
		time.Sleep(10 * time.Second)
		assert.EqualValues(t, 3*maxWrites, g.rec.Totals().Finished)
	})
}

// A disk that hangs for good does not keep the server from ending.
func TestCloseWhileDiskHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.publish("")
		g.send("360p@0 aac@0")
		g.film(0, 2)
		hangs := make(chan struct{})
		g.disk.set(func() { g.disk.hangs = hangs })
		g.film(2000, 2)
		g.pub.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		require.NoError(t, g.hub.Shutdown(ctx))
		assert.ErrorIs(t, g.rec.Close(ctx), context.DeadlineExceeded)
		close(hangs)
	})
}

// watcher is a viewer that keeps up.
type watcher struct {
	t    testing.TB
	v    *hub.Viewer
	b    hub.Batch
	stop chan struct{}
	done chan struct{}

	mu   sync.Mutex
	tags []string
}

// got returns what it got by now.
func (w *watcher) got() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.tags)
}

// watch makes a viewer that reads all the time.
func (g *rig) watch(opts hub.WatchOptions) *watcher {
	g.t.Helper()
	v, err := g.hub.Watch(g.hub.NewSession(hub.RoleWatch, key, hub.Client{Protocol: "test"}), opts)
	require.NoError(g.t, err)
	w := &watcher{t: g.t, v: v, stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(w.done)
		defer v.Close()
		if v.Wait(context.Background()) != nil {
			return
		}
		for {
			select {
			case <-w.stop:
				return
			default:
			}
			w.b.Bytes = w.b.Bytes[:0]
			if _, end := v.Fill(&w.b, w, 1<<20); end != hub.ReasonNone {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
	return w
}

// AppendTags implements hub.Framer.
func (w *watcher) AppendTags(dst []byte, tags []flv.Tag) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range tags {
		w.tags = append(w.tags, wordOf(t, int64(t.Timestamp)))
		dst = flv.AppendTag(dst, t)
	}
	return dst
}

// all ends the viewer and returns what it got.
func (w *watcher) all() []string {
	select {
	case <-w.stop:
	default:
		close(w.stop)
	}
	<-w.done
	return w.tags
}

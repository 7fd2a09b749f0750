package record

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
	"sluice/hub/archive"
)

// When everything ends at once nothing is lost that was published, and finishing needs the
// right to write too.
func TestManyEndAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		var pubs []*hub.Publisher
		for i := range 3 * maxWrites {
			other := hub.Key{App: "live", Name: fmt.Sprint(i)}
			p, err := g.hub.Publish(g.hub.NewSession(hub.RolePublish, other, hub.Client{Protocol: "test"}), hub.PublishOptions{})
			require.NoError(t, err)
			pubs = append(pubs, p)
		}
		send := func(word string) {
			for _, p := range pubs {
				require.NoError(t, p.Write(tagOf(t, word)))
			}
		}
		send("aac@0")
		send("A:1@0")
		send("A:2@23")
		time.Sleep(3 * time.Second)
		hangs := make(chan struct{})
		g.disk.set(func() { g.disk.hangs = hangs })
		send("A:3@3000")
		time.Sleep(5 * time.Second) // as many as may write do, and others wait
		send("A:4@8000")
		require.NoError(t, g.hub.Shutdown(t.Context()))
		closed := make(chan error)
		go func() { closed <- g.rec.Close(context.Background()) }()
		time.Sleep(time.Second)
		g.disk.set(func() { g.disk.hangs = nil })
		close(hangs)
		require.NoError(t, <-closed)
		for i := range pubs {
			all, _, err := g.arc.Recordings(hub.Key{App: "live", Name: fmt.Sprint(i)}, "", 10)
			require.NoError(t, err)
			require.Len(t, all, 1)
			assert.Equal(t, archive.StateFinished, all[0].State)
			assert.GreaterOrEqual(t, all[0].Duration, 8*time.Second)
		}
		g.disk.set(func() { assert.LessOrEqual(t, g.disk.most, maxWrites) })
	})
}

// Started right after it was stopped, a recording goes on in another file.
func TestStartAfterStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.publish("")
		g.send("360p@0 aac@0")
		g.film(0, 3)
		g.rec.Stop(key)
		g.rec.Start(key)
		g.rec.Start(key)
		want := g.film(3000, 3)
		g.pub.Close()
		time.Sleep(10 * time.Second)
		all := g.recordings()
		require.Len(t, all, 2)
		got := frames(g.read(all[1].ID))
		same(t, names(want[len(want)-min(len(want), len(got)):]), names(got[len(got)-min(len(want), len(got)):]), "the second file")
		assert.Zero(t, g.rec.Totals().Running)
	})
}

// Whose stream ends while the disk is full does not wait for room.
func TestEndWhileFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRigOn(t, archive.Config{MinFree: 1 << 62})
		synctest.Wait()
		g.publish("")
		g.send("360p@0 aac@0")
		g.film(0, 30)
		assert.Equal(t, 1, g.rec.Totals().Running)
		assert.True(t, g.rec.Totals().DiskFull)
		g.pub.Close()
		time.Sleep(time.Minute)
		assert.Zero(t, g.rec.Totals().Running)
		assert.Zero(t, g.rec.Totals().Begun)
	})
}

// Where somebody removes the file that is written, that is told, and nothing stays open.
func TestFileGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.publish("")
		g.send("360p@0 aac@0")
		g.film(0, 5)
		parts, err := filepath.Glob(filepath.Join(g.dir, "live/cam/*.part"))
		require.NoError(t, err)
		require.Len(t, parts, 1)
		require.NoError(t, os.Remove(parts[0]))
		g.pub.Close()
		time.Sleep(30 * time.Second)
		assert.Contains(t, g.log.String(), "the file of a recording is gone")
		assert.Empty(t, g.recordings())
		assert.Zero(t, g.rec.Totals().Finished)
		g.disk.set(func() { assert.Zero(t, g.disk.open) })
	})
}

// A viewer that goes back further than is kept begins with the oldest file that is there.
func TestRewindDeletedFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, func(c *Config) { c.Segment = 4 * time.Second })
		g.publish("")
		g.send("360p@0 aac@0")
		want := g.film(0, 30)
		all := g.recordings()
		require.Greater(t, len(all), 5)
		for _, r := range all[:3] {
			require.NoError(t, g.arc.Delete(key, r.ID))
		}
		for range 2 {
			v := g.rewind(hub.WatchOptions{Back: time.Hour}, Pace{})
			time.Sleep(time.Second)
			got := frames(v.all())
			require.NotEmpty(t, got)
			same(t, rebased(t, want[len(want)-len(got):]), got, "what it gets")
			assert.InDelta(t, len(want)-3*4*20, len(got), 25)
		}
		rec := g.rec.recording(key)
		rec.mu.Lock()
		defer rec.mu.Unlock()
		assert.Len(t, rec.files, len(all)-3)
	})
}

// A viewer that has everything which is written, while the disk hangs, goes on live.
func TestRewindWhileDiskHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.publish("")
		g.send("360p@0 aac@0")
		g.film(0, 20)
		hangs := make(chan struct{})
		g.disk.set(func() { g.disk.hangs = hangs })
		g.film(20000, 30)
		v := g.rewind(hub.WatchOptions{Back: time.Hour}, Pace{})
		want := g.film(50000, 20)
		got := frames(v.all())
		require.NotEmpty(t, got)
		assert.Equal(t, "K:0@0", got[0])
		assert.Equal(t, want[len(want)-1], got[len(got)-1])
		g.disk.set(func() { g.disk.hangs = nil })
		close(hangs)
	})
}

// A stream that ended while the disk was full has another clock when it is published again:
// what was recorded of it before is not a part of its past.
func TestOtherStreamWhenThereIsRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t) // which looks at the free space each 10 s
		g.publish("")
		g.send("360p@0 aac@0")
		g.film(0, 3)
		g.rec.setFull(true, 1)
		time.Sleep(time.Second)
		require.Equal(t, archive.StateDiskFull, g.recordings()[0].State)
		g.pub.Close()
		time.Sleep(5100 * time.Millisecond) // its grace
		require.False(t, g.hub.Live(key))
		g.publish("")
		g.send("360p@0 aac@0")
		require.True(t, g.rec.Totals().DiskFull)
		want := g.film(0, 20)
		v := g.rewind(hub.WatchOptions{Back: time.Hour}, Pace{})
		want = append(want, g.film(20000, 2)...)
		got := frames(v.all())
		require.Len(t, g.recordings(), 2)
		require.NotEmpty(t, got)
		same(t, rebased(t, want[len(want)-len(got):]), got, "what it gets")
		assert.Greater(t, v.led, 100)
	})
}

// A disk that refuses although it says that there is room is tried now and then, and no
// line is written more often than that.
func TestRefusingDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.publish("")
		g.send("360p@0 aac@0")
		g.film(0, 3)
		g.disk.set(func() { g.disk.fails = syscall.EDQUOT })
		g.film(3000, 60)
		assert.InDelta(t, 6, strings.Count(g.log.String(), "disk full"), 1)
		assert.LessOrEqual(t, int(g.rec.Totals().Failures), 30)
		g.disk.set(func() { g.disk.fails = nil })
		g.film(63000, 20)
		assert.False(t, g.rec.Totals().DiskFull)
		assert.Equal(t, 1, g.rec.Totals().Running)
	})
}

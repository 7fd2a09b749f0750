package hub_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
)

// Sums outlast the streams to which they belong, and count each once.
func TestStreamTotals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{PublisherGrace: time.Second, GOPMaxBytes: 100 << 10})
		none := h.StreamTotals()
		assert.Len(t, none.Skipped, len(hub.SkipReasons()))
		v := newSinkOf(t, h, client{}, hub.WatchOptions{})
		assert.Equal(t, 1, h.StreamTotals().Waiting)
		p := publish(t, h, client{})
		p.send("meta:v vc:s P:0@0 K:1@40")
		require.NoError(t, p.Write(flv.Tag{Type: flv.TypeVideo, Timestamp: 80, Data: append([]byte{0x27, 1, 0, 0, 0}, make([]byte, 200<<10)...)}))
		time.Sleep(50 * time.Millisecond)
		p.send("K:2@90000 P:3@90040")
		live := h.StreamTotals()
		assert.Equal(t, 1, live.Live)
		assert.NotZero(t, live.LogBytes)
		assert.Equal(t, uint64(1), live.GOPCuts)
		assert.Equal(t, uint64(1), live.Jumps)
		assert.Equal(t, uint64(1), live.Skipped["before key frame"])
		one := info(t, h)
		assert.Equal(t, one.GOPCuts, live.GOPCuts)
		assert.Equal(t, one.Jumps, live.Jumps)

		p.Close()
		assert.Equal(t, 1, h.StreamTotals().Grace)
		time.Sleep(2 * time.Second)
		ended := h.StreamTotals()
		assert.Equal(t, 1, ended.Ended, "its viewer is still there")
		v.Close()
		ended = h.StreamTotals()
		assert.Zero(t, ended.Ended)
		assert.Equal(t, live.GOPCuts, ended.GOPCuts)
		assert.Equal(t, live.Jumps, ended.Jumps)
		assert.Equal(t, live.Skipped, ended.Skipped)

		again := publish(t, h, client{})
		again.send("meta:v vc:s P:0@0 K:1@40")
		assert.Equal(t, uint64(2), h.StreamTotals().Skipped["before key frame"])
		again.Close()
		assert.Equal(t, uint64(2), h.StreamTotals().Skipped["before key frame"])
	})
}

// No sum decreases while streams come and go.
func TestStreamTotalsNeverDecrease(t *testing.T) {
	const publishers, rounds = 4, 200
	h := newHub(t, hub.Config{PublisherGrace: -1})
	var all sync.WaitGroup
	for n := range publishers {
		all.Go(func() {
			for range rounds {
				who := h.NewSession(hub.RolePublish, hub.Key{App: "live", Name: fmt.Sprint(n)}, hub.Client{Protocol: "test"})
				p, err := h.Publish(who, hub.PublishOptions{})
				if !assert.NoError(t, err) {
					return
				}
				for _, w := range []string{"vc:s", "P:0@0", "P:1@40"} {
					assert.NoError(t, p.Write(tag(w)))
				}
				p.Close()
			}
		})
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		all.Wait()
	}()
	for last, over := uint64(0), false; !over; {
		select {
		case <-done:
			over = true
		default:
		}
		now := h.StreamTotals().Skipped["before key frame"]
		if !assert.GreaterOrEqual(t, now, last) {
			break
		}
		last = now
	}
	<-done
	assert.Equal(t, uint64(2*publishers*rounds), h.StreamTotals().Skipped["before key frame"])
}

// The most watched streams come first, under the names that may be shown.
func TestMostWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{Disguise: func(key hub.Key) string { return key.App + "/#" }})
		assert.Empty(t, h.MostWatched(3))
		for n, name := range []string{"a", "b", "c"} {
			key := hub.Key{App: name, Name: "S3CRET"}
			p, err := h.Publish(h.NewSession(hub.RolePublish, key, hub.Client{Protocol: "test"}), hub.PublishOptions{})
			require.NoError(t, err)
			defer p.Close()
			for range n {
				v, err := h.Watch(h.NewSession(hub.RoleWatch, key, hub.Client{Protocol: "test"}), hub.WatchOptions{})
				require.NoError(t, err)
				defer v.Close()
			}
		}
		waits, err := h.Watch(h.NewSession(hub.RoleWatch, key, hub.Client{Protocol: "test"}), hub.WatchOptions{})
		require.NoError(t, err)
		defer waits.Close()
		assert.Equal(t, []hub.Watched{{Stream: "c/#", Viewers: 2}, {Stream: "b/#", Viewers: 1}}, h.MostWatched(2))
		assert.Len(t, h.MostWatched(1000), 3, "a stream that nobody publishes is not live")
	})
}

// A beginning says how long was waited for it.
func TestWaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		waited := map[hub.EventKind]time.Duration{}
		h := newHub(t, hub.Config{Observe: func(e hub.Event) {
			if e.Kind == hub.EventPublished || e.Kind == hub.EventJoined {
				waited[e.Kind] = e.Waited
			}
		}})
		v := newSinkOf(t, h, client{}, hub.WatchOptions{})
		time.Sleep(3 * time.Second)
		p := publish(t, h, client{})
		p.send("meta:v vc:s")
		time.Sleep(time.Second)
		p.send("K:1@0")
		require.NoError(t, v.Wait(t.Context()))
		synctest.Wait()
		assert.Equal(t, map[hub.EventKind]time.Duration{hub.EventPublished: 0, hub.EventJoined: 5 * time.Second}, waited, "one second of it was for the sound")

		played := h.NewSession(hub.RoleWatch, key, hub.Client{Protocol: "rtmp", Recording: "x"})
		time.Sleep(2 * time.Second)
		_, err := played.Begin()
		require.NoError(t, err)
		synctest.Wait()
		assert.Equal(t, 2*time.Second, waited[hub.EventJoined])
		played.End(&hub.Refusal{Reason: hub.ReasonClientLeft}, 0, 0)
		v.Close()
		p.Close()
	})
}

package hub_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// refusesAll checks that the hub lets nobody in.
func refusesAll(t *testing.T, h *hub.Hub) {
	t.Helper()
	for _, k := range []hub.Key{key, {App: "live", Name: "other"}} {
		_, err := h.Watch(viewer(h, k), hub.WatchOptions{})
		assert.Equal(t, hub.ReasonShuttingDown, reasonOf(t, err))
		_, err = h.Publish(publisher(h, k), hub.PublishOptions{})
		assert.Equal(t, hub.ReasonShuttingDown, reasonOf(t, err))
		assert.Equal(t, hub.ReasonShuttingDown, reasonOf(t, viewer(h, k).AskAndWait(t.Context())))
		_, err = viewer(h, k).Begin()
		assert.Equal(t, hub.ReasonShuttingDown, reasonOf(t, err))
	}
}

// Nobody new comes in, and what runs goes on: a stream until its publisher leaves, a recording
// until its viewer does. Then the hub shuts down as ever.
func TestRefuseNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.send(av)
		v := watch(t, h, hub.WatchOptions{})
		v.read()
		recording := viewer(h, key)
		playing := begins(t, recording)
		h.RefuseNew()
		refusesAll(t, h)
		h.RefuseNew()
		select {
		case <-h.Closing():
			t.Error("it does not shut down yet")
		default:
		}

		time.Sleep(time.Hour)
		require.NoError(t, p.Write(tag("P:2@40")))
		assert.Equal(t, "P:2@40", v.read())
		assert.Equal(t, hub.ReasonNone, v.end)
		assert.NoError(t, playing.Err())
		r, err := h.Read(key, hub.ReadOptions{})
		require.NoError(t, err, "what is built on the hub reads what runs")
		r.Close()

		require.NoError(t, p.Write(tag("P:3@80")))
		p.Close()
		assert.Equal(t, "P:3@80", v.read(), "the last packet")
		assert.Equal(t, hub.ReasonShuttingDown, v.end, "nobody can come back")
		assert.Empty(t, p.ended)
		assert.Empty(t, h.Streams())
		v.Close()
		recording.End(&hub.Refusal{Reason: hub.ReasonComplete}, 0, 0)
		assert.NoError(t, h.Shutdown(t.Context()))
	})
}

// Where there is no publisher, none can come: those who wait for one are told at once.
func TestRefuseNewEndsWhatHasNoPublisher(t *testing.T) {
	for _, grace := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			h := newHub(t, hub.Config{})
			var late *sink
			if grace {
				p := publish(t, h, client{})
				p.send(av)
				late = watch(t, h, hub.WatchOptions{})
				late.read()
				p.Close()
			}
			_, waited := waiting(t, h, hub.WatchOptions{})
			synctest.Wait()
			h.RefuseNew()
			assert.Equal(t, hub.ReasonShuttingDown, reasonOf(t, <-waited))
			if grace {
				assert.Empty(t, late.read())
				assert.Equal(t, hub.ReasonShuttingDown, late.end)
			}
			assert.Empty(t, h.Streams())
		})
	}
}

// Who is asking for permission is refused, whatever the policy says later.
func TestRefuseNewWhileAsking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		say := make(chan struct{})
		h := newHub(t, hub.Config{Authorize: func(context.Context, *hub.Session) (hub.Grant, error) {
			<-say
			return hub.Grant{}, nil
		}})
		said := make(chan error, 2)
		for _, s := range []*hub.Session{publisher(h, key), viewer(h, key)} {
			s.Ask(t.Context(), func(err error) { said <- err })
		}
		synctest.Wait()
		h.RefuseNew()
		for range 2 {
			assert.Equal(t, hub.ReasonShuttingDown, reasonOf(t, <-said))
		}
		close(say)
		synctest.Wait()
		assert.Empty(t, said)
		assert.Equal(t, hub.ReasonShuttingDown, reasonOf(t, publisher(h, key).AskAndWait(t.Context())))
		assert.Empty(t, h.Streams())
	})
}

// Publishers and viewers that come and go at that moment are in or out, and nothing of them stays.
func TestRefuseNewAmongMany(t *testing.T) {
	h := newHub(t, hub.Config{PublisherGrace: time.Hour, ViewerWait: time.Hour})
	var wg sync.WaitGroup
	var in atomic.Int64
	for i := range 16 {
		k := hub.Key{App: "live", Name: itoa(i % 4)}
		wg.Go(func() {
			for {
				s := publisher(h, k)
				p, err := h.Publish(s, hub.PublishOptions{})
				if err == nil {
					in.Add(1)
					p.Close()
				} else if reasonOf(t, err) == hub.ReasonShuttingDown {
					return
				}
			}
		})
		wg.Go(func() {
			for {
				v, err := h.Watch(viewer(h, k), hub.WatchOptions{})
				if err != nil {
					assert.Equal(t, hub.ReasonShuttingDown, reasonOf(t, err))
					return
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				v.Wait(ctx)
				cancel()
				v.Close()
			}
		})
	}
	require.Eventually(t, func() bool { return in.Load() > 1000 }, 10*time.Second, time.Millisecond)
	h.RefuseNew()
	wg.Wait()
	assert.Empty(t, h.Streams(), "nothing waits for anybody")
	assert.NoError(t, h.Shutdown(t.Context()))
}

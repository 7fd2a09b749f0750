package hub_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

func TestMaxStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{MaxStreams: 2, PublisherGrace: -1})
		one := publish(t, h, client{})
		two, err := h.Watch(viewer(h, hub.Key{App: "live", Name: "two"}), hub.WatchOptions{})
		require.NoError(t, err)
		third := hub.Key{App: "live", Name: "three"}
		_, err = h.Watch(viewer(h, third), hub.WatchOptions{})
		assert.Equal(t, hub.ReasonTooMany, reasonOf(t, err))
		newSink(t, h, hub.WatchOptions{}).Close() // of a stream that is there

		// Those who only wait can't keep publishers out.
		three, err := h.Publish(publisher(h, third), hub.PublishOptions{})
		require.NoError(t, err)
		four, err := h.Publish(publisher(h, hub.Key{App: "live", Name: "four"}), hub.PublishOptions{})
		require.NoError(t, err)
		_, err = h.Publish(publisher(h, hub.Key{App: "live", Name: "five"}), hub.PublishOptions{})
		assert.Equal(t, hub.ReasonTooMany, reasonOf(t, err))

		two.Close()
		five, err := h.Publish(publisher(h, hub.Key{App: "live", Name: "five"}), hub.PublishOptions{})
		require.NoError(t, err)
		for _, p := range []interface{ Close() }{one, three, four, five} {
			p.Close()
		}
		assert.Empty(t, h.Streams())
	})
}

func TestLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		assert.False(t, h.Live(key))
		v := newSink(t, h, hub.WatchOptions{})
		assert.False(t, h.Live(key), "waited for")
		p := publish(t, h, client{})
		assert.True(t, h.Live(key))
		p.Close()
		assert.False(t, h.Live(key), "held")
		v.Close()
		time.Sleep(time.Minute)
		assert.False(t, h.Live(key))
	})
}

// Shutdown ends what there is, in whatever state, waits for viewers, and refuses
// whoever comes.
func TestShutdown(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, h *hub.Hub) *source{
		"waiting": func(t *testing.T, h *hub.Hub) *source { return nil },
		"live, without a picture": func(t *testing.T, h *hub.Hub) *source {
			return publish(t, h, client{})
		},
		"live": func(t *testing.T, h *hub.Hub) *source {
			p := publish(t, h, client{})
			p.send(av)
			return p
		},
		"grace": func(t *testing.T, h *hub.Hub) *source {
			p := publish(t, h, client{})
			p.send(av)
			p.Close()
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, hub.Config{})
				p := prepare(t, h)
				v, waited := waiting(t, h, hub.WatchOptions{})
				synctest.Wait()

				down := make(chan error, 1)
				go func() { down <- h.Shutdown(t.Context()) }()
				synctest.Wait()
				assert.Empty(t, down, "the viewer is not closed yet")
				err := <-waited
				if name == "live" {
					assert.NoError(t, err)
					assert.Equal(t, "meta:av@0 vc:s@0 ac:c@0 K:1@0 A:1@0", v.read(), "drained")
					assert.Equal(t, hub.ReasonShuttingDown, v.end)
				} else {
					assert.Equal(t, hub.ReasonShuttingDown, reasonOf(t, err))
				}
				if p != nil {
					assert.Equal(t, []hub.Reason{hub.ReasonShuttingDown}, p.ended)
					assert.Equal(t, hub.ReasonShuttingDown, reasonOf(t, p.Write(tag("K:1"))))
				}
				_, err = h.Watch(viewer(h, key), hub.WatchOptions{})
				assert.Equal(t, hub.ReasonShuttingDown, reasonOf(t, err))
				_, err = h.Publish(publisher(h, key), hub.PublishOptions{})
				assert.Equal(t, hub.ReasonShuttingDown, reasonOf(t, err))

				begun := time.Now()
				time.Sleep(3 * time.Second)
				assert.Empty(t, down)
				v.Close()
				assert.NoError(t, <-down)
				assert.Equal(t, 3*time.Second, time.Since(begun))
				assert.Empty(t, h.Streams())
				assert.NoError(t, h.Shutdown(t.Context()), "again")
			})
		})
	}
}

// Viewers that nobody closes do not hold a shutdown up for ever.
func TestShutdownGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		publish(t, h, client{}).send(av)
		v := watch(t, h, hub.WatchOptions{})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		begun := time.Now()
		assert.ErrorIs(t, h.Shutdown(ctx), context.DeadlineExceeded)
		assert.Equal(t, 5*time.Second, time.Since(begun))
		v.Close()
		assert.NoError(t, h.Shutdown(ctx), "nobody is left, late as it is")
	})
}

// An empty hub shuts down at once, and its timers are gone.
func TestShutdownWithNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.send("ac:c A:1") // starts the look for another track
		assert.NoError(t, h.Shutdown(t.Context()))
		time.Sleep(time.Hour)
		assert.Empty(t, h.Streams())
	})
}

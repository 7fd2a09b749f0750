package hub_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// The policy is asked once, with all it needs, and its error refuses.
func TestAuthorize(t *testing.T) {
	for _, test := range []struct {
		name   string
		err    error
		reason hub.Reason
		says   string
	}{
		{"allowed", nil, hub.ReasonNone, ""},
		{"an error", errors.New("bad token"), hub.ReasonDenied, "denied: bad token"},
		{"a refusal", &hub.Refusal{Reason: hub.ReasonTooMany, Detail: "3 of 3"}, hub.ReasonTooMany, "too many: 3 of 3"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var asked []hub.Access
				var h *hub.Hub
				h = newHub(t, hub.Config{Authorize: func(a hub.Access) error {
					asked = append(asked, a)
					h.Streams() // no lock is held
					return test.err
				}})
				p, err := h.Publish(key, hub.PublishOptions{Protocol: "rtmp", Remote: "10.0.0.1:5"})
				v, err2 := h.Watch(key, hub.WatchOptions{Protocol: "ws-flv", Remote: "10.0.0.2:6"})
				assert.Equal(t, []hub.Access{
					{Publish: true, Key: key, Protocol: "rtmp", Remote: "10.0.0.1:5"},
					{Key: key, Protocol: "ws-flv", Remote: "10.0.0.2:6"},
				}, asked)
				if test.err == nil {
					require.NoError(t, err)
					require.NoError(t, err2)
					p.Close()
					v.Close()
					return
				}
				for _, err := range []error{err, err2} {
					assert.Equal(t, test.reason, reasonOf(t, err))
					assert.EqualError(t, err, test.says)
				}
				assert.Empty(t, h.Streams())
			})
		})
	}
}

func TestMaxStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{MaxStreams: 2, PublisherGrace: -1})
		one := publish(t, h, hub.PublishOptions{})
		two, err := h.Watch(hub.Key{App: "live", Name: "two"}, hub.WatchOptions{})
		require.NoError(t, err)
		third := hub.Key{App: "live", Name: "three"}
		_, err = h.Watch(third, hub.WatchOptions{})
		assert.Equal(t, hub.ReasonTooMany, reasonOf(t, err))
		newSink(t, h, hub.WatchOptions{}).Close() // of a stream that is there

		// Those who only wait can't keep publishers out.
		three, err := h.Publish(third, hub.PublishOptions{})
		require.NoError(t, err)
		four, err := h.Publish(hub.Key{App: "live", Name: "four"}, hub.PublishOptions{})
		require.NoError(t, err)
		_, err = h.Publish(hub.Key{App: "live", Name: "five"}, hub.PublishOptions{})
		assert.Equal(t, hub.ReasonTooMany, reasonOf(t, err))

		two.Close()
		five, err := h.Publish(hub.Key{App: "live", Name: "five"}, hub.PublishOptions{})
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
		p := publish(t, h, hub.PublishOptions{})
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
			return publish(t, h, hub.PublishOptions{})
		},
		"live": func(t *testing.T, h *hub.Hub) *source {
			p := publish(t, h, hub.PublishOptions{})
			p.send(av)
			return p
		},
		"grace": func(t *testing.T, h *hub.Hub) *source {
			p := publish(t, h, hub.PublishOptions{})
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
				_, err = h.Watch(key, hub.WatchOptions{})
				assert.Equal(t, hub.ReasonShuttingDown, reasonOf(t, err))
				_, err = h.Publish(key, hub.PublishOptions{})
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
		publish(t, h, hub.PublishOptions{}).send(av)
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
		p := publish(t, h, hub.PublishOptions{})
		p.send("ac:c A:1") // starts the look for another track
		assert.NoError(t, h.Shutdown(t.Context()))
		time.Sleep(time.Hour)
		assert.Empty(t, h.Streams())
	})
}

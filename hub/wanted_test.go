package hub_test

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

func TestUnwatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		assert.Greater(t, h.Unwatched(key), 100*365*24*time.Hour, "of a stream that is not there")
		waits := newSink(t, h, hub.WatchOptions{})
		assert.Zero(t, h.Unwatched(key), "somebody waits")
		p := publish(t, h, client{})
		p.send(av)
		time.Sleep(time.Second)
		waits.Close()
		assert.Positive(t, h.Unwatched(key), "in the moment in which the last one leaves")
		time.Sleep(3 * time.Second)
		assert.Equal(t, 3*time.Second, h.Unwatched(key))
		p.Restart()
		publish(t, h, client{}).send(av) // the first one was silent
		assert.Equal(t, 3*time.Second, h.Unwatched(key), "no matter who publishes it")
		v := watch(t, h, hub.WatchOptions{})
		assert.Zero(t, h.Unwatched(key))
		v.Close()
		time.Sleep(time.Second)
		assert.Equal(t, time.Second, h.Unwatched(key))
	})
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		publish(t, h, client{}).send(av)
		time.Sleep(time.Minute)
		assert.Equal(t, time.Minute, h.Unwatched(key), "nobody ever has")
	})
}

// Those who wait are refused with the reason; who comes later waits anew, and that is told.
func TestGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWitness(t)
		h := newHub(t, hub.Config{Observe: w.observe})
		h.GiveUp(key, &hub.Refusal{Reason: hub.ReasonNotFound}) // nobody is there
		why := &hub.Refusal{Reason: hub.ReasonDenied, Detail: "the origin says no"}
		a, first := waiting(t, h, hub.WatchOptions{})
		b, second := waiting(t, h, hub.WatchOptions{})
		synctest.Wait()
		h.GiveUp(key, why)
		assert.Equal(t, why, <-first)
		assert.Equal(t, why, <-second)
		c, third := waiting(t, h, hub.WatchOptions{}) // while the others are not closed yet
		synctest.Wait()
		story := strings.Split(w.tell(), ", ")
		slices.Sort(story[1:4]) // who is refused tells that himself
		assert.Equal(t, []string{"wanted", "refused (denied)", "refused (denied)", "unwanted", "wanted"}, story)
		a.Close()
		b.Close()
		synctest.Wait()
		assert.Empty(t, third, "it waits on")
		publish(t, h, client{}).send(av)
		assert.NoError(t, <-third)
		assert.NotEmpty(t, c.read())
		assert.Zero(t, h.Draining())
	})
}

// A stream with a publisher, or with one that may come back, is left alone.
func TestGiveUpLeavesStreamsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		_, done := waiting(t, h, hub.WatchOptions{}) // for the first frame
		synctest.Wait()
		h.GiveUp(key, &hub.Refusal{Reason: hub.ReasonNotFound})
		p.send(av)
		assert.NoError(t, <-done)
		p.Close()
		_, late := waiting(t, h, hub.WatchOptions{})
		synctest.Wait()
		h.GiveUp(key, &hub.Refusal{Reason: hub.ReasonNotFound})
		publish(t, h, client{}).send(av)
		assert.NoError(t, <-late)
	})
}

// A publisher that comes as those who wait are given up: each of them is refused, or gets the
// stream, and who was refused is nowhere.
func TestGiveUpAsAPublisherComes(t *testing.T) {
	for range 50 {
		h := hub.New(hub.Config{})
		const viewers = 4
		answers := make(chan error, viewers)
		var group sync.WaitGroup
		for range viewers {
			group.Go(func() {
				v, err := h.Watch(viewer(h, key), hub.WatchOptions{})
				if !assert.NoError(t, err) {
					return
				}
				defer v.Close()
				answers <- v.Wait(t.Context())
			})
		}
		group.Go(func() { h.GiveUp(key, &hub.Refusal{Reason: hub.ReasonNotFound, Detail: "given up"}) })
		p, err := h.Publish(publisher(h, key), hub.PublishOptions{})
		require.NoError(t, err)
		for _, w := range []string{"meta:av", "vc:s", "ac:c", "K:1@0", "A:1@0"} {
			require.NoError(t, p.Write(tag(w)))
		}
		group.Wait()
		close(answers)
		for err := range answers {
			if err != nil {
				assert.EqualError(t, err, "not found: given up")
			}
		}
		assert.Zero(t, info(t, h).Viewers)
		assert.True(t, h.Live(key))
		p.Close()
		require.NoError(t, h.Shutdown(t.Context()))
		assert.Zero(t, h.Draining())
	}
}

// Who may bring a stream says for how long it is worth waiting.
func TestLocate(t *testing.T) {
	for _, test := range []struct {
		name            string
		wait, says, has time.Duration
	}{
		{"longer", time.Second, 20 * time.Second, 20 * time.Second},
		{"no longer", 5 * time.Second, time.Second, 5 * time.Second},
		{"nothing", 5 * time.Second, 0, 5 * time.Second},
		{"though nobody waits otherwise", -1, 2 * time.Second, 2 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := hub.Key{}
				h := newHub(t, hub.Config{ViewerWait: test.wait, Locate: func(k hub.Key) time.Duration {
					asked = k
					return test.says
				}})
				began := time.Now()
				v := newSink(t, h, hub.WatchOptions{})
				assert.Equal(t, hub.ReasonNotFound, reasonOf(t, v.Wait(t.Context())))
				assert.Equal(t, test.has, time.Since(began))
				assert.Equal(t, key, asked)
			})
		})
	}
}

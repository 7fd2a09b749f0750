package hub_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// Whether a second publisher gets the stream.
func TestSecondPublisher(t *testing.T) {
	const silence = 1500 * time.Millisecond
	for _, test := range []struct {
		name          string
		first, second string // identities
		silent        time.Duration
		busy          bool
	}{
		{"refused", "", "", 0, true},
		{"refused while the first one sends", "", "", silence - time.Millisecond, true},
		{"takes over when the first one is silent", "", "", silence, false},
		{"takes over with the same identity", "secret", "secret", 0, false},
		{"refused with another identity", "secret", "Secret", 0, true},
		{"refused with a part of the identity", "secret", "sec", 0, true},
		{"refused with no identity", "secret", "", 0, true},
		{"refused with an identity where the first one has none", "", "secret", 0, true},
		{"refused with another identity while the first one may come back", "secret", "other", 8*time.Second - 1, true},
		{"takes over with another identity when the first one is silent for long", "secret", "other", 8 * time.Second, false},
		{"takes over with no identity when the first one is silent for long", "secret", "", 8 * time.Second, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, hub.Config{})
				first := publish(t, h, client{Identity: test.first, Remote: "10.0.0.1:1"})
				time.Sleep(time.Minute)
				first.send(av) // silence counts from here
				time.Sleep(test.silent)

				second, err := tryPublish(t, h, client{Identity: test.second, Remote: "10.0.0.2:2"})
				if test.busy {
					assert.Equal(t, hub.ReasonBusy, reasonOf(t, err))
					first.send("P:2@40")
					assert.Empty(t, first.ended)
					assert.Equal(t, "10.0.0.1:1", info(t, h).Publisher)
					return
				}
				require.NoError(t, err)
				assert.Equal(t, []hub.Reason{hub.ReasonReplaced}, first.ended)
				assert.Equal(t, hub.ReasonReplaced, reasonOf(t, first.Write(tag("P:2@40"))))
				assert.Equal(t, "10.0.0.2:2", info(t, h).Publisher)
				second.send("P:2@40")
				assert.Empty(t, second.ended)
			})
		})
	}
}

// A publisher that has not sent anything yet is not silent before its time either.
func TestSilenceCountsFromTheBeginning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		publish(t, h, client{})
		time.Sleep(1400 * time.Millisecond)
		_, err := tryPublish(t, h, client{})
		assert.Equal(t, hub.ReasonBusy, reasonOf(t, err))
		time.Sleep(100 * time.Millisecond)
		publish(t, h, client{})
	})
}

// Viewers see one timeline through a take-over, and nothing that the replaced
// publisher does afterwards touches the new one.
func TestTakeOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		first := publish(t, h, client{})
		first.send("meta:av vc:s ac:c K:1@5000 A:1@5000 P:2@5040 A:2@5023")
		v := watch(t, h, hub.WatchOptions{FixedCodecs: true})
		assert.Equal(t, "meta:av@0 vc:s@0 ac:c@0 K:1@0 A:1@0 P:2@40 A:2@23", v.read())

		time.Sleep(2 * time.Second)
		second := publish(t, h, client{})
		second.send("meta:av vc:s ac:c K:3@0 A:3@0")
		first.Close()
		first.Close()
		assert.Equal(t, hub.ReasonReplaced, reasonOf(t, first.Write(tag("K:x@5080"))))
		second.send("P:4@40 A:4@23")

		assert.Equal(t, "K:3@80 A:3@80 P:4@120 A:4@103", v.read())
		assert.Equal(t, "live", info(t, h).State)
		assert.Len(t, first.ended, 1)
		time.Sleep(time.Minute)
		assert.Equal(t, "live", info(t, h).State, "no grace timer of the first one")
	})
}

// A publisher that closed itself is not told of its end.
func TestClosedPublisher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.Close()
		assert.Equal(t, hub.ReasonClientLeft, reasonOf(t, p.Write(tag("K:1"))))
		publish(t, h, client{})
		require.NoError(t, h.Shutdown(t.Context()))
		assert.Empty(t, p.ended)
	})
}

// wakeFunc is a hub.Waker.
type wakeFunc func()

func (f *wakeFunc) Wake() { (*f)() }

// Whoever learns of the end of a stream first: a Write meets the true reason.
func TestWriteAtShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.send(av)
		v := watch(t, h, hub.WatchOptions{})
		var met error
		w := wakeFunc(func() {
			met = p.Write(tag("P:2@40"))
			v.Close()
		})
		v.Stream().AddWaker(&w)
		require.NoError(t, h.Shutdown(t.Context()))
		assert.Equal(t, hub.ReasonShuttingDown, reasonOf(t, met))
		assert.Equal(t, []hub.Reason{hub.ReasonShuttingDown}, p.ended)
	})
}

// Wakers are told of every packet and of the end, until they are removed.
func TestWakers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{PublisherGrace: -1})
		p := publish(t, h, client{})
		p.send(av)
		v := watch(t, h, hub.WatchOptions{})
		woken, others := 0, 0
		w, other := wakeFunc(func() { woken++ }), wakeFunc(func() { others++ })
		v.Stream().AddWaker(&w)
		v.Stream().AddWaker(&other)
		for i, sent := range []string{"P:2@40", "A:2@23", "K:3@80", "vc:s P:4@120", "text:x@120"} {
			p.send(sent)
			assert.Equal(t, i+1, woken, sent)
		}
		v.Stream().RemoveWaker(&other)
		before := others
		v.Pause(true)
		v.Pause(false)
		assert.Equal(t, 6, woken, "there may be something due")
		p.Close()
		assert.Equal(t, 7, woken, "the end")
		assert.Equal(t, before, others)
	})
}

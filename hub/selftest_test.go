package hub_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

func TestIsCheck(t *testing.T) {
	for name, want := range map[string]bool{
		hub.CheckName([16]byte{}):                        true,
		hub.CheckName([16]byte{0x01, 0xfe, 15: 0xa9}):    true,
		"sluice-check-0123456789abcdef0123456789abcdef":  true,
		"sluice-check-0123456789ABCDEF0123456789abcdef":  false,
		"sluice-check-0123456789abcdef0123456789abcde":   false,
		"sluice-check-0123456789abcdef0123456789abcdef0": false,
		"sluice-check-": false,
		"x-sluice-check-0123456789abcdef0123456789abcdef": false,
		"sluice-check-0123456789abcdeg0123456789abcdef":   false,
		"demo": false,
	} {
		assert.Equal(t, want, hub.Key{App: "live", Name: name}.IsCheck(), name)
	}
	assert.Equal(t, "sluice-check-01fe00000000000000000000000000a9", hub.CheckName([16]byte{0x01, 0xfe, 15: 0xa9}))
	assert.False(t, hub.Key{App: "sluice-check-0123456789abcdef0123456789abcdef", Name: "a"}.IsCheck())
}

// checkKey returns the key of a self-test's stream.
func checkKey(n byte) hub.Key { return hub.Key{App: "live", Name: hub.CheckName([16]byte{n})} }

// Self-tests are few at a time, whichever way their streams end, and one that was refused leaves
// nothing behind.
func TestSelfTestsAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		publish := func(n byte) (*hub.Publisher, error) {
			return h.Publish(publisher(h, checkKey(n)), hub.PublishOptions{})
		}
		for round := range 3 {
			var all []*hub.Publisher
			for n := range byte(8) {
				p, err := publish(n)
				require.NoError(t, err, "round %d", round)
				all = append(all, p)
			}
			_, err := publish(8)
			assert.Equal(t, hub.ReasonTooMany, reasonOf(t, err))
			assert.Len(t, h.Streams(), 8)
			_, err = publish(0)
			assert.Equal(t, hub.ReasonBusy, reasonOf(t, err))
			other, err := h.Publish(publisher(h, key), hub.PublishOptions{})
			require.NoError(t, err, "others are not bounded by them")
			other.Close()
			time.Sleep(time.Minute)
			for _, p := range all {
				p.Close()
			}
			assert.Empty(t, h.Streams(), "they have no grace time")
		}
		v, err := h.Watch(viewer(h, checkKey(1)), hub.WatchOptions{})
		require.NoError(t, err)
		p, err := publish(1)
		require.NoError(t, err, "waited for")
		p.Close()
		v.Close()
	})
}

// A self-test is short, also where its publisher is replaced again and again by itself.
func TestSelfTestIsShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		var ended []*hub.Refusal
		began := time.Now()
		for round := range 13 {
			s := client{Identity: "x"}.session(h, hub.RolePublish, checkKey(1))
			p, err := h.Publish(s, hub.PublishOptions{End: func(why *hub.Refusal) { ended = append(ended, why) }})
			require.NoError(t, err)
			defer p.Close()
			v, err := h.Watch(viewer(h, checkKey(1)), hub.WatchOptions{})
			require.NoError(t, err)
			defer v.Close()
			if round == 12 {
				break
			}
			time.Sleep(10*time.Second - time.Millisecond)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Len(t, ended, 13)
		assert.Equal(t, hub.ReasonReplaced, ended[11].Reason)
		assert.Equal(t, hub.ReasonTooMany, ended[12].Reason)
		assert.Equal(t, "a self-test may last 2m0s", ended[12].Detail)
		assert.Less(t, time.Since(began), 3*time.Minute+time.Second)
		assert.Empty(t, h.Streams())
	})
}

// Figures by name leave them out.
func TestSelfTestIsNotAmongTheMostWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p, err := h.Publish(publisher(h, checkKey(1)), hub.PublishOptions{})
		require.NoError(t, err)
		defer p.Close()
		assert.Empty(t, h.MostWatched(10))
	})
}

package hub_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// pull publishes as one that stands in for others.
func pull(t *testing.T, h *hub.Hub, c client) (*source, error) {
	return standIn(t, h, c, false)
}

// copied publishes what is published at another of several servers.
func copied(t *testing.T, h *hub.Hub, c client) (*source, error) {
	return standIn(t, h, c, true)
}

func standIn(t *testing.T, h *hub.Hub, c client, copies bool) (*source, error) {
	s := &source{t: t}
	p, err := h.Publish(c.session(h, hub.RolePublish, key), hub.PublishOptions{
		Yields: true, Copies: copies, End: func(r *hub.Refusal) { s.ended = append(s.ended, r.Reason) },
	})
	s.Publisher = p
	if err == nil {
		t.Cleanup(p.Close)
	}
	return s, err
}

// A copy of what another server has gives way to a pull of this one's, which brings the stream itself; not the other way
// round, and not to another copy.
func TestCopyGivesWayToPull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		first, err := copied(t, h, client{})
		require.NoError(t, err)
		first.send(av)
		v := watch(t, h, hub.WatchOptions{FixedCodecs: true})
		v.read()
		_, err = copied(t, h, client{})
		assert.Equal(t, hub.ReasonBusy, reasonOf(t, err))
		_, own, _ := h.Head(key)
		assert.False(t, own)

		next, err := pull(t, h, client{})
		require.NoError(t, err)
		assert.Equal(t, []hub.Reason{hub.ReasonReplaced}, first.ended)
		next.send("meta:av vc:s ac:c K:2@7000 A:2@7000")
		assert.Equal(t, "K:2@20 A:2@20", v.read())
		_, own, _ = h.Head(key)
		assert.True(t, own)
		assert.True(t, h.PublisherOf(key).Yields())
		_, err = copied(t, h, client{})
		assert.Equal(t, hub.ReasonBusy, reasonOf(t, err))
	})
}

// Another publisher has the stream at once, on one timeline; one that yields has nobody's.
func TestYields(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		first, err := pull(t, h, client{Identity: "x"})
		require.NoError(t, err)
		first.send(av)
		v := watch(t, h, hub.WatchOptions{FixedCodecs: true})
		assert.Equal(t, "meta:av@0 vc:s@0 ac:c@0 K:1@0 A:1@0", v.read())
		time.Sleep(time.Hour)
		_, err = pull(t, h, client{Identity: "x"})
		assert.Equal(t, hub.ReasonBusy, reasonOf(t, err), "another one that yields, though it shows the same and the first is silent")

		own := publish(t, h, client{})
		assert.Equal(t, []hub.Reason{hub.ReasonReplaced}, first.ended)
		own.send("meta:av vc:s ac:c K:2@7000 A:2@7000")
		assert.Equal(t, "K:2@20 A:2@20", v.read())
		for _, silence := range []time.Duration{0, time.Hour} {
			time.Sleep(silence)
			_, err = pull(t, h, client{})
			assert.Equal(t, hub.ReasonBusy, reasonOf(t, err), "silent for %v", silence)
		}
		assert.Empty(t, own.ended)

		own.Close() // while it may come back, a stand-in does
		assert.Equal(t, "grace", info(t, h).State)
		again, err := pull(t, h, client{})
		require.NoError(t, err)
		again.send("meta:av vc:s ac:c K:3@1000 A:3@1000")
		assert.Equal(t, "K:3@40 A:3@40", v.read())
		assert.Equal(t, "live", info(t, h).State)
		again.Close()
		v.read()
		assert.Equal(t, hub.ReasonUnpublished, v.end, "without a grace time")
		v.Close()
		assert.Empty(t, h.Streams())
	})
}

// However it ends, there is no grace time.
func TestYieldingEnds(t *testing.T) {
	for name, end := range map[string]func(h *hub.Hub, p *source){
		"it leaves": func(_ *hub.Hub, p *source) { p.Close() },
		"it fails":  func(_ *hub.Hub, p *source) { p.End(&hub.Refusal{Reason: hub.ReasonConnection}) },
		"it is kicked": func(h *hub.Hub, _ *source) {
			h.Dismiss(func(s *hub.Session) bool { return s.Role() == hub.RolePublish }, &hub.Refusal{Reason: hub.ReasonKicked})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, hub.Config{})
				p, err := pull(t, h, client{})
				require.NoError(t, err)
				p.send(av)
				v := watch(t, h, hub.WatchOptions{})
				end(h, p)
				v.read()
				assert.Equal(t, hub.ReasonUnpublished, v.end)
			})
		})
	}
}

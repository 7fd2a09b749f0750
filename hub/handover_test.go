package hub_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// Publishers leave, asked to or ended, and viewers stay: who waits for a publisher that left gets the copy of what goes on elsewhere.
func TestHandOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{ViewerWait: time.Hour})
		publish := func(name string, opts hub.PublishOptions) chan *hub.Refusal {
			ended := make(chan *hub.Refusal, 1)
			opts.End = func(why *hub.Refusal) { ended <- why }
			p, err := h.Publish(publisher(h, hub.Key{App: "live", Name: name}), opts)
			require.NoError(t, err)
			t.Cleanup(p.Close)
			return ended
		}
		asked := 0
		able := publish("able", hub.PublishOptions{Move: func() bool { asked++; return true }})
		unable := publish("unable", hub.PublishOptions{Move: func() bool { return false }})
		own := publish("own", hub.PublishOptions{})
		at := func(name string) hub.Key { return hub.Key{App: "live", Name: name} }
		held, err := h.Watch(viewer(h, at("unable")), hub.WatchOptions{})
		require.NoError(t, err)
		defer held.Close()
		waits, err := h.Watch(viewer(h, at("waits")), hub.WatchOptions{})
		require.NoError(t, err)
		defer waits.Close()
		a, e := h.HandOver()
		assert.Equal(t, []int{1, 1, 1}, []int{a, e, asked})
		assert.Equal(t, hub.ReasonShuttingDown, (<-unable).Reason)
		refusesAll(t, h)
		_, err = h.Publish(publisher(h, at("pulled")), hub.PublishOptions{Yields: true})
		assert.Equal(t, hub.ReasonShuttingDown, reasonOf(t, err))
		assert.True(t, h.IsLeft(at("able")))
		assert.True(t, h.IsLeft(at("unable")), "a viewer is held")
		assert.False(t, h.IsLeft(at("own")), "it is no client's")
		assert.False(t, h.IsLeft(at("nothing")))

		_, _, err = h.Yield(at("able"), hub.Claimant{Proof: []byte("another"), ProofKey: []byte("key")})
		assert.Equal(t, hub.ReasonBusy, reasonOf(t, err))
		_, _, err = h.Yield(at("able"), hub.Claimant{})
		assert.NoError(t, err, "it may be itself")
		assert.Equal(t, hub.ReasonReplaced, (<-able).Reason)
		assert.False(t, h.IsLeft(at("able")))
		for _, name := range []string{"unable", "waits"} {
			copied, err := h.Publish(publisher(h, at(name)), hub.PublishOptions{Yields: true, Copies: true})
			require.NoError(t, err)
			defer copied.Close()
			for _, w := range []string{"vc:1", "P:1"} {
				assert.True(t, h.IsLeft(at(name)), "its viewer sees nothing of it yet")
				require.NoError(t, copied.Write(tag(w)))
			}
			require.NoError(t, copied.Write(tag("K:2@40")))
			assert.False(t, h.IsLeft(at(name)))
		}
		a, e = h.HandOver()
		assert.Zero(t, a+e, "nobody is left")
		assert.Empty(t, own)
		h.RefuseNew()
		_, err = h.Publish(publisher(h, at("late")), hub.PublishOptions{Yields: true, Copies: true})
		assert.Equal(t, hub.ReasonShuttingDown, reasonOf(t, err))
		h.HandOver()
		assert.True(t, h.RefusesNew())
	})
}

// Of two publishers who cannot move none follows the other.
func TestHandOverOfBackup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var switched int
		h := newHub(t, hub.Config{Observe: func(e hub.Event) {
			if e.Kind == hub.EventSwitched {
				switched++
			}
		}})
		for _, backup := range []bool{false, true} {
			p, err := h.Publish(client{Identity: "a", Backup: backup}.session(h, hub.RolePublish, key), hub.PublishOptions{Move: func() bool { return false }})
			require.NoError(t, err)
			defer p.Close()
		}
		_, ended := h.HandOver()
		synctest.Wait()
		assert.Equal(t, 2, ended)
		assert.Zero(t, switched)
		assert.Equal(t, "grace", h.Streams()[0].State)
	})
}

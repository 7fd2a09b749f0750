package hub_test

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
)

// Who knows that there is no sound says so, and nobody waits for it; if it comes all the same, it is
// taken.
func TestLacks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p, err := pull(t, h, client{})
		require.NoError(t, err)
		p.Lacks(flv.TypeAudio)
		p.send("vc:s K:1@0 P:2@40")
		v, err := h.Watch(viewer(h, key), hub.WatchOptions{})
		require.NoError(t, err)
		defer v.Close()
		started, err := v.TryStart()
		require.NoError(t, err)
		assert.True(t, started, "without the second that a track may take to show")
		audio, video := v.Tracks()
		assert.False(t, audio)
		assert.True(t, video)
		p.send("ac:c A:1@80 K:3@80")
		both := watch(t, h, hub.WatchOptions{})
		assert.Contains(t, both.read(), "meta:av")
	})
}

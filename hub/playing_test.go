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

// A session that plays a recording is told of as one that watches is: once when it begins,
// and once when it ends. A shutdown waits for it.
func TestPlayingSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events []hub.Event
		h := newHub(t, hub.Config{Observe: func(e hub.Event) { events = append(events, e) }})
		player := h.NewSession(hub.RoleWatch, key, hub.Client{Protocol: "http-file", Recording: "20261128T170500.123Z"})
		require.NoError(t, player.Begin())
		assert.Error(t, player.Begin())
		time.Sleep(3 * time.Second)
		player.End(&hub.Refusal{Reason: hub.ReasonComplete}, 1000, 0)
		player.End(&hub.Refusal{Reason: hub.ReasonClientLeft}, 2000, 0)
		synctest.Wait()
		require.Len(t, events, 2)
		joined, left := events[0], events[1]
		assert.Equal(t, hub.EventJoined, joined.Kind)
		assert.Equal(t, "20261128T170500.123Z", joined.Session.Client().Recording)
		assert.Equal(t, hub.EventLeft, left.Kind)
		assert.Equal(t, hub.ReasonComplete, left.Reason)
		assert.Equal(t, uint64(1000), left.Bytes)
		assert.Equal(t, 3*time.Second, left.Duration)

		last := h.NewSession(hub.RoleWatch, key, hub.Client{Protocol: "http-file"})
		require.NoError(t, last.Begin())
		down := make(chan error)
		go func() { down <- h.Shutdown(context.Background()) }()
		<-h.Closing()
		synctest.Wait()
		select {
		case <-down:
			t.Fatal("it did not wait")
		default:
		}
		late := h.NewSession(hub.RoleWatch, key, hub.Client{Protocol: "http-file"})
		assert.Equal(t, hub.ReasonShuttingDown, reasonOf(t, late.Begin()))
		last.End(&hub.Refusal{Reason: hub.ReasonShuttingDown}, 0, 0)
		require.NoError(t, <-down)
		assert.Len(t, events, 5)
	})
}

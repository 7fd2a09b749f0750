package relay

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// When the server ends nothing has failed: no pull warns, tells a state that needs a look, or is tried again.
func TestPullsAtShutdown(t *testing.T) {
	t.Parallel()
	for _, rule := range []string{"pull: live/a rtmp://origin/live/a", "origin: live/* rtmp://origin/{app}/{name}"} {
		o := newOrigin(t, "upstream")
		publish(t, o.hub, &encoder{mark: 'a'}, 5*time.Millisecond)
		said, told := &pushLog{}, make(chan Event, 1000)
		e := newEdge(t, Config{Open: o.open, Idle: time.Minute, Logger: slog.New(slog.NewTextHandler(said, nil)), Told: func(ev Event) { told <- ev }}, rule)
		v := e.watch(t, hub.Client{})
		require.NoError(t, v.Wait(t.Context()))
		until(t, "it is live", func() bool { return e.state().State == Live })
		v.Close()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		require.NoError(t, e.hub.Shutdown(ctx))
		until(t, "it is idle", func() bool { return e.state().State == Idle })
		assert.NotContains(t, said.String(), "failed", rule)
		assert.EqualValues(t, 1, o.opens.Load(), rule)
		for len(told) > 0 {
			assert.NotContains(t, []State{BackingOff, Refused}, (<-told).State, rule)
		}
	}
}

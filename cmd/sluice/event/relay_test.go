package event

import (
	"encoding/json"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
	"sluice/hub/relay"
)

// Of relays it is told when they go live, and no longer are; not each try.
func TestRelayed(t *testing.T) {
	n, err := New(Config{Server: "here"})
	require.NoError(t, err)
	defer n.Close(t.Context())
	u, err := relay.ParseURL(relay.Push, "rtmps://u:s3cret@target.example/app/s3cret?k=s3cret")
	require.NoError(t, err)
	at := time.Unix(1_800_000_000, 0).UTC()
	e := relay.Event{Kind: relay.Push, Rule: "push-1", ConnectionInfo: relay.ConnectionInfo{
		Since: at, Key: hub.Key{App: "live", Name: "me"}, URL: u,
	}}
	for _, state := range []relay.State{
		relay.Idle, relay.Connecting, relay.BackingOff, relay.Connecting, relay.BackingOff, relay.Connecting, relay.Live, relay.Slow,
		relay.Live, relay.Held, relay.Live, relay.Refused, relay.Connecting, relay.Refused, relay.Idle, relay.Connecting, relay.Live,
	} {
		e.State, e.Detail = state, "why"
		n.Relayed(e)
	}
	e.Rule, e.State = "push-2", relay.Live
	n.Relayed(e)
	events, _, _ := n.Ring().Since(0, 100)
	var states []string
	for _, b := range events {
		var said struct {
			Type, Stream, Detail string
			Time                 time.Time
			Relay                Relay
		}
		require.NoError(t, json.Unmarshal(b, &said))
		assert.Equal(t, []any{"relay", "live/me", "why"}, []any{said.Type, said.Stream, said.Detail})
		assert.True(t, at.Equal(said.Time))
		assert.Equal(t, "push", said.Relay.Kind)
		assert.Equal(t, "rtmps://target.example/app/***", said.Relay.URL)
		assert.NotContains(t, string(b), "s3cret")
		states = append(states, said.Relay.ID+" "+said.Relay.State)
	}
	assert.Equal(t, []string{
		"push-1 backing off", "push-1 live", "push-1 held", "push-1 live", "push-1 refused", "push-1 idle", "push-1 live", "push-2 live",
	}, states)
}

// However many relays there are, what is known of them is bounded.
func TestRelayedIsBounded(t *testing.T) {
	var r relayed
	for i := range 2*maxRelayed + 1 {
		assert.True(t, r.take(relay.Event{Rule: "push-" + strconv.Itoa(i), ConnectionInfo: relay.ConnectionInfo{State: relay.Live}}))
		assert.LessOrEqual(t, len(r.last), maxRelayed)
	}
}

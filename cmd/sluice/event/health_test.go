package event

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
	"sluice/hub/monitor"
)

func TestHealth(t *testing.T) {
	n, err := New(Config{Server: "here"})
	require.NoError(t, err)
	defer n.Close(t.Context())
	s := hub.New(hub.Config{}).NewSession(hub.RolePublish, hub.Key{App: "live", Name: "me"}, hub.Client{Protocol: "rtmp", TCURL: "rtmp://x/live?key=s3cret"})
	at := time.Unix(1_800_000_000, 0).UTC()
	w := monitor.Event{Time: at, Session: s, Begins: true, Health: monitor.Health{Word: "too_slow", Sentence: "It is.", Hint: "Do."}}
	n.Watched(w)
	w.Begins = false
	n.Watched(w)
	events, _, _ := n.Ring().Since(0, 10)
	require.Len(t, events, 2)
	for i, begins := range []string{"true", "false"} {
		var e struct {
			Type, Stream string
			Time         time.Time
			Session      struct{ ID uint64 }
			Health       json.RawMessage
		}
		require.NoError(t, json.Unmarshal(events[i], &e))
		assert.Equal(t, []any{"health", "live/me", s.ID()}, []any{e.Type, e.Stream, e.Session.ID})
		assert.True(t, at.Equal(e.Time))
		assert.JSONEq(t, `{"word":"too_slow","sentence":"It is.","hint":"Do.","begins":`+begins+`}`, string(e.Health))
		assert.NotContains(t, string(events[i]), "s3cret")
	}
}

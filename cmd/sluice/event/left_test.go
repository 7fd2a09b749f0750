package event

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// The endpoint alone is told the end of a session that never began, under the name that it has
// given to it.
func TestLeft(t *testing.T) {
	p := new(endpoint)
	n, _ := begin(t, p, nil)
	h := hub.New(hub.Config{Disguise: func(hub.Key) string { return "live/#" }})
	key := hub.Key{App: "live", Name: "cam"}
	n.Left(h.NewSession(hub.RolePublish, hub.Key{App: "live", Name: "query-secret"}, client("rtmp")), key)
	n.Left(h.NewSession(hub.RoleWatch, key, client("http-flv")), key)
	end(n, time.Minute)
	taken := p.took()
	require.Len(t, taken, 2)
	for i, typ := range []Type{TypeUnpublish, TypeStop} {
		assert.Equal(t, typ, taken[i].Type)
		assert.Equal(t, "live/cam", taken[i].Stream)
		assert.Equal(t, "client left", taken[i].Reason)
		assert.Equal(t, "192.0.2.7:4711", taken[i].Session.Address)
		assert.Nil(t, taken[i].Ended)
	}
	events, _, _ := n.Ring().Since(0, 10)
	assert.Empty(t, events)

	n, _ = begin(t, nil, nil)
	n.Left(h.NewSession(hub.RoleWatch, key, client("http-flv")), key) // nobody is told
	end(n, time.Minute)
}

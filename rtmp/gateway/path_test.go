package gateway

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/hub"
	"sluice/rtmp"
)

// The properties are those of the hub.
func TestProperties(t *testing.T) {
	assert.Equal(t, hub.PathProperty, rtmp.PropertyPath)
	assert.Equal(t, hub.NodeProperty, rtmp.PropertyNode)
}

// A relay shows its path: a good one goes to the hub, which refuses a circle, and a bad one is
// refused.
func TestPaths(t *testing.T) {
	h := newRig(t, func(c *configs) { c.hub.Node = "here" })
	for _, tt := range []struct{ path, publish, play, reason, words string }{
		{"here", rtmp.CodePublishRejected, rtmp.CodePlayFailed, "loop", "(code=508)"},
		{"a,here,b", rtmp.CodePublishRejected, rtmp.CodePlayFailed, "loop", "(code=508)"},
		{"a b", rtmp.CodePublishBadName, rtmp.CodePlayFailed, "bad request", "path"},
		{strings.Repeat("x,", 16) + "x", rtmp.CodePublishBadName, rtmp.CodePlayFailed, "bad request", "path"},
		{strings.Repeat("x", 2000), rtmp.CodePublishBadName, rtmp.CodePlayFailed, "bad request", "path"},
	} {
		c := h.client
		c.Properties = amf.Object{{Name: hub.PathProperty, Value: tt.path}}
		_, err := c.Publish(t.Context(), h.url+"a")
		_, perr := c.Play(t.Context(), h.url+"a")
		for code, err := range map[string]error{tt.publish: err, tt.play: perr} {
			var status *rtmp.StatusError
			require.ErrorAs(t, err, &status, tt.path)
			assert.Equal(t, code, status.Code)
			assert.Contains(t, status.Description, tt.words)
			assert.Equal(t, tt.reason, status.Text(hub.ReasonProperty))
		}
	}

	c := h.client
	c.Properties = amf.Object{{Name: hub.PathProperty, Value: "a,b"}}
	pub, err := c.Publish(t.Context(), h.url+"a")
	require.NoError(t, err)
	info := pub.Server()
	assert.Equal(t, "here", info.Text(hub.NodeProperty))
	assert.Equal(t, []string{"a", "b"}, h.hub.Path(hub.Key{App: "live", Name: "a"}))
	require.NoError(t, pub.Close())
}

// A stream's end says why to those who ask for the reason: that nobody publishes any more is not
// that the server shuts down.
func TestEndsHaveReasons(t *testing.T) {
	for _, why := range []hub.Reason{hub.ReasonUnpublished, hub.ReasonShuttingDown} {
		h := newRig(t)
		pub, err := h.client.Publish(t.Context(), h.url+"a")
		require.NoError(t, err)
		require.NoError(t, pub.WriteTags([]flv.Tag{tag("meta:v"), tag("vc"), tag("K:1")}))
		play, err := h.client.Play(t.Context(), h.url+"a")
		require.NoError(t, err)
		if why == hub.ReasonUnpublished {
			require.NoError(t, pub.Close())
		} else {
			h.hub.Shutdown(endedContext())
		}
		for err = nil; err == nil; {
			_, err = play.ReadTag()
		}
		require.NotNil(t, play.Ending(), err)
		assert.Equal(t, why.String(), play.Ending().Text(hub.ReasonProperty))
		play.Close()
		pub.Close()
	}
}

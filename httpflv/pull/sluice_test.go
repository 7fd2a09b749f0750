package pull

import (
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
	"sluice/hub/relay"
)

var schemes = []string{"http", "https", "ws", "wss"}

func isEncrypted(scheme string) bool { return scheme == "https" || scheme == "wss" }

// What is published at a Sluice is what is pulled from it, whatever the way.
func TestPullFromSluice(t *testing.T) {
	for _, scheme := range schemes {
		t.Run(scheme, func(t *testing.T) {
			n := newNode(t, isEncrypted(scheme), nil)
			p := n.publish("demo")
			sent := tags(50)
			write(t, p, sent)
			s := open(t, opener(), relay.Opening{URL: at(t, n.URL, scheme, "/live/demo.flv"), Path: []string{"me"}})
			assert.Equal(t, nodeID, s.Node())
			assert.Equal(t, n.Listener.Addr().String(), s.Remote())
			assert.Equal(t, sent, read(t, s, len(sent)))
			audio, video, known := s.Tracks()
			assert.True(t, audio && video && known)
			require.False(t, s.Buffered())
			p.Close()
			assert.Equal(t, io.EOF, readEnd(s), "it is over")
			assert.Equal(t, io.EOF, readEnd(s))
			assert.False(t, s.Buffered())
			assert.NoError(t, s.Close())
			assert.NoError(t, s.Close())
		})
	}
}

// A server that stops has not ended the stream.
func TestPullFromSluiceThatStops(t *testing.T) {
	for _, scheme := range schemes {
		t.Run(scheme, func(t *testing.T) {
			n := newNode(t, isEncrypted(scheme), nil)
			p := n.publish("demo")
			write(t, p, tags(1))
			s := open(t, opener(), relay.Opening{URL: at(t, n.URL, scheme, "/live/demo.flv"), Path: []string{"me"}})
			read(t, s, 5)
			n.stop()
			err := readEnd(s)
			failsWith(t, err, relay.CauseConnection, "")
			assert.NotErrorIs(t, err, io.EOF)
			s.Close()
			err = openEnd(t, opener(), relay.Opening{URL: at(t, n.URL, scheme, "/live/demo.flv"), Path: []string{"me"}})
			failsWith(t, err, relay.CauseConnection, "")
		})
	}
}

// Refusals have their causes, over WebSocket too.
func TestPullFromSluiceThatRefuses(t *testing.T) {
	for _, scheme := range schemes {
		t.Run(scheme, func(t *testing.T) {
			n := newNode(t, isEncrypted(scheme), func(c *hub.Config) { c.ViewerWait = -1 })
			write(t, n.publish("demo"), tags(1))
			for _, c := range []struct {
				path  string
				nodes []string
				cause relay.Cause
			}{
				{"/live/nobody.flv", []string{"me"}, relay.CauseNotFound},
				{"/live/demo.flv", []string{"a", nodeID, "me"}, relay.CauseLoop},
				{"/live/demo.flv?track=x", []string{"me"}, relay.CauseDenied},
			} {
				failsWith(t, openEnd(t, opener(), relay.Opening{URL: at(t, n.URL, scheme, c.path), Path: c.nodes}), c.cause, "")
			}
		})
	}
}

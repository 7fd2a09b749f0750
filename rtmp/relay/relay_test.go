package relay

import (
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
	"sluice/hub/relay"
)

// A stream goes from a Sink through a Sluice to a Source as it is, in the clear and over TLS.
func TestSinkToSource(t *testing.T) {
	for _, encrypted := range []bool{false, true} {
		s := newSluice(t, hub.Config{Node: "middle"}, encrypted)
		sink := send(t, opener(), relay.Sending{URL: push(t, s.url("a")), Path: []string{"first"}})
		assert.Equal(t, flv.Shape{}, sink.Shape(), "as sent")
		assert.True(t, sink.Takes(flv.CodecAV1))
		assert.Equal(t, s.address, sink.Remote())
		tags := clip(43)
		require.NoError(t, sink.WriteTags(tags[:4]))

		source := open(t, opener(), relay.Opening{URL: pull(t, s.url("a")), Path: []string{"last"}})
		assert.Equal(t, "middle", source.Node())
		assert.Equal(t, s.address, source.Remote())
		require.NoError(t, sink.WriteTags(tags[4:]))
		for i, want := range frames(tags) {
			assert.Equal(t, want, nextFrame(t, source), i)
		}
		require.Eventually(t, func() bool {
			n, ok := sink.Unacknowledged()
			return !ok || n == 0
		}, 10*time.Second, time.Millisecond)
		assert.Equal(t, []string{"first"}, s.hub.Path(hub.Key{App: "live", Name: "a"}))
		require.NoError(t, sink.Close())
		<-sink.Ended()
		_, err := source.ReadTag()
		assert.Equal(t, io.EOF, err)
	}
}

// A server that is in the path refuses, in both directions.
func TestLoop(t *testing.T) {
	s := newSluice(t, hub.Config{Node: "here"}, false)
	path := []string{"here", "there"}
	_, err := opener().Open(t.Context(), relay.Opening{URL: pull(t, s.url("a")), Path: path})
	failed(t, err, relay.CauseLoop, "code=508")
	_, err = opener().Send(t.Context(), relay.Sending{URL: push(t, s.url("a")), Path: path})
	failed(t, err, relay.CauseLoop, "code=508")
}

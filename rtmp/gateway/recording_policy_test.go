package gateway

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
	"sluice/hub/archive"
	"sluice/rtmp"
)

// The app rec belongs to the recordings where there are some.
func TestAppOfRecordingsIsReserved(t *testing.T) {
	h, id := newRecordings(t, 1000)
	for _, tt := range []struct{ app, name, code string }{
		{"rec", "x", rtmp.CodePlayFailed},
		{"rec/live", id, rtmp.CodePlayFailed},
		{"rec/live/camera", "20261128T170500.001Z", rtmp.CodePlayStreamNotFound},
		{"rec/live/other", archive.Latest, rtmp.CodePlayStreamNotFound},
		{"rec/live/camera", "*", rtmp.CodePlayStreamNotFound},
		{"rec/live/camera", id + "?track=x", rtmp.CodePlayFailed},
	} {
		p := h.dial(tt.app)
		p.command(p.stream(), "play", 0.0, nil, tt.name)
		p.expectStatus(tt.code)
		p.expectEOF()
	}
	for _, app := range []string{"rec", "rec/live", "rec/live/camera"} {
		p := h.dial(app)
		p.command(p.stream(), "publish", 0.0, nil, "x", "live")
		p.expectStatus(rtmp.CodePublishBadName)
		p.expectEOF()
	}
	h.log.wait(t, "session refused", "role=publish", "the app rec is for recordings")
	h.log.wait(t, "session refused", "stream=live/camera", "recording=20261128T170500.001Z", `reason="not found"`)

	// An app that only looks like it is none, nor is rec without recordings.
	for _, h := range []*rig{h, newRig(t)} {
		url := strings.Replace(h.url, "/live/", "/recent/live/camera/", 1)
		if h.server.Handler.(*Handler).Archive == nil {
			url = strings.Replace(h.url, "/live/", "/rec/live/camera/", 1)
		}
		pub, err := h.client.Publish(t.Context(), url+id)
		require.NoError(t, err)
		(&publisher{pub, t}).send(start)
		player, err := h.client.PlayFrom(t.Context(), url+id, rtmp.PlayOptions{Start: time.Hour})
		require.NoError(t, err)
		(&player1{player, t}).expect("meta@0 vc:h264@0 ac:aac@0 K:1@0 A:2@10 P:3@40")
		player.Close()
		pub.Close()
	}
}

// The policy is asked about a recording, once for its length and its play.
func TestPolicyOfRecordings(t *testing.T) {
	type question struct{ recording, token string }
	asked := make(chan question, 100)
	events := make(chan hub.Event, 100)
	h, id := newRecordings(t, 3000, func(c *configs) {
		c.hub.Authorize = func(_ context.Context, s *hub.Session) (hub.Grant, error) {
			token := s.Client().Query.Get("token")
			asked <- question{s.Client().Recording, token}
			if token != "yes" {
				return hub.Grant{}, &hub.Refusal{Reason: hub.ReasonDenied, Detail: "no"}
			}
			return hub.Grant{}, nil
		}
		c.hub.Observe = func(e hub.Event) { events <- e }
	})
	length := func(p *peer, name string) any {
		p.command(0, "getStreamLength", 3.0, nil, name)
		return p.result(3)[3]
	}
	p := h.dial("rec/live/camera")
	assert.InDelta(t, 3, length(p, "latest?token=yes"), 0.2)
	assert.Equal(t, question{id, "yes"}, <-asked)
	p.playRecording("latest?token=yes")
	p.expect(saidBegin, "meta@0", headersAt(0), film(0, 3000), saidWhole)
	assert.Equal(t, hub.EventJoined, (<-events).Kind)
	p.Close()
	left := <-events
	assert.Equal(t, []any{hub.EventLeft, hub.ReasonComplete}, []any{left.Kind, left.Reason})
	assert.NotZero(t, left.Bytes)
	assert.Empty(t, asked, "asked twice")

	// A play that does not come, and one of something else.
	p = h.dial("rec/live/camera")
	assert.InDelta(t, 3, length(p, id+"?token=yes"), 0.2)
	<-asked
	assert.Equal(t, 0.0, length(p, "none?token=yes")) // not there
	<-asked
	assert.Equal(t, hub.EventRefused, (<-events).Kind)
	p.playRecording(id + "?token=yes")
	p.expect(saidBegin)
	<-asked
	assert.Equal(t, hub.EventRefused, (<-events).Kind)
	assert.Equal(t, hub.EventJoined, (<-events).Kind)
	assert.InDelta(t, 3, lengthAmongMedia(p, id+"?token=yes"), 0.2)
	<-asked
	p.Close()
	kinds := []hub.EventKind{(<-events).Kind, (<-events).Kind}
	assert.ElementsMatch(t, []hub.EventKind{hub.EventRefused, hub.EventLeft}, kinds)

	// Who may not watch it learns nothing of it, not even whether it is there.
	for _, name := range []string{id, "none"} {
		p = h.dial("rec/live/camera")
		assert.Equal(t, 0.0, length(p, name+"?token=no"))
		p.command(p.stream(), "play", 0.0, nil, name+"?token=no")
		p.expectStatus(rtmp.CodePlayFailed)
		p.expectEOF()
		assert.Equal(t, question{name, "no"}, <-asked)
		assert.Equal(t, hub.ReasonDenied, (<-events).Reason)
	}
	assert.Empty(t, asked)
	assert.Empty(t, events)
	p = h.dial("live")
	assert.Equal(t, 0.0, length(p, "camera")) // live
}

// lengthAmongMedia asks for a length while media comes.
func lengthAmongMedia(p *peer, name string) any {
	p.command(0, "getStreamLength", 3.0, nil, name)
	return p.result(3)[3]
}

// A grant may name another stream: its recordings are played, and their length is told.
func TestGrantNamesStreamOfRecordings(t *testing.T) {
	asked := hub.Key{App: "live", Name: "alias"}
	h, id := newRecordings(t, 3000, func(c *configs) {
		c.hub.Authorize = func(context.Context, *hub.Session) (hub.Grant, error) { return hub.Grant{Key: camera}, nil }
		w, err := c.archive.Create(asked, recorded.Add(time.Hour), nil)
		require.NoError(t, err)
		write(t, w, packets(headersAt(0)+" "+film(0, 9000)))
		_, err = w.Finish(archive.StateFinished)
		require.NoError(t, err)
	})
	for _, name := range []string{"latest", id} {
		p := h.dial("rec/live/alias")
		p.command(0, "getStreamLength", 3.0, nil, name)
		assert.InDelta(t, 3, p.result(3)[3], 0.2)
		p.playRecording(name)
		p.expect(saidBegin, "meta@0", headersAt(0), film(0, 3000), saidWhole)
		p.playRecording(name)
		p.expect("4:2 0:2")
		p.Close()
	}
}

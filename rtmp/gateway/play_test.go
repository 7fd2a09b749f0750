package gateway

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv/amf"
	"sluice/hub"
	"sluice/rtmp"
)

// Players may come before their publisher.
func TestWaitingPlayer(t *testing.T) {
	h := newRig(t)
	answer := make(chan *player)
	go func() { answer <- h.play("demo") }()
	h.waitViewers(1)
	h.publish("demo").send(start)
	(<-answer).expect(started)
}

func TestViewerWaitExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newPipeRig(t, func(c *configs) { c.hub.ViewerWait = 7 * time.Second })
		began := time.Now()
		_, err := h.client.Play(t.Context(), h.url+"demo")
		refusedWith(t, err, rtmp.CodePlayStreamNotFound)
		assert.Equal(t, 7*time.Second, time.Since(began))
		synctest.Wait()
		assert.Empty(t, h.hub.Streams())
	})
}

// The refusal of a player that waits closes its connection too.
func TestRefusalClosesConnection(t *testing.T) {
	h := newRig(t, func(c *configs) { c.hub.ViewerWait = 20 * time.Millisecond })
	p := h.dial("live")
	p.command(p.stream(), "play", 5.0, nil, "demo", -1000.0)
	p.expectStatus(rtmp.CodePlayStreamNotFound)
	p.expectEOF()
	h.log.wait(t, "session refused", "role=watch", `reason="not found"`, "no publisher for live/demo within 20ms")
}

// A player that an operator ends is told so, and why, and not that the stream is over; one whose
// permission ends is told what it is told when the stream does.
func TestPlayerIsKicked(t *testing.T) {
	for _, test := range []struct {
		why        hub.Refusal
		code, text string // without a text it is the end of the stream
	}{
		{hub.Refusal{Reason: hub.ReasonKicked, Detail: "bad manners"}, rtmp.CodePlayFailed, "bad manners"},
		{hub.Refusal{Reason: hub.ReasonKicked}, rtmp.CodePlayFailed, "kicked"},
		{hub.Refusal{Reason: hub.ReasonExpired, Detail: "over"}, rtmp.CodePlayUnpublishNotify, ""},
	} {
		h := newRig(t)
		h.publish("demo").send(start)
		p := h.play("demo")
		p.expect(started)
		h.hub.Dismiss(func(s *hub.Session) bool { return s.Role() == hub.RoleWatch }, &test.why)
		_, err := p.ReadTag()
		if test.text == "" {
			assert.ErrorIs(t, err, io.EOF)
			continue
		}
		var status *rtmp.StatusError
		require.ErrorAs(t, err, &status)
		assert.Equal(t, test.code+" "+test.text, status.Code+" "+status.Description)
		h.log.wait(t, "session ends", "role=watch", "reason=kicked")
	}
}

func TestPlayerLeavesWhileWaiting(t *testing.T) {
	h := newRig(t)
	for _, leave := range []func(p *peer, stream uint32){
		func(p *peer, _ uint32) { p.Close() },
		func(p *peer, stream uint32) { p.command(0, "deleteStream", 0.0, nil, float64(stream)) },
		func(p *peer, stream uint32) { p.command(stream, "closeStream", 0.0, nil) },
	} {
		p := h.dial("live")
		stream := p.stream()
		p.command(stream, "play", 5.0, nil, "demo", 0.0)
		h.waitViewers(1)
		leave(p, stream)
		h.waitViewers(0)
		assert.Empty(t, h.hub.Streams())
	}
}

// A player that waits ends with the reason of its connection's end.
func TestWaitingPlayerIsCutOff(t *testing.T) {
	events := make(chan hub.Event, 10)
	h := newRig(t, func(c *configs) { c.hub.Observe = func(e hub.Event) { events <- e } })
	for _, test := range []struct {
		end    func(p *peer)
		reason hub.Reason
	}{
		{func(p *peer) { p.Close() }, hub.ReasonClientLeft},
		{func(p *peer) { p.Write([]byte("\x02\x00\x00\x00\x00\x00\x04\x01\x00\x00\x00\x00\x00\x00\x00\x00")) }, hub.ReasonProtocol},
		{func(*peer) { h.server.Close() }, hub.ReasonShuttingDown},
	} {
		p := h.dial("live")
		p.command(p.stream(), "play", 5.0, nil, "demo", 0.0)
		require.Equal(t, hub.EventWanted, (<-events).Kind)
		test.end(p)
		e := <-events
		assert.Equal(t, hub.EventRefused, e.Kind)
		assert.Equal(t, test.reason, e.Reason, e.Detail)
		require.Equal(t, hub.EventUnwanted, (<-events).Kind)
	}
}

// The end of a stream is told in all three ways.
func TestEndOfStream(t *testing.T) {
	h := newRig(t)
	pub := h.publish("demo")
	pub.send(start)
	h.waitLive("demo", 6)
	p := h.dial("live")
	stream := p.stream()
	p.command(stream, "play", 5.0, nil, "demo", -2000.0)
	assert.Equal(t, stream, p.expectStatus(rtmp.CodePlayReset))
	assert.Equal(t, stream, p.expectStatus(rtmp.CodePlayStart))
	assert.Equal(t, "vc:h264@0 ac:aac@0 K:1@0 A:2@10 P:3@40", p.tags(stream, 5))
	pub.Close()
	assert.Equal(t, stream, p.expectStatus(rtmp.CodePlayUnpublishNotify))
	p.expectEOF()
	assert.Equal(t, []byte{byte(stream)}, p.eofs)
	h.log.wait(t, "session ends", "role=watch", "stream=live/demo", "reason=unpublished")
	assert.Regexp(t, `reason=unpublished duration=\S+ bytes=[1-9]\d{2,}`, h.log.String())
}

// playing is a peer with a stream that has started.
func playing(t *testing.T, h *rig) (p *peer, stream uint32, pub *publisher) {
	pub = h.publish("demo")
	pub.send(start)
	h.waitLive("demo", 6)
	p = h.dial("live")
	stream = p.stream()
	p.command(stream, "play", 5.0, nil, "demo", -2000.0)
	require.Equal(t, "vc:h264@0 ac:aac@0 K:1@0 A:2@10 P:3@40", p.tags(stream, 5))
	return p, stream, pub
}

// A player that pauses gets nothing, and goes on at the live edge on a key frame.
func TestPause(t *testing.T) {
	// One worker serves both, the witness last: what the witness has, the pool has
	// held back from the other.
	h := newRig(t, func(c *configs) { c.pool.Workers = 1 })
	p, stream, pub := playing(t, h)
	witness := h.play("demo")
	witness.expect(started)
	at := 5040
	for _, command := range []string{"pause", "pauseRaw"} {
		p.command(stream, command, 0.0, nil, true, 40.0)
		p.expectStatus(rtmp.CodePauseNotify)
		next := func(kinds string) (sent, got string) {
			for _, kind := range kinds {
				at += 40
				sent += fmt.Sprintf("%c:x@%d ", kind, at)
				got += fmt.Sprintf("%c:x@%d ", kind, at-5000)
			}
			return sent, strings.TrimSpace(got)
		}
		missed, got := next("PKP")
		pub.send(missed)
		witness.expect(got)
		newest, got := next("KAP")
		pub.send(newest)
		witness.expect(got)
		p.command(stream, command, 0.0, nil, false, 40.0)
		p.expectStatus(rtmp.CodeUnpauseNotify)
		require.Equal(t, got, p.tags(stream, 3))
		more, got := next("PP")
		pub.send(more)
		witness.expect(got)
		require.Equal(t, got, p.tags(stream, 2))
	}
}

// A player that does not want a track does not get it; video begins again with a
// key frame.
func TestReceive(t *testing.T) {
	h := newRig(t)
	p, stream, pub := playing(t, h)
	p.command(stream, "receiveVideo", 0.0, nil, false)
	p.sync()
	pub.send("P:4@5080 A:5@5090 K:6@5120 P:7@5160 A:8@5170")
	require.Equal(t, "A:5@90 A:8@170", p.tags(stream, 2))
	p.command(stream, "receiveVideo", 0.0, nil, true)
	p.sync()
	pub.send("P:9@5200 A:10@5210 K:11@5240 P:12@5280")
	require.Equal(t, "A:10@210 K:11@240 P:12@280", p.tags(stream, 3))
	p.command(stream, "receiveAudio", 0.0, nil, false)
	p.sync()
	pub.send("A:13@5290 A:14@5310 P:15@5320")
	require.Equal(t, "P:15@320", p.tags(stream, 1))
	p.command(stream, "receiveAudio", 0.0, nil, true)
	p.sync()
	pub.send("A:16@5340")
	require.Equal(t, "A:16@340", p.tags(stream, 1))
}

// sync waits until the server has done everything that it was told. Media that
// comes meanwhile is lost.
func (p *peer) sync() {
	p.t.Helper()
	p.command(0, "sync", 99.0, nil)
	p.result(99)
}

// Several plays share a connection. The end of one is not that of the others.
func TestTwoPlaysOnOneConnection(t *testing.T) {
	h := newRig(t)
	p, one, pub := playing(t, h)
	other := h.publish("other")
	other.send(start)
	h.waitLive("other", 6)
	two := p.stream()
	p.command(two, "play", 6.0, nil, "other", -2000.0)
	require.Equal(t, "vc:h264@0 ac:aac@0 K:1@0 A:2@10 P:3@40", p.tags(two, 5))
	for range 50 {
		pub.send("A:one@5060")
		other.send("A:two@5060")
	}
	counts := map[string]int{}
	for range 100 {
		stream, _, word := p.next()
		counts[word]++
		assert.Equal(t, word == "A:one@60", stream == one)
	}
	assert.Equal(t, map[string]int{"A:one@60": 50, "A:two@60": 50}, counts)

	pub.Close()
	assert.Equal(t, one, p.expectStatus(rtmp.CodePlayUnpublishNotify))
	other.send("P:4@5080")
	assert.Equal(t, "P:4@80", p.tags(two, 1))
	// As players do when they are told. Otherwise the first play might be the last
	// one when the server ends it, and the connection with it.
	p.command(0, "deleteStream", 0.0, nil, float64(one))
	p.command(0, "deleteStream", 0.0, nil, float64(two))
	h.waitViewers(0)
	p.sync() // the connection is still there
	other.send("P:5@5120")

	three := p.stream() // and is good for more
	p.command(three, "play", 7.0, nil, "other", -2000.0)
	require.Equal(t, "vc:h264@0 ac:aac@0 K:1@0", p.tags(three, 3))
}

// play on a message stream that plays already changes to the other stream.
func TestPlayAnother(t *testing.T) {
	h := newRig(t)
	p, stream, pub := playing(t, h)
	other := h.publish("other")
	other.send("meta:v vc:x K:y@0")
	h.waitLive("other", 3)
	p.command(stream, "play", 6.0, nil, "other", -2000.0)
	assert.Equal(t, "vc:x@0 K:y@0", p.tags(stream, 2))
	h.waitViewers(1)
	pub.send("P:4@5080")
	other.send("P:z@40")
	assert.Equal(t, "P:z@40", p.tags(stream, 1))
	p.command(stream, "play2", 0.0, nil, amf.Object{{Name: "streamName", Value: "demo"}})
	assert.Equal(t, "vc:h264@0 ac:aac@0", p.tags(stream, 2))
}

// A player on the connection of a publisher: both go on, whoever ends.
func TestPublishAndPlayOnOneConnection(t *testing.T) {
	h := newRig(t)
	p, stream, pub := playing(t, h)
	second := p.stream()
	p.command(second, "publish", 6.0, nil, "mine", "live")
	assert.Equal(t, second, p.expectStatus(rtmp.CodePublishStart))
	require.Eventually(t, func() bool { return h.state("mine") == "live" }, 10*time.Second, time.Millisecond)
	p.command(second, "closeStream", 0.0, nil)
	p.sync()
	assert.Empty(t, h.state("mine"))
	pub.send("P:4@5080")
	assert.Equal(t, "P:4@80", p.tags(stream, 1))
}

// A player that takes nothing is ended, and its session says why.
func TestStalledPlayer(t *testing.T) {
	h := newRig(t, func(c *configs) { c.pool.WriteTimeout = 50 * time.Millisecond })
	pub := h.publish("demo")
	pub.send("meta:v vc:h264 K:" + strings.Repeat("x", 12<<20))
	p := h.dial("live")
	p.command(p.stream(), "play", 5.0, nil, "demo", -2000.0)
	h.log.wait(t, "session ends", "role=watch", "reason=stalled")
	h.waitViewers(0)
}

// A player that goes shows in its session, which ends it.
func TestPlayerVanishes(t *testing.T) {
	h := newRig(t)
	p, _, _ := playing(t, h)
	p.Close()
	h.waitViewers(0)
	h.log.wait(t, "session ends", "role=watch", `reason="client left"`)
}

// The same way over a connection that cannot be written to directly, without a
// goroutine that stays.
func TestPlayOverPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newPipeRig(t)
		pub := h.publish("demo")
		pub.send(start)
		p, leaves := h.play("demo"), h.play("demo")
		p.expect(started)
		leaves.expect(started)
		leaves.Close()
		time.Sleep(10 * time.Second)
		assert.Equal(t, 1, h.hub.Streams()[0].Viewers)
		pub.send("P:4@5080")
		p.expect("P:4@80")
		pub.Close()
		p.expectEnd(io.EOF)
		p.Close()
	})
}

// Whether somebody may watch is the hub's to say.
func TestDenied(t *testing.T) {
	h := newRig(t, func(c *configs) {
		c.hub.Authorize = func(_ context.Context, s *hub.Session) (hub.Grant, error) {
			assert.Equal(t, "rtmp", s.Protocol())
			return hub.Grant{}, &hub.Refusal{Reason: hub.ReasonDenied, Detail: "closed today"}
		}
	})
	_, err := h.client.Publish(t.Context(), h.url+"demo")
	refusedWith(t, err, rtmp.CodePublishDenied)
	_, err = h.client.Play(t.Context(), h.url+"demo")
	refusedWith(t, err, rtmp.CodePlayFailed)
	assert.ErrorContains(t, err, "closed today")
}

// A player that asks for a time gets that much on the stream's own clock, and then
// NetStream.Play.Stop (RTMP 1.0 §7.2.2.1).
func TestPlayDuration(t *testing.T) {
	h := newRig(t)
	publisher := h.publish("demo")
	publisher.send(start)
	p := h.dial("live")
	stream := p.stream()
	p.command(stream, "play", 5.0, nil, "demo", -1000.0, 1000.0)
	p.expectStatus(rtmp.CodePlayReset)
	p.expectStatus(rtmp.CodePlayStart)
	publisher.send("P:4@5960 A:5@5999 K:6@6000 A:7@6022")
	for _, want := range strings.Fields("vc:h264@0 ac:aac@0 K:1@0 A:2@10 P:3@40 P:4@960 A:5@999") {
		_, _, got := p.next()
		assert.Equal(t, want, got)
	}
	p.expectStatus(rtmp.CodePlayStop)
	p.expectEOF()
	assert.Equal(t, []byte{byte(stream)}, p.eofs)
	h.log.wait(t, "session ends", "complete")
	h.waitViewers(0)
	publisher.send("P:8@6040") // who goes on
}

package gateway

import (
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/hub"
	"sluice/rtmp"
)

// What is published comes to every player, which is told when it ends.
func TestPublishAndPlay(t *testing.T) {
	h := newRig(t)
	pub := h.publish("demo")
	pub.send(start)
	h.waitLive("demo", 6)
	first, second := h.play("demo"), h.play("demo.flv?token=x")
	first.expect(started)
	second.expect(started)
	for range 20 {
		pub.send("A:9@5060 P:10@5080")
		first.expect("A:9@60 P:10@80")
		second.expect("A:9@60 P:10@80")
	}
	require.NoError(t, pub.Close())
	first.expectEnd(io.EOF)
	second.expectEnd(io.EOF)
	h.waitViewers(0)
	h.log.wait(t, "session ends", "role=watch", "reason=unpublished")
	h.log.wait(t, "session ends", "role=publish", `reason="client left"`)
	assert.NotContains(t, h.log.String(), "token")
}

// waitLive waits until a stream can be joined: it has taken at least n tags.
func (h *rig) waitLive(name string, n int) {
	h.t.Helper()
	key := hub.Key{App: "live", Name: name}
	require.Eventually(h.t, func() bool {
		for _, s := range h.hub.Streams() {
			if s.Name == key.Name && s.State == "live" && s.BytesIn >= uint64(n*16) {
				return true
			}
		}
		return false
	}, 10*time.Second, time.Millisecond)
}

func TestBadNames(t *testing.T) {
	h := newRig(t)
	for _, name := range []string{"a*b", "%00", "a%5cb", "%ff", "..", "a%3cb%3e"} {
		_, err := h.client.Publish(t.Context(), h.url+name)
		refusedWith(t, err, rtmp.CodePublishBadName)
		_, err = h.client.Play(t.Context(), h.url+name)
		refusedWith(t, err, rtmp.CodePlayFailed)
	}
	assert.Empty(t, h.hub.Streams())
}

// A name that is being published is refused, and the connection closed: OBS and
// ffmpeg stop then.
func TestBusy(t *testing.T) {
	h := newRig(t)
	pub := h.publish("demo?token=a")
	pub.send(start)
	h.waitLive("demo", 6)
	for _, name := range []string{"demo", "demo?token=b"} {
		_, err := h.client.Publish(t.Context(), h.url+name)
		refusedWith(t, err, rtmp.CodePublishBadName)
	}
	raw := h.dial("live")
	raw.command(raw.stream(), "publish", 5.0, nil, "demo", "live")
	raw.expectStatus(rtmp.CodePublishBadName)
	raw.expectEOF()
	pub.send("P:4@5080")
	h.play("demo").expect(started + " P:4@80")
}

// Without a query, nothing proves that a publisher is the same.
func TestNoIdentityIsNone(t *testing.T) {
	h := newRig(t)
	h.publish("demo").send(start)
	_, err := h.client.Publish(t.Context(), h.url+"demo")
	refusedWith(t, err, rtmp.CodePublishBadName)
}

// Who shows the same secret takes over at once; players notice nothing.
func TestTakeOverBySameIdentity(t *testing.T) {
	h := newRig(t)
	old := h.publish("demo?token=a&x=1")
	old.send(start)
	h.waitLive("demo", 6)
	p := h.play("demo")
	p.expect(started)
	next := h.publish("demo?x=1&token=a")
	refusedWith(t, old.ended(), rtmp.CodePublishBadName)
	next.send("meta:av vc:h264 ac:aac K:5@0 A:6@10")
	p.expect("K:5@80 A:6@90")
	h.log.wait(t, "session ends", "role=publish", "reason=replaced", "another publisher took live/demo over")
}

// Who shows the same secret and backup=1 stands by, and players go on with it when the other leaves.
func TestBackup(t *testing.T) {
	h := newRig(t)
	main := h.publish("demo?token=a")
	main.send(start)
	h.waitLive("demo", 6)
	p := h.play("demo")
	p.expect(started)
	backup := h.publish("demo?token=a&backup=1")
	backup.send("meta:av vc:h264 ac:aac P:5@0 A:6@10")
	_, err := h.client.Publish(t.Context(), h.url+"demo?backup=1")
	refusedWith(t, err, rtmp.CodePublishBadName)
	main.send("P:4@5080")
	p.expect("P:4@80")
	assert.NotNil(t, h.hub.Streams()[0].Standby)
	require.NoError(t, main.Close())
	require.Eventually(t, func() bool { return h.hub.Streams()[0].State == "grace" }, 10*time.Second, time.Millisecond)
	backup.send("K:7@40 A:8@50")
	p.expect("K:7@120 A:8@130")
	h.log.wait(t, "session begins", "role=publish", "standby=true")
	h.log.wait(t, "stream goes on with the other publisher", "role=publish")
}

// Publishers who have announced that they can reconnect are asked to when the hub hands its streams over, the others are ended as at a
// shutdown, and so is everybody where nobody says what to ask.
func TestHandOver(t *testing.T) {
	for _, says := range []bool{true, false} {
		h := newRig(t)
		able := rtmp.Client{CanReconnect: true, Dial: h.client.Dial}
		first, err := able.Publish(t.Context(), h.url+"able?k=v")
		require.NoError(t, err)
		defer first.Close()
		second := h.publish("unable")
		if says {
			h.server.Handler.(*Handler).Reconnect = func(app string, secure bool) rtmp.Reconnect {
				return rtmp.Reconnect{TcURL: "rtmp://b/" + app}
			}
		}
		asked, ended := h.hub.HandOver()
		assert.Equal(t, 2, asked+ended)
		assert.Error(t, second.ended())
		h.log.wait(t, "session ends", "role=publish", "stream=live/unable", `reason="shutting down"`)
		if !says {
			assert.Zero(t, asked)
			continue
		}
		assert.Equal(t, 1, asked)
		assert.Equal(t, "rtmp://b/live/able?k=v", (<-first.Reconnects()).URL)
		require.NoError(t, first.WriteTag(tag("vc:h264")), "it goes on until it leaves")
	}
}

// A half-open connection does not hold a name for long.
func TestTakeOverOfSilentPublisher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newPipeRig(t)
		old := h.publish("demo")
		old.send("meta:v vc:h264 K:1@100")
		_, err := h.client.Publish(t.Context(), h.url+"demo")
		refusedWith(t, err, rtmp.CodePublishBadName)
		time.Sleep(2 * time.Second)
		next := h.publish("demo")
		refusedWith(t, old.ended(), rtmp.CodePublishBadName)
		next.send("meta:v vc:h264 K:2@0")
		p := h.play("demo")
		p.expect("meta@0 vc:h264@0 K:2@0")
		p.Close()
	})
}

// A publisher whose connection is lost in the middle of a message may come back
// within the grace time: its players were held, on one clock.
func TestPublisherComesBack(t *testing.T) {
	h := newRig(t, func(c *configs) { c.hub.PublisherGrace = time.Minute })
	pub := h.publish("demo")
	pub.send(start)
	h.waitLive("demo", 6)
	p := h.play("demo")
	p.expect(started)

	raw := h.dial("live")
	raw.command(raw.stream(), "publish", 5.0, nil, "other", "live")
	raw.expectStatus(rtmp.CodePublishStart)
	raw.write([]byte{4, 0, 0, 0, 0, 0xff, 0xff, 9, 1, 0, 0, 0, 0x17}) // a large message begins
	raw.Close()
	h.log.wait(t, "session ends", "stream=live/other", `reason="client left"`, "unexpected EOF")

	pub.Close()
	require.Eventually(t, func() bool { return h.state("demo") == "grace" }, 10*time.Second, time.Millisecond)
	pub = h.publish("demo")
	pub.send("meta:av vc:h264 ac:aac K:5@77 A:6@87")
	p.expect("K:5@80 A:6@90")
}

func (h *rig) state(name string) string {
	for _, s := range h.hub.Streams() {
		if s.Name == name {
			return s.State
		}
	}
	return ""
}

// Players of RTMP follow a change of codec: they are sent the new headers.
func TestCodecChange(t *testing.T) {
	h := newRig(t)
	pub := h.publish("demo")
	pub.send("meta:v vc:h264 K:1@0")
	h.waitLive("demo", 3)
	p := h.play("demo")
	p.expect("meta@0 vc:h264@0 K:1@0")
	pub.send("hc:hevc HK:2@40")
	var got []string
	for len(got) == 0 || got[len(got)-1] != "HK:2@40" {
		got = append(got, p.next())
	}
	assert.Contains(t, got, "hc:hevc@40")
}

// The end of a publisher's stream that the hub decided on is told with its reason.
func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newPipeRig(t)
		pub := h.publish("demo")
		pub.send(start)
		p := h.play("demo")
		p.expect(started)
		waiting := make(chan error, 1)
		go func() {
			_, err := h.client.Play(t.Context(), h.url+"later")
			waiting <- err
		}()
		synctest.Wait()
		began := time.Now()
		done := make(chan error, 2)
		go func() { done <- h.hub.Shutdown(t.Context()) }()
		go func() { done <- h.server.Shutdown(t.Context()) }()
		p.expectEnd(io.EOF)
		assert.Error(t, <-waiting)
		p.Close()
		assert.Error(t, pub.ended())
		pub.Close()
		assert.NoError(t, <-done)
		assert.NoError(t, <-done)
		assert.Less(t, time.Since(began), 5*time.Second)
		_, err := h.client.Publish(t.Context(), h.url+"demo")
		assert.Error(t, err)
	})
}

// Clients that do not close when they are told hold nothing up beyond a bound.
func TestShutdownWithDeafClients(t *testing.T) {
	h := newRig(t)
	pub := h.publish("demo")
	pub.send(start)
	h.waitLive("demo", 6)
	raw := h.dial("live")
	raw.command(raw.stream(), "play", 5.0, nil, "demo", -2000.0)
	raw.expectStatus(rtmp.CodePlayReset)
	raw.expectStatus(rtmp.CodePlayStart)
	other := h.dial("live")
	other.command(other.stream(), "play", 5.0, nil, "later", -2000.0)
	h.waitViewers(2)
	done := make(chan error, 2)
	go func() { done <- h.hub.Shutdown(t.Context()) }()
	go func() { done <- h.server.Shutdown(t.Context()) }()
	assert.NoError(t, <-done)
	assert.NoError(t, <-done)
	raw.expectStatus(rtmp.CodePlayUnpublishNotify)
	raw.expectEOF()
	other.expectStatus(rtmp.CodePlayUnpublishNotify)
	other.expectEOF()
}

// Statuses of what is no refusal stay as they are.
func TestStatus(t *testing.T) {
	other := errors.New("other")
	assert.Equal(t, other, publishStatus(other))
	err := playStatus(&hub.Refusal{Reason: hub.ReasonUnpublished})
	refusedWith(t, err, rtmp.CodePlayUnpublishNotify)
	var status *rtmp.StatusError
	require.ErrorAs(t, err, &status)
	assert.Equal(t, rtmp.LevelStatus, status.Level)
	assert.NotErrorIs(t, err, net.ErrClosed)
}

// An index of 6,000 key frames, as files have that are published in a loop, costs the
// metadata nothing else.
func TestIndexInMetadata(t *testing.T) {
	h := newRig(t)
	index := make(amf.StrictArray, 6000)
	for i := range index {
		index[i] = float64(i)
	}
	p := h.publish("demo")
	require.NoError(t, p.WriteTag(flv.Tag{Type: flv.TypeScript, Data: amf.AppendAMF0(nil, "onMetaData", amf.ECMAArray{
		{Name: "keyframes", Value: amf.Object{{Name: "times", Value: index}, {Name: "filepositions", Value: index}}},
		{Name: "width", Value: 640.0},
	})}))
	p.send("vc:h264 ac:aac K:1 A:2")
	first, err := h.play("demo").ReadTag()
	require.NoError(t, err)
	values, err := amf.DecodeAll(first.Data, amf.Limits{})
	require.NoError(t, err)
	width, _ := values[1].(amf.ECMAArray).Get("width")
	assert.Equal(t, 640.0, width)
}

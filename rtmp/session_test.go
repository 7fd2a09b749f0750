package rtmp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/rtmp/internal/chunk"
)

func TestConnectIsAnsweredInOneBatch(t *testing.T) {
	addr := serve(t, &Server{Handler: &house{}})
	p := dialPeer(t, addr)
	p.command(0, "connect", 1.0, amf.Object{{Name: "app", Value: "live"}})

	win, bw, size, result := p.read(), p.read(), p.read(), p.read()
	assert.Equal(t, []byte{0, 0x26, 0x25, 0xA0}, win.Payload)
	assert.Equal(t, uint8(typeWindowAckSize), win.Type)
	assert.Equal(t, []byte{0, 0x26, 0x25, 0xA0, limitDynamic}, bw.Payload)
	assert.Equal(t, uint8(typeSetPeerBW), bw.Type)
	assert.Equal(t, []byte{0, 0, 0xEA, 0x60}, size.Payload)
	assert.Equal(t, uint8(typeSetChunkSize), size.Type)
	for _, m := range []chunk.Message{win, bw, size} {
		assert.Equal(t, []uint32{csidControl, 0}, []uint32{m.ChunkStream, m.StreamID})
	}
	assert.Equal(t, []uint32{csidCommand, 0}, []uint32{result.ChunkStream, result.StreamID})
	v, err := amf.DecodeAll(result.Payload, amf.Limits{})
	require.NoError(t, err)
	assert.Equal(t, []any{"_result", 1.0,
		append(amf.Object{{Name: "fmsVer", Value: "FMS/3,0,1,123"}, {Name: "capabilities", Value: 31.0}}, announced...),
		amf.Object{
			{Name: "level", Value: "status"}, {Name: "code", Value: CodeConnectSuccess},
			{Name: "description", Value: "Connection succeeded."}, {Name: "objectEncoding", Value: 0.0},
		}}, v)

	p.command(0, "connect", 2.0, amf.Object{{Name: "app", Value: "live"}})
	p.wantStatus(0, LevelError, CodeCallFailed)
	p.sync()
}

func TestConnectRefusals(t *testing.T) {
	addr := serve(t, &Server{Handler: &house{}})
	for _, app := range []any{"", "live/../x", "a\x00", nil, strings.Repeat("x", maxArgument+1)} {
		p := dialPeer(t, addr)
		p.command(0, "connect", 1.0, amf.Object{{Name: "app", Value: app}})
		p.wantStatus(0, LevelError, CodeConnectInvalidApp)
		p.wantEOF()
	}
	p := dialPeer(t, addr) // the app is in tcUrl only
	p.command(0, "connect", 1.0, amf.Object{{Name: "tcUrl", Value: "rtmp://h/live"}})
	p.result(1)
}

func TestCommandsBeforeConnect(t *testing.T) {
	addr := serve(t, &Server{Handler: &house{}})
	p := dialPeer(t, addr)
	p.command(0, "createStream", 2.0, nil)
	p.wantStatus(0, LevelError, CodeCallFailed)
	p.command(1, "publish", 0.0, nil, "x")
	p.connect("live")
}

func TestCommandsAreAnswered(t *testing.T) {
	h := &house{}
	addr := serve(t, &Server{Handler: h})
	p := connected(t, addr, "live")
	for _, name := range []string{"releaseStream", "_checkbw"} {
		p.command(0, name, 5.0, nil, "x")
		assert.Equal(t, []any{"_result", 5.0, nil, amf.Undefined{}}, p.result(5), name)
	}
	p.command(0, "getStreamLength", 5.0, nil, "x")
	assert.Equal(t, []any{"_result", 5.0, nil, 0.0}, p.result(5))
	p.command(0, "whatever", 5.0, nil, "x")
	assert.Equal(t, []any{"_result", 5.0, nil, nil}, p.result(5))
	for _, v := range [][]any{{"whatever"}, {"whatever", "x"}, {"whatever", math.NaN()}, {1.0}, {nil}, {"_result", 1.0}, {"onStatus", 1.0}} {
		p.command(0, v...)
	}
	p.message(chunk.Message{Type: typeCommand})
	p.message(chunk.Message{Type: typeCommand, Payload: []byte{0x0B}})
	p.message(chunk.Message{Type: 99, Payload: []byte{0x0B}})
	// A broken tail does not void what came before it.
	p.message(chunk.Message{Type: typeCommand, Payload: append(amf.AppendAMF0(nil, "tail", 6.0, nil), 0x02, 0xFF)})
	p.result(6)
	// The AMF3 form, with and without its selector, and with values in AMF3.
	p.message(chunk.Message{Type: typeCommandAMF3, Payload: append([]byte{0}, amf.AppendAMF0(nil, "x", 8.0, nil)...)})
	p.result(8)
	p.message(chunk.Message{Type: typeCommandAMF3, Payload: amf.AppendAMF0(nil, "x", 9.0, nil)})
	p.result(9)
	p.message(chunk.Message{Type: typeCommand, Payload: append([]byte{0}, amf.AppendAMF0(nil, "x", 10.0, nil)...)})
	p.result(10)
	body := append([]byte{0}, amf.AppendAMF0(nil, "play", 0.0, nil)...)
	body = append(body, 0x11)
	p.message(chunk.Message{Type: typeCommandAMF3, StreamID: 1, Payload: amf.AppendAMF3(body, "three")})
	p.wantStatus(1, LevelStatus, CodePlayReset)
	assert.Equal(t, "live/three", h.playback(t, 0).req.Key())
}

// Encoders and players that announce a name are answered twice, in this order, before
// they publish or play, and are not told what is secret.
func TestAnnouncedNamesAreAcknowledged(t *testing.T) {
	addr := serve(t, &Server{Handler: &house{}})
	p := connected(t, addr, "live")
	for _, tt := range []struct{ command, notice, code string }{
		{"FCPublish", "onFCPublish", CodePublishStart},
		{"FCSubscribe", "onFCSubscribe", CodePlayStart},
	} {
		next := func() []any {
			msid, v := p.values()
			assert.Zero(t, msid)
			return v
		}
		notice := func(name string) []any {
			return []any{tt.notice, 0.0, nil, amf.Object{
				{Name: "code", Value: tt.code}, {Name: "description", Value: name}}}
		}
		p.command(0, tt.command, 5.0, nil, "x?token=secret")
		assert.Equal(t, []any{"_result", 5.0, nil, amf.Undefined{}}, next())
		assert.Equal(t, notice("x"), next())
		p.command(0, tt.command, 0.0, nil, "no transaction")
		assert.Equal(t, notice("no transaction"), next())
		p.command(0, tt.command, 6.0, nil, strings.Repeat("x", 4*maxShown))
		assert.Equal(t, 6.0, next()[1])
		assert.Equal(t, notice(strings.Repeat("x", maxShown)), next())
		p.command(0, tt.command, 7.0)
		assert.Equal(t, 7.0, next()[1])
		assert.Equal(t, notice(""), next())
	}
	assert.EqualValues(t, 1, p.createStream())
	p.command(1, "publish", 0.0, nil, "x", "live")
	p.wantStatus(1, LevelStatus, CodePublishStart)

	p = dialPeer(t, addr) // not connected yet
	p.command(0, "FCPublish", 2.0, nil, "x")
	p.wantStatus(0, LevelError, CodeCallFailed)
	p.command(0, "connect", 1.0, amf.Object{{Name: "app", Value: "live"}})
	_, v := p.values()
	assert.Equal(t, "_result", v[0], "nothing else was said")
}

func TestPlayCommands(t *testing.T) {
	h := &house{}
	addr := serve(t, &Server{Handler: h})
	p := connected(t, addr, "live")
	id := p.play("a")
	b := h.playback(t, 0)
	assert.Equal(t, -2000.0, b.req.Start)

	p.command(id, "pause", 0.0, nil, true, 100.0)
	p.wantStatus(id, LevelStatus, CodePauseNotify)
	assert.True(t, b.now().paused)
	p.command(id, "pauseRaw", 0.0, nil, false, 100.0)
	p.wantStatus(id, LevelStatus, CodeUnpauseNotify)
	p.command(id, "receiveVideo", 0.0, nil, false)
	p.command(id, "receiveVideo", 0.0, nil, true)
	p.wantStatus(id, LevelStatus, CodeSeekNotify)
	p.wantStatus(id, LevelStatus, CodePlayStart)
	p.command(id, "receiveAudio", 0.0, nil, false)
	p.command(id, "seek", 0.0, nil, 5000.0)
	p.wantStatus(id, LevelStatus, CodeSeekNotify)
	assert.True(t, b.now().noAudio)
	assert.False(t, b.now().noVideo)

	p.command(id, "play", 0.0, nil, "b", 0.0, -1.0, false) // closes the first
	p.wantStatus(id, LevelStatus, CodePlayReset)
	p.wantStatus(id, LevelStatus, CodePlayStart)
	assert.Equal(t, 1, b.now().closed)
	p.command(id, "play2", 0.0, nil, amf.Object{{Name: "oldStreamName", Value: "b"}, {Name: "streamName", Value: "c"}, {Name: "start", Value: 3.0}})
	p.wantStatus(id, LevelStatus, CodePlayReset)
	c := h.playback(t, 2)
	assert.Equal(t, []any{"live/c", 3.0}, []any{c.req.Key(), c.req.Start})

	// What is said of no playback is answered and does no harm.
	p.command(0, "deleteStream", 0.0, nil, float64(id))
	for _, name := range []string{"pause", "pauseRaw", "receiveAudio", "receiveVideo", "seek"} {
		p.command(id, name, 3.0, nil, true)
		p.result(3)
	}
	for i, b := range h.playbacks {
		assert.Equal(t, 1, b.now().closed, i)
	}
}

// The duration of play and play2 is in milliseconds, as librtmp and Flash Player send
// it, and none if it makes no sense.
func TestPlayDuration(t *testing.T) {
	h := &house{}
	addr := serve(t, &Server{Handler: h, MaxCommands: 1000})
	p := connected(t, addr, "live")
	id := p.createStream()
	for i, tt := range []struct {
		args []any // after start
		want time.Duration
	}{
		{nil, 0},
		{[]any{3000.0}, 3 * time.Second}, // rtmpdump --live --stop 3
		{[]any{3000.0, true}, 3 * time.Second},
		{[]any{1.5}, 1500 * time.Microsecond},
		{[]any{-1.0}, 0},
		{[]any{-1000.0}, 0},
		{[]any{0.0}, 0},
		{[]any{math.Copysign(0, -1)}, 0},
		{[]any{math.NaN()}, 0},
		{[]any{math.Inf(1)}, 0},
		{[]any{math.Inf(-1)}, 0},
		{[]any{math.MaxFloat64}, maxPlayDuration},
		{[]any{1e13}, maxPlayDuration},
		{[]any{1e-300}, 0},
		{[]any{"3000"}, 0},
		{[]any{true}, 0},
		{[]any{nil}, 0},
		{[]any{amf.Object{{Name: "len", Value: 3000.0}}}, 0},
	} {
		p.command(id, append([]any{"play", 0.0, nil, "a", -1000.0}, tt.args...)...)
		p.wantStatus(id, LevelStatus, CodePlayReset)
		assert.Equal(t, tt.want, h.playback(t, 2*i).req.Duration, "play %v", tt.args)
		options := amf.Object{{Name: "streamName", Value: "b"}}
		if len(tt.args) > 0 {
			options = append(options, amf.Property{Name: "len", Value: tt.args[0]})
		}
		p.command(id, "play2", 0.0, nil, options)
		assert.Equal(t, tt.want, h.playback(t, 2*i+1).req.Duration, "play2 %v", tt.args)
		p.wantStatus(id, LevelStatus, CodePlayStart)
		p.wantStatus(id, LevelStatus, CodePlayReset)
		p.wantStatus(id, LevelStatus, CodePlayStart)
	}
	p.publish("c")
	assert.Zero(t, h.publication(t, 0).req.Duration)
}

// The end of a play that was asked for a time: the stream goes on for others.
func TestPlayStop(t *testing.T) {
	h := &house{}
	addr := serve(t, &Server{Handler: h})
	p := connected(t, addr, "live")
	p.publish("a")
	id := p.play("a")
	b := h.playback(t, 0)
	require.NoError(t, b.stream.Send(b.stream.AppendPlayStop([]byte{})))
	b.stream.End(nil)
	assert.Equal(t, uint8(typeData), p.read().Type) // |RtmpSampleAccess
	eof := p.read()
	assert.Equal(t, []byte{0, eventStreamEOF, 0, 0, 0, byte(id)}, eof.Payload)
	assert.Equal(t, []any{uint8(typeUserControl), uint32(csidControl), uint32(0)}, []any{eof.Type, eof.ChunkStream, eof.StreamID})
	p.wantStatus(id, LevelStatus, CodePlayStop)
	h.wait(t, "close", func() bool { return b.closed == 1 })
	p.sync()
	assert.Empty(t, h.publication(t, 0).ends())

	// For our own player it is a proper end.
	var c Client
	player, err := c.Play(t.Context(), "rtmp://"+addr+"/live/a")
	require.NoError(t, err)
	defer player.Close()
	b = h.playback(t, 1)
	assert.Zero(t, b.req.Duration)
	p.message(chunk.Message{Type: typeAudio, StreamID: 1, Payload: []byte{0xAF, 1, 2}})
	h.publication(t, 0).written(t, 1)
	require.NoError(t, b.stream.Send(b.stream.AppendPlayStop(nil)))
	b.stream.End(nil)
	tag, err := player.ReadTag()
	require.NoError(t, err)
	assert.Equal(t, []byte{0xAF, 1, 2}, tag.Data)
	for range 2 {
		_, err = player.ReadTag()
		assert.Equal(t, io.EOF, err)
	}
}

func TestStreamsOfOneConnection(t *testing.T) {
	h := &house{}
	addr := serve(t, &Server{Handler: h, MaxStreams: 4})
	p := connected(t, addr, "live")
	a, b, viewer := p.publish("a"), p.publish("b"), p.play("a")
	assert.Equal(t, []uint32{1, 2, 3}, []uint32{a, b, viewer})
	frame := []byte{0xAF, 1, 42}
	p.message(chunk.Message{Type: typeAudio, StreamID: a, Timestamp: 7, Payload: frame})
	p.message(chunk.Message{Type: typeAudio, StreamID: b, Payload: frame})
	p.message(chunk.Message{Type: typeAudio, StreamID: viewer, Payload: frame}) // players send no media
	p.message(chunk.Message{Type: typeAudio, StreamID: 77, Payload: frame})
	for {
		if m := p.read(); m.Type == typeAudio {
			assert.Equal(t, []any{viewer, uint32(7), frame}, []any{m.StreamID, m.Timestamp, m.Payload})
			break
		}
	}

	// Nothing that is refused on one stream hurts another.
	p.command(a, "publish", 0.0, nil, "other")
	p.wantStatus(a, LevelError, CodePublishBadName)
	p.command(viewer, "publish", 0.0, nil, "other")
	p.wantStatus(viewer, LevelError, CodePublishBadName)
	p.command(a, "play", 0.0, nil, "b")
	p.wantStatus(a, LevelError, CodePlayFailed)
	last := p.createStream()
	p.command(last, "publish", 0.0, nil, "a")
	p.wantStatus(last, LevelError, CodePublishBadName)
	p.command(last, "play", 0.0, nil, "..")
	p.wantStatus(last, LevelError, CodePlayFailed)
	p.command(0, "createStream", 5.0, nil)
	p.wantStatus(0, LevelError, CodeCallFailed)
	p.command(66, "publish", 0.0, nil, "more")
	p.wantStatus(66, LevelError, CodePublishRejected)
	p.command(0, "deleteStream", 0.0, nil, math.Inf(1))
	p.command(0, "deleteStream", 0.0, nil, -1.0)
	p.command(0, "deleteStream", 0.0, nil, 1e18)
	p.command(0, "deleteStream", 0.0, nil)
	p.command(0, "FCUnpublish", 0.0, nil, "nothing")
	p.sync()
	assert.Len(t, h.publications, 2)
	assert.Empty(t, h.publications[0].ends())
	assert.Empty(t, h.publications[1].ends())
	assert.Zero(t, h.playbacks[0].now().closed)

	p.command(0, "FCUnpublish", 6.0, nil, "a?token=x")
	assert.NoError(t, h.publications[0].ended(t))
	p.wantStatus(viewer, LevelStatus, CodePlayUnpublishNotify)
	p.command(viewer, "closeStream", 0.0, nil)
	p.command(b, "publish", 0.0, nil, false)
	assert.NoError(t, h.publications[1].ended(t))
	p.command(a, "publish", 0.0, nil, "again") // the stream is still there
	p.wantStatus(a, LevelStatus, CodePublishStart)
	p.nc.Close()
	assert.ErrorIs(t, h.publication(t, 2).ended(t), io.EOF)
	h.wait(t, "close", func() bool { return h.playbacks[0].closed == 1 })
	for _, pub := range h.publications {
		assert.Len(t, pub.ends(), 1)
	}
}

func TestFCUnpublishOfAnotherConnectionDoesNothing(t *testing.T) {
	h := &house{}
	addr := serve(t, &Server{Handler: h})
	owner, other := connected(t, addr, "live"), connected(t, addr, "live")
	owner.publish("a")
	for _, name := range []string{"FCUnpublish", "releaseStream", "FCPublish"} {
		other.command(0, name, 0.0, nil, "a")
	}
	other.command(0, "deleteStream", 0.0, nil, 1.0)
	other.command(1, "closeStream", 0.0, nil)
	other.sync()
	owner.sync()
	assert.Empty(t, h.publication(t, 0).ends())
}

// A stream key that is the whole URL, or begins with the app, as people type it into
// OBS: the same stream for publish, FCUnpublish and play.
func TestNamesThatRepeatTheURL(t *testing.T) {
	h := &house{}
	addr := serve(t, &Server{Handler: h})
	for i, name := range []string{"rtmp://127.0.0.1:1935/live/a?token=x", "live/a?token=x"} {
		p := connected(t, addr, "live")
		id := p.publish(name)
		pub := h.publication(t, i)
		assert.Equal(t, "live/a", pub.req.Key())
		assert.Equal(t, "x", pub.req.Query.Get("token"))
		viewer := p.play(name)
		assert.Equal(t, "live/a", h.playback(t, i).req.Key())
		p.command(0, "FCUnpublish", 0.0, nil, name)
		assert.NoError(t, pub.ended(t))
		p.wantStatus(viewer, LevelStatus, CodePlayUnpublishNotify)
		p.command(id, "publish", 0.0, nil, "rtmp://127.0.0.1:1935/")
		msid, v := p.values()
		assert.Equal(t, id, msid)
		assert.Equal(t, errNoPath.Error(), props(v[3].(amf.Object)).str("description"))
	}
}

func TestPublishWithoutCreateStream(t *testing.T) {
	h := &house{}
	addr := serve(t, &Server{Handler: h})
	p := connected(t, addr, "live")
	p.command(1, "publish", 0.0, nil, "a")
	p.wantStatus(1, LevelStatus, CodePublishStart)
	assert.EqualValues(t, 2, p.createStream())
}

func TestRefusalEndsTheConnection(t *testing.T) {
	busy := &StatusError{Code: CodePublishBadName, Description: "busy"}
	gone := &StatusError{Code: CodePlayStreamNotFound, Description: "nobody there"}
	addr := serve(t, &Server{Handler: &house{refusePublish: busy, refusePlay: gone}})
	for range 20 {
		p := connected(t, addr, "live")
		p.command(1, "publish", 0.0, nil, "a")
		p.message(chunk.Message{Type: typeVideo, StreamID: 1, Payload: make([]byte, 1000)}) // as OBS, which does not wait
		p.wantStatus(1, LevelError, CodePublishBadName)
		p.wantEOF()
		p = connected(t, addr, "live")
		p.command(1, "play", 0.0, nil, "a")
		p.wantStatus(1, LevelError, CodePlayStreamNotFound)
		p.wantEOF()
	}
	p := connected(t, addr, "live")
	p.command(1, "publish", 0.0, nil, "a\x00")
	p.wantStatus(1, LevelError, CodePublishBadName)
	p.wantEOF()
}

func TestWriteTagErrorEndsTheConnection(t *testing.T) {
	boom := errors.New("disk full")
	h := &house{writeError: boom}
	addr := serve(t, &Server{Handler: h})
	p := connected(t, addr, "live")
	p.publish("a")
	p.message(chunk.Message{Type: typeVideo, StreamID: 1, Payload: []byte{0x17}})
	assert.ErrorIs(t, h.publication(t, 0).ended(t), boom)
	p.wantEOF()
}

func TestFailAndCloseConn(t *testing.T) {
	h := &house{}
	addr := serve(t, &Server{Handler: h})
	p := connected(t, addr, "live")
	a, b, c := p.publish("a"), p.play("b"), p.publish("c")

	h.publications[0].stream.Fail(nil)
	p.wantStatus(a, LevelError, CodePublishRejected)
	assert.ErrorIs(t, h.publications[0].ended(t), errClosedHere)
	p.sync() // the connection is still in use
	h.publications[0].stream.Fail(errors.New("void: ended already"))
	h.playbacks[0].stream.Fail(&StatusError{Level: LevelStatus, Code: CodePlayStop, Description: "over"})
	p.wantStatus(b, LevelStatus, CodePlayStop)
	p.sync()
	kicked := errors.New("kicked")
	h.publications[1].stream.Fail(kicked)
	p.wantStatus(c, LevelError, CodePublishRejected)
	p.wantEOF()
	assert.ErrorIs(t, h.publications[1].ended(t), kicked)

	p = connected(t, addr, "live")
	p.play("x")
	stream := h.playback(t, 1).stream
	require.NoError(t, stream.Send(stream.AppendStatus(nil, LevelStatus, CodePlayStop, "bye")))
	stream.CloseConn(nil)
	p.wantStatus(1, LevelStatus, CodePlayStop)
	p.wantEOF()
	h.wait(t, "close", func() bool { return h.playbacks[1].closed == 1 })
}

func TestEndSaysNothing(t *testing.T) {
	h := &house{}
	addr := serve(t, &Server{Handler: h})
	p := connected(t, addr, "live")
	a := p.play("a")
	b := p.play("b")
	first, second := h.playback(t, 0), h.playback(t, 1)
	require.NoError(t, first.stream.Send(first.stream.AppendPlayEnd(nil)))
	first.stream.End(nil)
	p.wantStatus(a, LevelStatus, CodePlayUnpublishNotify)
	h.wait(t, "close", func() bool { return first.closed == 1 })
	p.sync() // the other one is still there
	require.NoError(t, second.stream.Send(second.stream.AppendPlayEnd(nil)))
	second.stream.End(nil)
	second.stream.End(nil)
	p.wantStatus(b, LevelStatus, CodePlayUnpublishNotify)
	m := p.read()
	assert.Equal(t, []byte{0, eventStreamEOF, 0, 0, 0, byte(b)}, m.Payload)
	_, err := p.rd.Read()
	assert.ErrorIs(t, err, io.EOF)
	h.wait(t, "close", func() bool { return second.closed == 1 })
}

func TestDataMessages(t *testing.T) {
	h := &house{}
	addr := serve(t, &Server{Handler: h})
	p := connected(t, addr, "live")
	p.publish("a")
	meta := amf.ECMAArray{{Name: "encoder", Value: "obs"}}
	object := amf.Object{{Name: "width", Value: 640.0}}
	send := func(typ uint8, body []byte) {
		p.message(chunk.Message{Type: typ, StreamID: 1, Timestamp: 9, Payload: body})
	}
	send(typeData, script(setDataFrame, onMetaData, meta))
	send(typeData, script(onMetaData, meta))
	send(typeData, script("onTextData", object))
	send(typeData, script(clearDataFrame, onMetaData))
	send(typeData, script(clearDataFrame))
	send(typeDataAMF3, append([]byte{0}, script(setDataFrame, onMetaData, meta)...))
	send(typeDataAMF3, amf.AppendAMF3(append(script(onMetaData), 0x11), object))
	for _, bad := range [][]byte{{}, {2}, {2, 0, 9, 'x'}, script(1.0), script(setDataFrame), script(setDataFrame, 1.0), {0x11}} {
		send(typeData, bad)
		send(typeDataAMF3, bad)
	}
	send(typeAudio, nil) // silence
	want := [][]byte{
		script(onMetaData, meta), script(onMetaData, meta), script("onTextData", object),
		script(onMetaData, amf.ECMAArray{}), script(onMetaData, amf.ECMAArray{}),
		script(onMetaData, meta), script(onMetaData, object), {},
	}
	got := h.publication(t, 0).written(t, len(want))
	require.Len(t, got, len(want))
	for i, tag := range got {
		assert.Equal(t, want[i], append([]byte{}, tag.Data...), i)
		assert.EqualValues(t, 9, tag.Timestamp)
	}
}

// aggregate builds the payload of an aggregate message.
func aggregate(tags ...flv.Tag) []byte {
	var b []byte
	for _, t := range tags {
		b = flv.AppendTag(b, t) // the same layout
	}
	return b
}

func TestAggregatesAreTakenApart(t *testing.T) {
	h := &house{}
	addr := serve(t, &Server{Handler: h})
	p := connected(t, addr, "live")
	p.publish("a")
	body := aggregate(
		flv.Tag{Type: flv.TypeVideo, Timestamp: 0xFFFFFFF0, Data: []byte{0x17, 1}},
		flv.Tag{Type: flv.TypeAudio, Timestamp: 4, Data: []byte{0xAF, 2}},
		flv.Tag{Type: typeAggregate, Timestamp: 5, Data: aggregate(flv.Tag{Type: flv.TypeAudio, Data: []byte{1}})},
		flv.Tag{Type: typeCommand, Timestamp: 5, Data: script("deleteStream", 0.0, nil, 1.0)},
		flv.Tag{Type: flv.TypeScript, Timestamp: 6, Data: script(setDataFrame, onMetaData, 1.0)},
	)
	p.size = 60
	p.message(chunk.Message{Type: typeSetChunkSize, ChunkStream: 2, Payload: binary.BigEndian.AppendUint32(nil, 60)})
	p.message(chunk.Message{Type: typeAggregate, StreamID: 1, Timestamp: 1000, Payload: body})
	p.message(chunk.Message{Type: typeAggregate, StreamID: 1, Timestamp: 2000, Payload: body[:20]}) // short: a part, and a rest
	p.message(chunk.Message{Type: typeAggregate, StreamID: 1, Timestamp: 3000, Payload: body[:12]})
	p.message(chunk.Message{Type: typeAudio, StreamID: 1, Timestamp: 4000, Payload: []byte{1}})
	equalTags(t, []flv.Tag{
		{Type: flv.TypeVideo, Timestamp: 1000, Data: []byte{0x17, 1}},
		{Type: flv.TypeAudio, Timestamp: 1020, Data: []byte{0xAF, 2}},
		{Type: flv.TypeScript, Timestamp: 1022, Data: script(onMetaData, 1.0)},
		{Type: flv.TypeVideo, Timestamp: 2000, Data: []byte{0x17, 1}},
		{Type: flv.TypeAudio, Timestamp: 4000, Data: []byte{1}},
	}, h.publication(t, 0).written(t, 5))
}

// Every body goes through as it is, alone and in an aggregate: ends of sequences,
// commands, packets of Enhanced RTMP of any type, and what nobody knows.
func TestEveryBodyIsUntouched(t *testing.T) {
	h := &house{}
	addr := serve(t, &Server{Handler: h})
	p := connected(t, addr, "live")
	id := p.publish("a")
	var want []flv.Tag
	var b []byte
	for first := range 256 {
		for _, typ := range []flv.Type{flv.TypeAudio, flv.TypeVideo} {
			for _, rest := range []string{"", "\x02", "\x02\x00\x00\x00", "avc1\x01\x02\x03", "\x01mp4a\x00\x05"} {
				want = append(want, flv.Tag{Type: typ, Timestamp: uint32(len(want)), Data: append([]byte{byte(first)}, rest...)})
			}
		}
	}
	for _, tag := range want {
		b = appendTag(b, protocolChunkSize, id, tag)
	}
	for part := range slices.Chunk(want, 100) {
		b = chunk.AppendMessage(b, protocolChunkSize, chunk.Message{
			Type: typeAggregate, StreamID: id, ChunkStream: 4, Timestamp: part[0].Timestamp, Payload: aggregate(part...)})
	}
	p.write(b)
	equalTags(t, slices.Concat(want, want), h.publication(t, 0).written(t, 2*len(want)))
}

// RTMP 1.0 §5.4.1: the chunk size may be anything from 1 on.
func TestPeerWithChunkSizeOne(t *testing.T) {
	h := &house{}
	addr := serve(t, &Server{Handler: h})
	p := dialPeer(t, addr)
	p.message(chunk.Message{Type: typeSetChunkSize, ChunkStream: 2, Payload: []byte{0, 0, 0, 1}})
	p.size = 1
	p.connect("live")
	p.publish("a")
	tags := clip()
	for _, tag := range tags {
		p.write(appendTag(nil, 1, 1, tag))
	}
	equalTags(t, tags, h.publication(t, 0).written(t, len(tags)))
}

// logBuffer is a log that can be read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestSessionLog(t *testing.T) {
	var log logBuffer
	h := &house{}
	srv := &Server{Handler: h, Logger: slog.New(slog.NewTextHandler(&log, nil))}
	addr := serve(t, srv)
	p := connected(t, addr, "live")
	p.publish("a?token=secret")
	p.command(0, "FCUnpublish", 0.0, nil, "a")
	p.nc.Close()
	h.publication(t, 0).ended(t)
	require.Eventually(t, func() bool { return strings.Contains(log.String(), "rtmp session ends") },
		10*time.Second, time.Millisecond)
	h.mu.Lock()
	h.refusePlay = &StatusError{Code: CodePlayStreamNotFound, Description: "nobody there"}
	h.mu.Unlock()
	p = connected(t, addr, "live")
	p.command(1, "play", 0.0, nil, "b?token=secret")
	p.wantEOF()
	p.nc.Close()
	require.NoError(t, srv.Shutdown(t.Context()))
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	require.Len(t, lines, 3, log.String())
	assert.Contains(t, lines[0], `msg="rtmp session begins" session=1 remote=127.0.0.1:`)
	assert.Contains(t, lines[0], `role=publish app=live name=a`)
	assert.Contains(t, lines[1], `msg="rtmp session ends"`)
	assert.Contains(t, lines[1], `reason="closed by client" streams="publish live/a"`)
	assert.Contains(t, lines[2], `reason="rtmp: NetStream.Play.StreamNotFound: nobody there" streams="play live/b (refused)"`)
	assert.NotContains(t, log.String(), "secret")
}

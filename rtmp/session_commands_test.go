package rtmp

import (
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv/amf"
	"sluice/rtmp/internal/chunk"
)

func TestConnectIsAnsweredInOneBatch(t *testing.T) {
	addr := serve(t, &Server{Handler: &rig{}})
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
	addr := serve(t, &Server{Handler: &rig{}})
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
	addr := serve(t, &Server{Handler: &rig{}})
	p := dialPeer(t, addr)
	p.command(0, "createStream", 2.0, nil)
	p.wantStatus(0, LevelError, CodeCallFailed)
	p.command(1, "publish", 0.0, nil, "x")
	p.connect("live")
}

func TestCommandsAreAnswered(t *testing.T) {
	h := &rig{}
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
	addr := serve(t, &Server{Handler: &rig{}})
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
	h := &rig{}
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
	h := &rig{}
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
		{[]any{0.999}, time.Millisecond},
		{[]any{1e-300}, time.Millisecond},
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
	h := &rig{}
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

package rtmp

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/rtmp/internal/chunk"
)

// fileRig is a Handler whose streams in app "rec" are files. It answers the questions for
// their length by asking the test.
type fileRig struct {
	rig
	calls   chan string
	files   chan *filePlay
	lengths chan *askedLength
}

type askedLength struct {
	ctx    context.Context
	req    *Request
	answer func(time.Duration)
}

// filePlay is a FilePlayback that answers at once, with one tag.
type filePlay struct {
	h   *fileRig
	s   *ServerStream
	req *Request
}

func newFileRig() *fileRig {
	return &fileRig{calls: make(chan string, 1000), files: make(chan *filePlay, 100), lengths: make(chan *askedLength, 100)}
}

func (h *fileRig) Play(s *ServerStream, r *Request) (Playback, error) {
	if r.App != "rec" {
		return h.rig.Play(s, r)
	}
	p := &filePlay{h, s, r}
	h.files <- p
	return p, s.Send(p.frame(s.AppendFileStart(nil, !r.NoReset), r.StartTime()))
}

func (h *fileRig) StreamLength(ctx context.Context, _ *ServerStream, r *Request, answer func(time.Duration)) {
	h.lengths <- &askedLength{ctx, r, answer}
}

func (h *fileRig) Forget(r *Request, err error) { h.note("forget %v %v", r.Value, err != nil) }

func (h *fileRig) note(format string, args ...any) { h.calls <- fmt.Sprintf(format, args...) }

func (p *filePlay) frame(dst []byte, at time.Duration) []byte {
	return p.s.AppendTags(dst, []flv.Tag{{Type: flv.TypeVideo, Timestamp: uint32(at.Milliseconds()), Data: []byte{0x17, 1}}})
}

func (p *filePlay) Pause(on bool, at time.Duration) {
	defer p.h.note("%s pause %v %v", p.req.Name, on, at)
	if on {
		p.s.Send(p.s.AppendPause(nil))
	} else {
		p.s.Send(p.frame(p.s.AppendUnpause(nil), at+time.Millisecond))
	}
}

func (p *filePlay) Seek(to time.Duration) {
	defer p.h.note("%s seek %v", p.req.Name, to)
	if to > time.Hour {
		p.s.Send(p.s.AppendSeekInvalid(nil))
		return
	}
	p.s.Send(p.frame(p.s.AppendSeek(nil), to))
}

func (p *filePlay) SetBuffer(d time.Duration) { p.h.note("%s buffer %v", p.req.Name, d) }
func (p *filePlay) Follow()                   { p.h.note("%s follow", p.req.Name) }
func (p *filePlay) Position() time.Duration   { return 7 * time.Second }
func (p *filePlay) ReceiveAudio(on bool)      { p.h.note("%s audio %v", p.req.Name, on) }
func (p *filePlay) ReceiveVideo(on bool)      { p.h.note("%s video %v", p.req.Name, on) }
func (p *filePlay) Close(err error)           { p.h.note("%s close %v", p.req.Name, err != nil) }

// called reads what the Handler was told next.
func (h *fileRig) called(t testing.TB, want ...string) {
	t.Helper()
	for _, w := range want {
		select {
		case got := <-h.calls:
			require.Equal(t, w, got)
		case <-time.After(20 * time.Second):
			require.Fail(t, "never called: "+w)
		}
	}
}

// file waits for the next file that is played.
func (h *fileRig) file(t testing.TB) *filePlay {
	t.Helper()
	select {
	case p := <-h.files:
		return p
	case <-time.After(20 * time.Second):
		require.Fail(t, "no file is played")
		return nil
	}
}

// asked waits for the next question for a length.
func (h *fileRig) asked(t testing.TB) *askedLength {
	t.Helper()
	select {
	case q := <-h.lengths:
		return q
	case <-time.After(20 * time.Second):
		require.Fail(t, "no length was asked for")
		return nil
	}
}

// messages reads n messages, each as a word: its event for user control, its code for
// onStatus and onPlayStatus, its timestamp for media, its name for other data.
func (p *peer) messages(n int) string {
	p.t.Helper()
	var words []string
	for len(words) < n {
		switch m := p.read(); m.Type {
		case typeUserControl:
			words = append(words, fmt.Sprintf("%d:%d", m.Payload[1], m.Payload[5]))
		case typeVideo:
			words = append(words, fmt.Sprintf("@%d", m.Timestamp))
		case typeCommand, typeData:
			v, err := amf.DecodeAll(m.Payload, amf.Limits{})
			require.NoError(p.t, err)
			word := v[0].(string)
			if object, ok := v[len(v)-1].(amf.Object); ok {
				word = strings.TrimPrefix(props(object).str("code"), "NetStream.")
			}
			words = append(words, word)
		}
	}
	return strings.Join(words, " ")
}

const fileStart = "4:1 0:1 Play.Reset Play.Start |RtmpSampleAccess"

// What is said of a file, byte by byte.
func TestFileMessages(t *testing.T) {
	s := &ServerStream{s: newSession(&Server{}, new(net.TCPConn), 1), id: 1}
	status := func(level, code, description string) string {
		body := amf.AppendAMF0(nil, "onStatus", 0.0, nil, amf.Object{
			{Name: "level", Value: level}, {Name: "code", Value: code}, {Name: "description", Value: description}})
		return fmt.Sprintf("05000000%06x1401000000%x", len(body), body)
	}
	data := func(values ...any) string {
		body := amf.AppendAMF0(nil, values...)
		return fmt.Sprintf("05000000%06x1201000000%x", len(body), body)
	}
	event := func(e byte) string { return fmt.Sprintf("020000000000060400000000%04x00000001", e) }
	played := func(code string) string {
		return data("onPlayStatus", amf.Object{{Name: "level", Value: "status"}, {Name: "code", Value: code},
			{Name: "duration", Value: 2.5}, {Name: "bytes", Value: 1234.0}})
	}
	reset, started := status("status", "NetStream.Play.Reset", "Playing and resetting."), status("status", "NetStream.Play.Start", "Started playing.")
	for name, tt := range map[string]struct {
		got  []byte
		want string
	}{
		"start":          {s.AppendFileStart(nil, true), event(4) + event(0) + reset + started + data("|RtmpSampleAccess", true, true)},
		"start in queue": {s.AppendFileStart(nil, false), event(4) + event(0) + started + data("|RtmpSampleAccess", true, true)},
		"seek":           {s.AppendSeek(nil), event(1) + status("status", "NetStream.Seek.Notify", "Seeking.") + event(0)},
		"seek too far":   {s.AppendSeekInvalid(nil), status("status", "NetStream.Seek.InvalidTime", "The position is behind the end.")},
		"pause":          {s.AppendPause(nil), status("status", "NetStream.Pause.Notify", "Paused.")},
		"unpause":        {s.AppendUnpause(nil), status("status", "NetStream.Unpause.Notify", "Resumed.")},
		"complete": {s.AppendComplete(nil, 2500*time.Millisecond, 1234),
			event(1) + played("NetStream.Play.Complete") + status("status", "NetStream.Play.Stop", "Played to the end.")},
		"switch": {s.AppendSwitch(nil, 2500*time.Millisecond, 1234), event(1) + played("NetStream.Play.Switch")},
	} {
		assert.Equal(t, tt.want, hex.EncodeToString(tt.got), name)
	}
}

// A file's playback is told everything, and has the word.
func TestFileIsSteered(t *testing.T) {
	h := newFileRig()
	p := connected(t, serve(t, &Server{Handler: h, MaxCommands: 1000}), "rec")
	id := p.createStream()
	p.command(id, "play", 0.0, nil, "a", 5000.0)
	assert.Equal(t, fileStart+" @5000", p.messages(6))
	p.command(id, "pause", 0.0, nil, true, 40.0)
	p.command(id, "pauseRaw", 0.0, nil, false, 40.5)
	p.command(id, "seek", 3.0, nil, 1500.0)
	p.command(id, "seek", 0.0, nil, 1e300)
	p.command(id, "seek", 0.0, nil, -5.0)
	p.command(id, "seek", 0.0, nil, math.NaN())
	p.command(id, "seek", 0.0, nil, "1")
	assert.Equal(t, "Pause.Notify Unpause.Notify @41 1:1 Seek.Notify 0:1 @1500 Seek.InvalidTime"+
		strings.Repeat(" 1:1 Seek.Notify 0:1 @0", 3), p.messages(20))
	h.called(t, "a pause true 40ms", "a pause false 40.5ms", "a seek 1.5s", "a seek 8760h0m0s", "a seek 0s", "a seek 0s", "a seek 0s")
	p.command(id, "receiveVideo", 0.0, nil, false)
	p.command(id, "receiveAudio", 0.0, nil, true)
	assert.Equal(t, "Seek.Notify Play.Start", p.messages(2))
	p.command(id, "closeStream", 0.0, nil)
	p.command(id, "seek", 3.0, nil, 1500.0)
	p.result(3)
	h.called(t, "a video false", "a audio true", "a close false")
}

// Players say how far ahead they take media before they play and at any time, rtmpdump in
// a chunk without a header of its own.
func TestSetBufferLength(t *testing.T) {
	h := newFileRig()
	p := connected(t, serve(t, &Server{Handler: h}), "rec")
	id := p.createStream()
	set := func(id, ms uint32) { p.write(appendUserControl(nil, eventSetBufferLength, id, ms)) }
	set(0, 300)
	set(99, 300)
	set(id, 1000)
	p.write([]byte("\xC2\x00\x03\x00\x00\x00\x01\x00\x00\x0b\xb8"))
	p.message(chunk.Message{Type: typeUserControl, Payload: []byte{0, eventSetBufferLength, 0, 0, 0, 1, 0, 0}}) // short
	p.command(id, "play", 0.0, nil, "a")
	assert.Equal(t, 3*time.Second, h.file(t).req.Buffer)
	set(id, 36_000_000)
	set(id, 0)
	p.sync()
	h.called(t, "a buffer 10h0m0s", "a buffer 1ms")
	p.command(id, "play", 0.0, nil, "b") // on the same message stream
	assert.Equal(t, time.Millisecond, h.file(t).req.Buffer)
	p.command(p.createStream(), "play", 0.0, nil, "c")
	assert.Zero(t, h.file(t).req.Buffer)

	flood := connected(t, serve(t, &Server{Handler: h, MaxCommands: 10}), "rec")
	flood.createStream()
	for range 30 {
		flood.nc.Write(appendUserControl(nil, eventSetBufferLength, 1, 5))
	}
	flood.wantEOFOrReset()
}

// wantEOFOrReset reads until the server has closed, with input unread perhaps.
func (p *peer) wantEOFOrReset() {
	p.t.Helper()
	for {
		if _, err := p.rd.Read(); err != nil {
			return
		}
	}
}

// A play with reset false waits for the end of the file before it.
func TestPlayQueue(t *testing.T) {
	h := newFileRig()
	p := connected(t, serve(t, &Server{Handler: h, MaxCommands: 1000}), "rec")
	id := p.createStream()
	p.command(id, "play", 0.0, nil, "a", 0.0, -1.0, false) // there is nothing to wait for
	assert.Equal(t, "4:1 0:1 Play.Start |RtmpSampleAccess @0", p.messages(5))
	a := h.file(t)
	p.command(id, "play", 0.0, nil, "b", 2000.0, 500.0, false)
	p.command(id, "play", 0.0, nil, "c", 0.0, -1.0, 0.0)
	p.command(id, "play2", 0.0, nil, amf.Object{{Name: "streamName", Value: "d"}, {Name: "transition", Value: "append"}})
	p.sync()
	h.called(t, "a follow", "a follow", "a follow")
	a.s.Next()
	assert.Equal(t, "4:1 0:1 Play.Start |RtmpSampleAccess @2000", p.messages(5))
	b := h.file(t)
	assert.Equal(t, 500*time.Millisecond, b.req.Duration)
	h.called(t, "a close false", "b follow")
	a.s.Next() // means nothing any more
	p.sync()
	b.s.Next()
	assert.Equal(t, "4:1 0:1 Play.Start |RtmpSampleAccess @0", p.messages(5))
	h.called(t, "b close false", "c follow")
	c := h.file(t)
	c.s.Next()
	p.messages(5)
	d := h.file(t)
	h.called(t, "c close false")
	d.s.Next() // nothing waits
	p.sync()
	p.command(id, "play", 0.0, nil, "e", 0.0, -1.0, false)
	p.command(id, "play", 0.0, nil, "f", 0.0, -1.0, true)
	p.sync()
	h.called(t, "d follow", "d close false")
	f := h.file(t)
	assert.Equal(t, "f", f.req.Name)
	for range maxUpcoming {
		p.command(id, "play", 0.0, nil, "g", 0.0, -1.0, false)
		h.called(t, "f follow")
	}
	p.command(id, "play", 0.0, nil, "g", 0.0, -1.0, false)
	p.wantStatus(id, LevelWarning, CodePlayFailed)
	f.s.End(nil)
	p.wantEOF()
	h.called(t, "f close true")
}

// play2 goes on where the file before it was.
func TestPlay2KeepsThePosition(t *testing.T) {
	h := newFileRig()
	p := connected(t, serve(t, &Server{Handler: h}), "rec")
	id := p.createStream()
	play2 := func(name, transition string) *filePlay {
		p.command(id, "play2", 0.0, nil, amf.Object{
			{Name: "streamName", Value: name}, {Name: "transition", Value: transition}, {Name: "oldStreamName", Value: "x"}})
		return h.file(t)
	}
	for i, tt := range []struct {
		transition string
		position   time.Duration
		reset      bool
	}{
		{"switch", 0, true}, // nothing is played yet
		{"switch", 7 * time.Second, false},
		{"swap", 7 * time.Second, false},
		{"", 7 * time.Second, false},
		{"reset", 0, true},
	} {
		f := play2(fmt.Sprint(i), tt.transition)
		assert.Equal(t, []any{tt.position, tt.reset}, []any{f.req.Position, !f.req.NoReset}, i)
		if i > 0 {
			h.called(t, fmt.Sprint(i-1, " close false"))
		}
	}
}

// The question for a length is answered before the play that stands behind it, which
// may use what was found out.
func TestStreamLength(t *testing.T) {
	h := newFileRig()
	p := connected(t, serve(t, &Server{Handler: h, MaxCommands: 1000}), "rec")
	id := p.createStream()
	p.command(0, "getStreamLength", 5.0, nil, "a?token=1")
	p.command(id, "play", 6.0, nil, "a?token=1", -2000.0)
	q := h.asked(t)
	assert.Equal(t, []any{"rec/a", "1"}, []any{q.req.Key(), q.req.Query.Get("token")})
	p.silent()
	q.req.Value = "granted"
	q.answer(1500 * time.Millisecond)
	q.answer(time.Hour) // does nothing
	assert.Equal(t, []any{"_result", 5.0, nil, 1.5}, p.result(5))
	assert.Equal(t, "granted", h.file(t).req.Value)
	<-q.ctx.Done()

	// What nobody plays is given back.
	ask := func(name string, value any, d time.Duration) {
		p.command(0, "getStreamLength", 5.0, nil, name)
		q := h.asked(t)
		q.req.Value = value
		q.answer(d)
		p.result(5)
	}
	ask("a", 1, -1)
	ask("b", 2, 1)
	h.called(t, "forget 1 false")
	ask("b", nil, 1)
	h.called(t, "forget 2 false")
	ask("b?token=1", 3, 1)
	p.command(id, "play", 6.0, nil, "b?token=2")
	h.called(t, "a close false", "forget 3 false")
	assert.Nil(t, h.file(t).req.Value)
	ask("b", 4, 1)
	p.command(0, "getStreamLength", 5.0, nil, "") // no name: not asked
	assert.Equal(t, 0.0, p.result(5)[3])
	p.nc.Close()
	h.called(t, "forget 4 true", "b close true")
}

// A length that nobody knows in time is 0, and asking for it wins no time.
func TestStreamLengthIsBounded(t *testing.T) {
	h := newFileRig()
	p := connected(t, serve(t, &Server{Handler: h, AuthorizeTimeout: 20 * time.Millisecond, CommandTimeout: 200 * time.Millisecond}), "rec")
	began := time.Now()
	p.command(0, "getStreamLength", 5.0, nil, "a")
	q := h.asked(t)
	assert.Equal(t, 0.0, p.result(5)[3])
	assert.ErrorIs(t, context.Cause(q.ctx), ErrAuthorizeTimeout)
	q.answer(time.Second)
	p.command(0, "getStreamLength", 5.0, nil, "b")
	h.asked(t).answer(time.Second)
	p.result(5)
	p.wantEOF()
	assert.GreaterOrEqual(t, time.Since(began), 200*time.Millisecond)

	p = connected(t, serve(t, &Server{Handler: h}), "rec")
	p.command(0, "getStreamLength", 5.0, nil, "a")
	q = h.asked(t)
	p.nc.Close()
	<-q.ctx.Done()
	assert.ErrorIs(t, context.Cause(q.ctx), io.EOF)
}

// The start of play is in milliseconds whatever the specification says.
func TestStartTime(t *testing.T) {
	for start, want := range map[float64]time.Duration{
		-2: 0, -1: 0, -2000: 0, -1000: 0, 0: 0, math.NaN(): 0, math.Inf(-1): 0,
		30: 30 * time.Millisecond, 0.5: 500 * time.Microsecond, 30_000: 30 * time.Second, 86_399: 86_399 * time.Millisecond,
		90_000_000: 25 * time.Hour, math.Inf(1): maxPlayDuration,
	} {
		assert.Equal(t, want, (&Request{Start: start}).StartTime(), start)
	}
}

// Our own player steers a file, and drops what is of an old position.
func TestPlayerSeeks(t *testing.T) {
	h := newFileRig()
	var c Client
	player, err := c.PlayFrom(t.Context(), "rtmp://"+serve(t, &Server{Handler: h})+"/rec/a",
		PlayOptions{Start: 4 * time.Second, Duration: time.Minute, Buffer: 5 * time.Second})
	require.NoError(t, err)
	defer player.Close()
	f := h.file(t)
	assert.Equal(t, []any{4000.0, time.Minute}, []any{f.req.Start, f.req.Duration})
	h.called(t, "a buffer 5s")
	next := func() uint32 {
		tag, err := player.ReadTag()
		require.NoError(t, err)
		return tag.Timestamp
	}
	assert.EqualValues(t, 4000, next())
	require.NoError(t, player.SetBuffer(math.MaxInt64))
	require.NoError(t, f.s.Send(f.frame(f.frame(nil, 5*time.Second), 6*time.Second)))
	require.NoError(t, player.Seek(90*time.Second))
	assert.EqualValues(t, 90_000, next())
	require.NoError(t, player.Seek(2*time.Hour)) // which it does not have
	h.called(t, "a buffer 1193h2m47.295s", "a seek 1m30s", "a seek 2h0m0s")
	require.NoError(t, f.s.Send(f.frame(nil, 91*time.Second)))
	assert.EqualValues(t, 91_000, next())
	require.NoError(t, player.Pause(true))
	require.NoError(t, player.Pause(false))
	assert.EqualValues(t, 91_001, next())
	h.called(t, "a pause true 1m31s", "a pause false 1m31s")
	require.NoError(t, f.s.Send(f.s.AppendComplete(nil, time.Second, 1)))
	_, err = player.ReadTag()
	assert.Equal(t, io.EOF, err)
}

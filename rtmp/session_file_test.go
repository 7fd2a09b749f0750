package rtmp

import (
	"context"
	"encoding/hex"
	"fmt"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
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

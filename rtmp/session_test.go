package rtmp

import (
	"bytes"
	"io"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv/amf"
	"sluice/rtmp/internal/chunk"
)

func TestStreamsOfOneConnection(t *testing.T) {
	h := &rig{}
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
	h := &rig{}
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
	h := &rig{}
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
	h := &rig{}
	addr := serve(t, &Server{Handler: h})
	p := connected(t, addr, "live")
	p.command(1, "publish", 0.0, nil, "a")
	p.wantStatus(1, LevelStatus, CodePublishStart)
	assert.EqualValues(t, 2, p.createStream())
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

var debugLevel = &slog.HandlerOptions{Level: slog.LevelDebug}

// A connection has a line at its end: for everybody to see only if it asked for nothing.
func TestSessionLog(t *testing.T) {
	var log logBuffer
	h := &rig{}
	srv := &Server{Handler: h, Logger: slog.New(slog.NewTextHandler(&log, debugLevel))}
	addr := serve(t, srv)
	p := connected(t, addr, "live")
	p.publish("a?token=secret")
	p.command(0, "FCUnpublish", 0.0, nil, "a")
	p.nc.Close()
	h.publication(t, 0).ended(t)
	require.Eventually(t, func() bool { return strings.Contains(log.String(), "rtmp connection ends") },
		10*time.Second, time.Millisecond)
	h.mu.Lock()
	h.refusePlay = &StatusError{Code: CodePlayStreamNotFound, Description: "nobody there"}
	h.mu.Unlock()
	p = connected(t, addr, "live")
	p.command(1, "play", 0.0, nil, "b?token=secret")
	p.wantEOF()
	p.nc.Close()
	p = connected(t, addr, "live")
	p.nc.Close()
	require.Eventually(t, func() bool { return strings.Contains(log.String(), "level=INFO") }, 10*time.Second, time.Millisecond)
	require.NoError(t, srv.Shutdown(t.Context()))
	assert.Regexp(t, `level=DEBUG msg="rtmp stream begins" connection=1 remote=127.0.0.1:\d+ role=publish stream=live/a`, log.String())
	assert.Regexp(t, `level=DEBUG msg="rtmp connection ends" connection=1 .*reason="closed by client" streams="publish live/a"`, log.String())
	assert.Regexp(t, `level=DEBUG msg="rtmp connection ends" .*reason="rtmp: NetStream.Play.StreamNotFound: nobody there" streams="play live/b \(refused\)"`, log.String())
	assert.Equal(t, 1, strings.Count(log.String(), "level=INFO"), "of the connection that asked for nothing")
	assert.NotContains(t, log.String(), "secret")
}

// Of a client that asks for what names no stream, the last line of its connection has what it
// asked for, without what may be a secret.
func TestBadNamesAreLogged(t *testing.T) {
	for _, tt := range []struct {
		app, name, command string
		disguise           bool
		want               string // of the line
	}{
		{"x?token=secret", "", "publish", false, `reason="rtmp: refused: stream name is missing: rtmp://host/APP/NAME" name=x`},
		{"x", "?token=secret", "play", false, ` name=x`},
		{"live", "..", "play", false, ` name=live/\.\.`},
		{"live", "a\"b\n/..", "publish", false, ` name="live/a\\"b\\n/\.\."`},
		{"live", "..%3Ftoken=secret", "play", false, ` name=live/\.\.`},
		{"live", "a%zz%3Ftoken=secret", "play", false, ` name=live/a`},
		{"secret", "", "publish", true, ` name="\*\*\* /secre\*"`},
		{"secre", "", "play", true, ` name=secre`},
		{"live", strings.Repeat("x", 300) + "/..", "play", false, ` name=live/x{256}`},
	} {
		var log logBuffer
		srv := &Server{Handler: &rig{}, Logger: slog.New(slog.NewTextHandler(&log, nil))}
		if tt.disguise {
			srv.Disguise = func(app, name string) string { return "*** " + app + "/" + name[:5] + "*" }
		}
		p := connected(t, serve(t, srv), tt.app)
		p.command(1, tt.command, 0.0, nil, tt.name)
		p.wantEOF()
		p.nc.Close()
		require.Eventually(t, func() bool { return strings.Contains(log.String(), "rtmp connection ends") }, 10*time.Second, time.Millisecond)
		require.NoError(t, srv.Shutdown(t.Context()))
		assert.Regexp(t, tt.want+"\n$", log.String())
		assert.NotContains(t, log.String(), "secret")
	}
}

package rtmp

import (
	"context"
	"io"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/rtmp/internal/chunk"
)

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
	began := time.Now()
	p := connected(t, serve(t, &Server{Handler: h, AuthorizeTimeout: 20 * time.Millisecond, CommandTimeout: 200 * time.Millisecond}), "rec")
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

package rtmp

import (
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/rtmp/internal/chunk"
)

func TestRefusalEndsTheConnection(t *testing.T) {
	busy := &StatusError{Code: CodePublishBadName, Description: "busy"}
	gone := &StatusError{Code: CodePlayStreamNotFound, Description: "nobody there"}
	addr := serve(t, &Server{Handler: &rig{refusePublish: busy, refusePlay: gone}})
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
	h := &rig{writeError: boom}
	addr := serve(t, &Server{Handler: h})
	p := connected(t, addr, "live")
	p.publish("a")
	p.message(chunk.Message{Type: typeVideo, StreamID: 1, Payload: []byte{0x17}})
	assert.ErrorIs(t, h.publication(t, 0).ended(t), boom)
	p.wantEOF()
}

func TestFailAndCloseConn(t *testing.T) {
	h := &rig{}
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
	h := &rig{}
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

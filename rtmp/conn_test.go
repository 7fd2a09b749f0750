package rtmp

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/rtmp/internal/chunk"
)

// tape is a net.Conn that reads what it was given, in pieces, and keeps what is
// written to it.
type tape struct {
	input  []byte
	piece  int // bytes per Read
	output bytes.Buffer
	writes int
	closed bool
}

func (c *tape) Read(p []byte) (int, error) {
	if len(c.input) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), max(1, c.piece))], c.input)
	c.input = c.input[n:]
	return n, nil
}

func (c *tape) Write(p []byte) (int, error)    { c.writes++; return c.output.Write(p) }
func (c *tape) Close() error                   { c.closed = true; return nil }
func (c *tape) CloseWrite() error              { return nil }
func (*tape) LocalAddr() net.Addr              { return pipeAddr{} }
func (*tape) RemoteAddr() net.Addr             { return pipeAddr{} }
func (*tape) SetDeadline(time.Time) error      { return nil }
func (*tape) SetReadDeadline(time.Time) error  { return nil }
func (*tape) SetWriteDeadline(time.Time) error { return nil }

// messages reads all messages of a byte stream.
func messages(t *testing.T, b []byte) []chunk.Message {
	t.Helper()
	rd := chunk.NewReader(bytes.NewReader(b), chunk.Limits{})
	var all []chunk.Message
	for {
		m, err := rd.Read()
		if err != nil {
			require.ErrorIs(t, err, io.EOF)
			return all
		}
		m.Payload = bytes.Clone(m.Payload)
		all = append(all, m)
	}
}

// control is a protocol control message with payload bytes.
func control(typ uint8, payload ...byte) []byte {
	return chunk.AppendMessage(nil, protocolChunkSize, chunk.Message{Type: typ, ChunkStream: csidControl, Payload: payload})
}

// run reads everything a conn has to read, and returns what it wrote.
func run(t *testing.T, prepare func(*conn), input ...[]byte) []chunk.Message {
	t.Helper()
	nc := &tape{input: bytes.Join(input, nil), piece: 1 << 20}
	c := newConn(nc, time.Second)
	if prepare != nil {
		prepare(c)
	}
	for {
		if _, err := c.readMessage(); err != nil {
			require.ErrorIs(t, err, io.EOF)
			return messages(t, nc.output.Bytes())
		}
	}
}

// RTMP 1.0 §7.1.7: a ping request is answered with the time it carries.
func TestPingIsAnswered(t *testing.T) {
	got := run(t, nil,
		control(typeUserControl, 0, eventPingRequest, 1, 2, 3, 4),
		control(typeUserControl, 0, eventPingRequest, 1), // short: passed over
		control(typeUserControl, 0, eventPingResponse, 1, 2, 3, 4),
		control(typeUserControl))
	require.Len(t, got, 1)
	assert.Equal(t, []byte{0, eventPingResponse, 1, 2, 3, 4}, got[0].Payload)
}

// RTMP 1.0 §5.4.5: a new bandwidth is answered with a window, the same is not.
func TestPeerBandwidthIsAnswered(t *testing.T) {
	got := run(t, nil,
		control(typeSetPeerBW, 0, 1, 0, 0, 2), control(typeSetPeerBW, 0, 1, 0, 0, 2), control(typeSetPeerBW, 1))
	require.Len(t, got, 1)
	assert.Equal(t, uint8(typeWindowAckSize), got[0].Type)
	assert.Equal(t, []byte{0, 1, 0, 0}, got[0].Payload)
}

// RTMP 1.0 §5.4.3: received bytes are acknowledged, in time for the peer's
// window, within bounds, with a count that wraps.
func TestAcknowledgements(t *testing.T) {
	audio := chunk.AppendMessage(nil, maxChunkSize, chunk.Message{Type: typeAudio, ChunkStream: 4, Payload: make([]byte, 1<<20)})
	input := [][]byte{control(typeSetChunkSize, 0, 0xFF, 0xFF, 0xFF), audio, audio, audio, audio}
	total := len(bytes.Join(input, nil))
	sum := func(ms []chunk.Message) (n int, last uint32) {
		for _, m := range ms {
			require.Equal(t, uint8(typeAck), m.Type)
			last = binary.BigEndian.Uint32(m.Payload)
		}
		return len(ms), last
	}
	n, last := sum(run(t, nil, input...))
	assert.Equal(t, total/(announcedWindow/2), n)
	assert.InDelta(t, total, last, announcedWindow/2)

	window := func(v uint32) []byte { return control(typeWindowAckSize, binary.BigEndian.AppendUint32(nil, v)...) }
	n, _ = sum(run(t, nil, append([][]byte{window(1)}, input...)...))
	assert.LessOrEqual(t, n, total/(minAckWindow/2), "a tiny window")
	assert.Greater(t, n, 4)
	n, _ = sum(run(t, nil, append([][]byte{window(0xFFFFFFFF)}, input...)...))
	assert.Equal(t, total/(announcedWindow/2), n, "an endless window")

	_, last = sum(run(t, func(c *conn) { c.received, c.acked = 1<<32-1000, 1<<32-1000 }, input...))
	assert.InDelta(t, total, last, announcedWindow, "wraps at 2^32")
	run(t, nil, control(typeAck, 0xF0, 0, 0, 0), control(typeAck, 0, 0, 0, 1)) // what peers count is theirs
}

func TestRepliesToOneReadAreOneWrite(t *testing.T) {
	ping := control(typeUserControl, 0, eventPingRequest, 1, 2, 3, 4)
	nc := &tape{input: bytes.Repeat(ping, 10), piece: 1 << 20}
	c := newConn(nc, time.Second)
	_, err := c.readMessage()
	require.ErrorIs(t, err, io.EOF)
	assert.Equal(t, 1, nc.writes)
	assert.Len(t, messages(t, nc.output.Bytes()), 10)
}

// output is a way out that keeps the batches it gets.
type output struct {
	mu      sync.Mutex
	batches [][]byte
	flushed bool
	err     error
	wrote   chan struct{}
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.batches = append(o.batches, bytes.Clone(p))
	select {
	case o.wrote <- struct{}{}:
	default:
	}
	return len(p), o.err
}

func (o *output) Flush(time.Time) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.flushed = true
	return nil
}

func TestSetOutputTakesEverything(t *testing.T) {
	h := &rig{}
	addr := serve(t, &Server{Handler: h})
	p := connected(t, addr, "live")
	id := p.play("a")
	p.sync()
	stream := h.playback(t, 0).stream
	o := &output{wrote: make(chan struct{}, 1)}
	assert.Nil(t, stream.Output())
	stream.SetOutput(o)
	assert.Same(t, o, stream.Output())

	p.command(id, "pause", 0.0, nil, true, 0.0)
	<-o.wrote
	p.write(control(typeUserControl, 0, eventPingRequest, 9, 9, 9, 9))
	<-o.wrote
	require.NoError(t, stream.Send(stream.AppendTags(nil, clip())))
	<-o.wrote
	_, err := stream.NetConn().Write(stream.AppendTags(nil, []flv.Tag{{Type: flv.TypeAudio, Data: []byte{1}}}))
	require.NoError(t, err)
	assert.Equal(t, uint8(typeAudio), p.read().Type, "nothing but what the output's owner wrote")
	stream.AddBytesOut(1)

	p.command(0, "deleteStream", 0.0, nil, float64(id))
	p.command(0, "sync", 5.0, nil)
	<-o.wrote
	stream.SetOutput(nil)
	p.sync()

	o.mu.Lock()
	defer o.mu.Unlock()
	require.Len(t, o.batches, 4)
	for i, b := range o.batches {
		// Each batch stands for itself: whole messages that begin with full headers,
		// to be read with the chunk size that was announced.
		all := messages(t, append(control(typeSetChunkSize, binary.BigEndian.AppendUint32(nil, defaultChunkSize)...), b...))[1:]
		assert.NotEmpty(t, all, i)
	}
}

func TestOutputIsFlushedAtTheEnd(t *testing.T) {
	h := &rig{}
	addr := serve(t, &Server{Handler: h})
	p := connected(t, addr, "live")
	p.play("a")
	o := &output{}
	stream := h.playback(t, 0).stream
	stream.SetOutput(o)
	stream.Fail(&StatusError{Code: CodePlayStreamNotFound})
	p.wantEOF()
	o.mu.Lock()
	defer o.mu.Unlock()
	assert.True(t, o.flushed)
	require.Len(t, o.batches, 1)
	assert.Contains(t, string(o.batches[0]), CodePlayStreamNotFound)
}

func TestFailingOutputEndsTheSession(t *testing.T) {
	h := &rig{}
	addr := serve(t, &Server{Handler: h})
	p := connected(t, addr, "live")
	id := p.play("a")
	h.playback(t, 0).stream.SetOutput(&output{err: net.ErrClosed})
	p.command(id, "pause", 0.0, nil, true, 0.0)
	p.wantEOF()
	h.wait(t, "close", func() bool { return h.playbacks[0].closed == 1 })
}

func BenchmarkAppendTags(b *testing.B) {
	s := &ServerStream{s: &session{srv: &Server{}}, id: 1}
	tags := []flv.Tag{{Type: flv.TypeVideo, Timestamp: 40, Data: make([]byte, 5000)}}
	var buf []byte
	b.SetBytes(5000)
	b.ReportAllocs()
	for b.Loop() {
		buf = s.AppendTags(buf[:0], tags)
	}
}

// nothing is a Handler that takes everything and keeps nothing.
type nothing struct{ tags, bytes int }

func (n *nothing) Publish(*ServerStream, *Request) (Publication, error) { return n, nil }
func (n *nothing) Play(*ServerStream, *Request) (Playback, error)       { return idlePlayback{}, nil }
func (n *nothing) WriteTag(t flv.Tag) error                             { n.tags++; n.bytes += len(t.Data); return nil }

func (n *nothing) Close(error) {}

// idlePlayback is a Playback that plays nothing.
type idlePlayback struct{}

func (idlePlayback) Pause(bool, time.Duration) {}
func (idlePlayback) ReceiveAudio(bool)         {}
func (idlePlayback) ReceiveVideo(bool)         {}
func (idlePlayback) Close(error)               {}

package rtmp

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/hub/intake"
	"sluice/rtmp/internal/chunk"
	"sluice/rtmp/internal/handshake"
)

// rig is a Handler that passes what is published to those who play it, and
// remembers everything.
type rig struct {
	refusePublish, refusePlay error // what Publish and Play return if not nil
	writeError                error // what WriteTag returns if not nil

	mu           sync.Mutex
	changed      chan struct{} // closed and replaced at each change
	publications []*publication
	playbacks    []*playback
}

// publication is a Publication of a rig.
type publication struct {
	h      *rig
	stream *ServerStream
	req    *Request
	tags   []flv.Tag // copies
	closes []error
}

// playback is a Playback of a rig.
type playback struct {
	h       *rig
	stream  *ServerStream
	req     *Request
	paused  bool
	noAudio bool
	noVideo bool
	closed  int
	pauses  int
}

func (h *rig) changeLocked() {
	if h.changed != nil {
		close(h.changed)
	}
	h.changed = make(chan struct{})
}

// wait waits until a condition on the rig, called with its lock held, is true.
func (h *rig) wait(t testing.TB, what string, cond func() bool) {
	t.Helper()
	timeout := time.NewTimer(20 * time.Second)
	defer timeout.Stop()
	for {
		h.mu.Lock()
		ok := cond()
		if h.changed == nil {
			h.changed = make(chan struct{})
		}
		changed := h.changed
		h.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-timeout.C:
			require.Fail(t, "never happened: "+what)
		}
	}
}

func (h *rig) Publish(s *ServerStream, r *Request) (Publication, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refusePublish != nil {
		return nil, h.refusePublish
	}
	for _, p := range h.publications {
		if p.req.Key() == r.Key() && len(p.closes) == 0 {
			return nil, &StatusError{Code: CodePublishBadName, Description: "busy"}
		}
	}
	p := &publication{h: h, stream: s, req: r}
	h.publications = append(h.publications, p)
	h.changeLocked()
	return p, nil
}

func (h *rig) Play(s *ServerStream, r *Request) (Playback, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refusePlay != nil {
		return nil, h.refusePlay
	}
	p := &playback{h: h, stream: s, req: r}
	h.playbacks = append(h.playbacks, p)
	h.changeLocked()
	return p, s.Send(s.AppendPlayStart(nil))
}

func (p *publication) WriteTag(t flv.Tag) error {
	if p.h.writeError != nil {
		return p.h.writeError
	}
	p.h.mu.Lock()
	defer p.h.mu.Unlock()
	t.Data = bytes.Clone(t.Data)
	p.tags = append(p.tags, t)
	p.h.changeLocked()
	for _, b := range p.h.playbacks {
		skip := b.paused || b.noAudio && t.Type == flv.TypeAudio || b.noVideo && t.Type == flv.TypeVideo
		if b.closed == 0 && b.req.Key() == p.req.Key() && !skip {
			b.stream.Send(b.stream.AppendTags(nil, []flv.Tag{t}))
		}
	}
	return nil
}

func (p *publication) Close(err error) {
	p.h.mu.Lock()
	defer p.h.mu.Unlock()
	p.closes = append(p.closes, err)
	p.h.changeLocked()
	for _, b := range p.h.playbacks {
		if b.closed == 0 && b.req.Key() == p.req.Key() {
			b.stream.Send(b.stream.AppendPlayEnd(nil))
		}
	}
}

func (b *playback) set(f func()) {
	b.h.mu.Lock()
	defer b.h.mu.Unlock()
	f()
	b.h.changeLocked()
}

func (b *playback) Pause(on bool, _ time.Duration) { b.set(func() { b.paused = on; b.pauses++ }) }
func (b *playback) ReceiveAudio(on bool)           { b.set(func() { b.noAudio = !on }) }
func (b *playback) ReceiveVideo(on bool)           { b.set(func() { b.noVideo = !on }) }
func (b *playback) Close(error)                    { b.set(func() { b.closed++ }) }

// publicationOf waits for the n-th publication.
func (h *rig) publication(t testing.TB, n int) *publication {
	t.Helper()
	h.wait(t, "publication", func() bool { return len(h.publications) > n })
	return h.publications[n]
}

func (h *rig) playback(t testing.TB, n int) *playback {
	t.Helper()
	h.wait(t, "playback", func() bool { return len(h.playbacks) > n })
	return h.playbacks[n]
}

// ends returns how often and why a publication was closed so far.
func (p *publication) ends() []error {
	p.h.mu.Lock()
	defer p.h.mu.Unlock()
	return slices.Clone(p.closes)
}

// now returns a copy of a playback as it is now.
func (b *playback) now() playback {
	b.h.mu.Lock()
	defer b.h.mu.Unlock()
	return *b
}

// ended waits for the end of a publication and returns its reason.
func (p *publication) ended(t testing.TB) error {
	t.Helper()
	p.h.wait(t, "end of publication", func() bool { return len(p.closes) > 0 })
	return p.closes[0]
}

// written waits for n tags and returns them.
func (p *publication) written(t testing.TB, n int) []flv.Tag {
	t.Helper()
	p.h.wait(t, "tags", func() bool { return len(p.tags) >= n })
	p.h.mu.Lock()
	defer p.h.mu.Unlock()
	return slices.Clone(p.tags)
}

// parked makes serve have sessions wait in a pool, without a goroutine each, see
// TestParked.
var parked bool

// poll makes a server's sessions wait in a pool until the test ends.
func poll(t testing.TB, srv *Server) {
	pool := intake.New(intake.Config{Workers: 2})
	t.Cleanup(pool.Close)
	srv.Poll = func(c net.Conn, run func()) (Polled, error) {
		source, err := pool.Add(c, run)
		if err != nil {
			return nil, err
		}
		return source, nil
	}
}

// serve runs srv on loopback until the test ends, and returns its address.
func serve(t testing.TB, srv *Server) string {
	t.Helper()
	if parked && srv.Poll == nil {
		poll(t, srv)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	t.Cleanup(func() {
		srv.Close()
		assert.ErrorIs(t, <-done, ErrServerClosed)
	})
	return l.Addr().String()
}

// pipeListener is a net.Listener whose connections are net.Pipes.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

func (l *pipeListener) Addr() net.Addr { return pipeAddr{} }

// dial connects to the listener.
func (l *pipeListener) dial(t testing.TB) net.Conn {
	t.Helper()
	near, far := net.Pipe()
	select {
	case l.conns <- far:
	case <-l.closed:
		require.Fail(t, "listener is closed")
	}
	t.Cleanup(func() { near.Close() })
	return near
}

// peer is a client that says exactly what a test wants, on message level.
type peer struct {
	t    testing.TB
	nc   net.Conn
	rd   *chunk.Reader
	size int // of outgoing chunks
}

// newPeer shakes hands on nc.
func newPeer(t testing.TB, nc net.Conn) *peer {
	t.Helper()
	require.NoError(t, handshake.Client(nc))
	return &peer{t: t, nc: nc, rd: chunk.NewReader(nc, chunk.Limits{}), size: protocolChunkSize}
}

// dialPeer shakes hands over TCP.
func dialPeer(t testing.TB, addr string) *peer {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(30 * time.Second))
	return newPeer(t, nc)
}

// connected is dialPeer and connect.
func connected(t testing.TB, addr, app string) *peer {
	t.Helper()
	p := dialPeer(t, addr)
	p.connect(app)
	return p
}

func (p *peer) write(b []byte) {
	p.t.Helper()
	_, err := p.nc.Write(b)
	require.NoError(p.t, err)
}

func (p *peer) message(m chunk.Message) {
	p.t.Helper()
	if m.ChunkStream == 0 {
		m.ChunkStream = 4
	}
	p.write(chunk.AppendMessage(nil, p.size, m))
}

func (p *peer) command(msid uint32, values ...any) {
	p.t.Helper()
	p.message(chunk.Message{Type: typeCommand, StreamID: msid, ChunkStream: 3, Payload: amf.AppendAMF0(nil, values...)})
}

// read returns the next message, protocol control included.
func (p *peer) read() chunk.Message {
	p.t.Helper()
	m, err := p.rd.Read()
	require.NoError(p.t, err)
	m.Payload = bytes.Clone(m.Payload)
	return m
}

// values reads up to the next command or data message and returns its values.
func (p *peer) values() (uint32, []any) {
	p.t.Helper()
	for {
		m := p.read()
		if m.Type != typeCommand && m.Type != typeData {
			continue
		}
		v, err := amf.DecodeAll(m.Payload, amf.Limits{})
		require.NoError(p.t, err)
		return m.StreamID, v
	}
}

// result reads the _result of a transaction, skipping other messages.
func (p *peer) result(txn float64) []any {
	p.t.Helper()
	for {
		if _, v := p.values(); v[0] == "_result" && v[1] == txn {
			return v
		}
	}
}

// status reads the next onStatus or _error and returns stream, level and code.
func (p *peer) status() (msid uint32, level, code string) {
	p.t.Helper()
	for {
		msid, v := p.values()
		if v[0] == "onStatus" || v[0] == "_error" {
			o := props(v[3].(amf.Object))
			return msid, o.str("level"), o.str("code")
		}
	}
}

func (p *peer) wantStatus(msid uint32, level, code string) {
	p.t.Helper()
	gotID, gotLevel, gotCode := p.status()
	assert.Equal(p.t, []any{msid, level, code}, []any{gotID, gotLevel, gotCode})
}

// wantEOF reads until the server has closed.
func (p *peer) wantEOF() {
	p.t.Helper()
	for {
		if _, err := p.rd.Read(); err != nil {
			assert.True(p.t, errors.Is(err, io.EOF), err)
			return
		}
	}
}

func (p *peer) connect(app string) []any {
	p.t.Helper()
	p.command(0, "connect", 1.0, amf.Object{{Name: "app", Value: app}, {Name: "tcUrl", Value: "rtmp://host/" + app}})
	return p.result(1)
}

func (p *peer) createStream() uint32 {
	p.t.Helper()
	p.command(0, "createStream", 7.0, nil)
	return uint32(p.result(7)[3].(float64))
}

// publish publishes on a new message stream.
func (p *peer) publish(name string) uint32 {
	p.t.Helper()
	id := p.createStream()
	p.command(id, "publish", 0.0, nil, name, "live")
	p.wantStatus(id, LevelStatus, CodePublishStart)
	return id
}

// play plays on a new message stream.
func (p *peer) play(name string) uint32 {
	p.t.Helper()
	id := p.createStream()
	p.command(id, "play", 0.0, nil, name, -2000.0)
	p.wantStatus(id, LevelStatus, CodePlayReset)
	p.wantStatus(id, LevelStatus, CodePlayStart)
	return id
}

// sync waits until the server has handled everything that was sent.
func (p *peer) sync() {
	p.t.Helper()
	p.command(0, "sync", 99.0, nil)
	p.result(99)
}

// script is the body of a script tag.
func script(values ...any) []byte { return amf.AppendAMF0(nil, values...) }

// clip is a short stream: metadata, codec headers and frames, with Enhanced RTMP
// bodies of which nothing may change, a large frame, and times beyond 24 bits.
func clip() []flv.Tag {
	big := bytes.Repeat([]byte{0x17, 1, 0, 0, 0, 0xC3}, 30_000)
	return []flv.Tag{
		{Type: flv.TypeScript, Data: script(onMetaData, amf.ECMAArray{{Name: "width", Value: 640.0}})},
		{Type: flv.TypeVideo, Data: []byte{0x17, 0, 0, 0, 0, 1, 100}},
		{Type: flv.TypeAudio, Data: []byte{0xAF, 0, 0x12, 0x10}},
		{Type: flv.TypeVideo, Timestamp: 40, Data: big},
		{Type: flv.TypeAudio, Timestamp: 41, Data: []byte{0xAF, 1, 2, 3}},
		{Type: flv.TypeVideo, Timestamp: 80, Data: []byte{0x90, 'h', 'v', 'c', '1', 1}},
		{Type: flv.TypeVideo, Timestamp: 80, Data: []byte{0x97, 0x01, 0, 0, 0x02, 0x61, 'a', 'v', '0', '1', 0, 9}},
		{Type: flv.TypeAudio, Timestamp: 81, Data: []byte{0x90, 'O', 'p', 'u', 's', 5}},
		{Type: flv.TypeAudio, Timestamp: 0xFFFFFE, Data: []byte{}},
		{Type: flv.TypeVideo, Timestamp: 0xFFFFFF, Data: []byte{0x27, 1, 0, 0, 0, 5}},
		{Type: flv.TypeVideo, Timestamp: 1 << 24, Data: big},
		{Type: flv.TypeScript, Timestamp: 1 << 31, Data: script("onTextData", amf.Object{{Name: "text", Value: "hi"}})},
		{Type: flv.TypeAudio, Timestamp: 0xFFFFFFFF, Data: []byte{0xAF, 1, 9}},
	}
}

// equalTags fails unless the tags are the same.
func equalTags(t testing.TB, want, got []flv.Tag) {
	t.Helper()
	require.Equal(t, len(want), len(got), "number of tags")
	for i := range want {
		if want[i].Type != got[i].Type || want[i].Timestamp != got[i].Timestamp || !bytes.Equal(want[i].Data, got[i].Data) {
			require.Failf(t, "tags differ", "tag %d: want %v %d (%d bytes), got %v %d (%d bytes)", i,
				want[i].Type, want[i].Timestamp, len(want[i].Data), got[i].Type, got[i].Timestamp, len(got[i].Data))
		}
	}
}

package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
)

// patience is how long tests wait for what has to happen.
const patience = 30 * time.Second

// until waits until something is so.
func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !so(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			require.FailNow(t, "not in time: "+what)
		}
	}
}

// encoder makes the tags of a stream: 25 pictures a second with a key frame each second, and sound.
type encoder struct {
	mark byte // in each frame, so that those of two encoders differ
	n    int  // frames so far
}

// headers returns codec headers: AVC of 320x180 and AAC-LC of 44.1 kHz.
func (e *encoder) headers() []flv.Tag {
	avcC := []byte{
		1, 0x42, 0xc0, 0x0d, 0xff, 0xe1, 0, 0x15, 0x67, 0x42, 0xc0, 0x0d, 0xd9, 0x01, 0x41, 0x9f, 0xe0, 0x10, 0, 0, 3, 0,
		0x10, 0, 0, 3, 3, 0x20, 0xf1, 0x42, 0xa4, 1, 0, 4, 0x68, 0xcb, 0x83, 0xcb,
	}
	return []flv.Tag{
		{Type: flv.TypeVideo, Data: append([]byte{0x17, 0, 0, 0, 0}, avcC...)},
		{Type: flv.TypeAudio, Data: []byte{0xaf, 0, 0x12, 0x10}},
	}
}

// next returns the next picture, and the sound beside it.
func (e *encoder) next() []flv.Tag {
	at := uint32(e.n * 40)
	head := byte(0x27)
	if e.n%25 == 0 {
		head = 0x17
	}
	e.n++
	body := fmt.Appendf(nil, "%c frame %d of the picture", e.mark, e.n)
	return []flv.Tag{
		{Type: flv.TypeVideo, Timestamp: at, Data: append([]byte{head, 1, 0, 0, 0, 0, 0, 0, byte(len(body))}, body...)},
		{Type: flv.TypeAudio, Timestamp: at + 5, Data: append([]byte{0xaf, 1}, fmt.Sprintf("%c sound %d", e.mark, e.n)...)},
	}
}

// origin is another server: a hub of its own, whose streams are read by way of origin.open.
type origin struct {
	hub   *hub.Hub
	node  string
	opens atomic.Int32

	mu      sync.Mutex
	refuse  error // what open answers
	sources map[*source]struct{}
}

func newOrigin(t *testing.T, node string) *origin {
	o := &origin{hub: hub.New(hub.Config{Node: node, LogDuration: 10 * time.Second}), node: node, sources: map[*source]struct{}{}}
	t.Cleanup(func() {
		o.breakAll(io.ErrUnexpectedEOF)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, o.hub.Shutdown(ctx))
	})
	return o
}

// says has open answer with an error; nil opens.
func (o *origin) says(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.refuse = err
}

// breakAll ends all connections with an error.
func (o *origin) breakAll(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for s := range o.sources {
		s.end(err)
	}
}

// open opens the stream that the last two segments of a URL's path name.
func (o *origin) open(ctx context.Context, op Opening) (Source, error) {
	o.opens.Add(1)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.refuse != nil {
		return nil, o.refuse
	}
	r, err := o.hub.Read(hub.Key{App: "live", Name: "a"}, hub.ReadOptions{FromSession: op.Back > 0})
	if err != nil {
		return nil, Failed(CauseNotFound, "there is no such stream")
	}
	s := &source{origin: o, reader: r, closed: make(chan error, 1)}
	o.sources[s] = struct{}{}
	return s, nil
}

// source is a connection to an origin.
type source struct {
	origin *origin
	reader *hub.Reader
	batch  hub.ReadBatch
	at     int
	base   int64
	based  bool
	closed chan error
	ended  atomic.Bool
	err    error
}

func (s *source) ReadTag() (flv.Tag, error) {
	for s.err == nil && s.at == len(s.batch.Packets) {
		switch end := s.reader.Read(&s.batch, 64<<10); {
		case len(s.batch.Packets) > 0:
		case end != hub.ReasonNone:
			return flv.Tag{}, io.EOF
		default:
			select {
			case <-s.reader.Ready():
			case s.err = <-s.closed:
			}
		}
		s.at = 0
	}
	if s.err == nil {
		select {
		case s.err = <-s.closed:
		default:
		}
	}
	if s.err != nil {
		return flv.Tag{}, s.err
	}
	p := s.batch.Packets[s.at]
	s.at++
	if !s.based {
		s.base, s.based = p.Time, true
	}
	p.Tag.Timestamp = uint32(max(0, p.Time-s.base))
	return p.Tag, nil
}

func (s *source) end(err error) {
	if !s.ended.Swap(true) {
		s.closed <- err
	}
}

func (s *source) Buffered() bool { return s.at < len(s.batch.Packets) }
func (s *source) Node() string   { return s.origin.node }
func (s *source) Remote() string { return "127.0.0.1:1935" }

func (s *source) Close() error {
	s.end(io.ErrClosedPipe)
	s.reader.Close()
	go func() { // breakAll may be under way
		s.origin.mu.Lock()
		defer s.origin.mu.Unlock()
		delete(s.origin.sources, s)
	}()
	return nil
}

// errUnwanted is what a test's server answers that should not be asked.
var errUnwanted = errors.New("nobody should ask")

// publisher publishes an encoder's stream in a hub, at some hundred times its pace.
type publisher struct {
	pub  *hub.Publisher
	stop chan struct{}
	done chan struct{}
	sent atomic.Int64 // frames
}

func publish(t *testing.T, h *hub.Hub, e *encoder, every time.Duration) *publisher {
	t.Helper()
	p := &publisher{stop: make(chan struct{}), done: make(chan struct{})}
	var err error
	p.pub, err = h.Publish(h.NewSession(hub.RolePublish, hub.Key{App: "live", Name: "a"}, hub.Client{Protocol: "rtmp"}), hub.PublishOptions{})
	require.NoError(t, err)
	for _, tag := range e.headers() {
		require.NoError(t, p.pub.Write(tag))
	}
	go func() {
		defer close(p.done)
		for {
			for _, tag := range e.next() {
				if p.pub.Write(tag) != nil {
					return
				}
				p.sent.Add(1)
			}
			select {
			case <-p.stop:
				return
			case <-time.After(every):
			}
		}
	}()
	t.Cleanup(p.leave)
	return p
}

func (p *publisher) leave() {
	select {
	case <-p.stop:
		return
	default:
	}
	close(p.stop)
	<-p.done
	p.pub.Close()
}

// edge is a server that pulls.
type edge struct {
	hub    *hub.Hub
	relay  *Relay
	events chan hub.Event
	deaf   atomic.Bool // the relay is told nothing
}

func newEdge(t *testing.T, cfg Config, rules ...string) *edge {
	t.Helper()
	e := &edge{events: make(chan hub.Event, 10_000)}
	var relay atomic.Pointer[Relay]
	e.hub = hub.New(hub.Config{
		Node: "edge", ViewerWait: 200 * time.Millisecond,
		Observe: func(ev hub.Event) {
			e.events <- ev
			if r := relay.Load(); r != nil && !e.deaf.Load() {
				r.Observe(ev)
			}
		},
		Locate: func(key hub.Key) time.Duration { return relay.Load().Locate(key) },
	})
	cfg.Hub = e.hub
	for _, text := range rules {
		kind, list, _ := cutKind(text)
		parsed, err := ParseRules(kind, list)
		require.NoError(t, err)
		cfg.Rules = append(cfg.Rules, parsed...)
	}
	if cfg.Send == nil {
		cfg.Send = func(context.Context, Sending) (Sink, error) { return nil, errUnwanted }
	}
	var err error
	e.relay, err = New(cfg)
	require.NoError(t, err)
	relay.Store(e.relay)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, e.relay.Close(ctx))
		require.NoError(t, e.hub.Shutdown(ctx))
	})
	return e
}

// watch makes a viewer, which gets its tags by itself.
func (e *edge) watch(t *testing.T, c hub.Client) *hub.Viewer {
	t.Helper()
	if c.Protocol == "" {
		c.Protocol = "http-flv"
	}
	v, err := e.hub.Watch(e.hub.NewSession(hub.RoleWatch, hub.Key{App: "live", Name: "a"}, c), hub.WatchOptions{})
	require.NoError(t, err)
	t.Cleanup(v.Close)
	return v
}

// try makes a viewer and waits for its first frame. It may be told of a failure before it waits.
func (e *edge) try(t *testing.T) error {
	v, err := e.hub.Watch(e.hub.NewSession(hub.RoleWatch, hub.Key{App: "live", Name: "a"}, hub.Client{Protocol: "http-flv"}), hub.WatchOptions{})
	if err != nil {
		return err
	}
	t.Cleanup(v.Close)
	return v.Wait(t.Context())
}

// state returns that of the only connection of the only rule.
func (e *edge) state() ConnectionInfo {
	for _, r := range e.relay.Relays() {
		for _, c := range r.Connections {
			return c
		}
	}
	return ConnectionInfo{}
}

package cluster_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
	"sluice/hub/cluster"
	"sluice/hub/cluster/memory"
)

// rig is several nodes in a bubble of synctest: real hubs, a directory in memory, and streams that go from
// node to node without a network, but as one would have them.
type rig struct {
	t      *testing.T
	engine *memory.Engine
	nodes  []*node
	boots  int
	setups []func(*cluster.Config)

	spy func(cluster.Directory) cluster.Directory // sees what nodes say to the directory; nil for nobody

	mu     sync.Mutex
	by     map[string]*node // by Config.Media
	groups map[string]int   // by name, of a partition; nil for none
}

// node is one of them.
type node struct {
	*rig
	name    string
	boot    string
	hub     *hub.Hub
	cluster *cluster.Cluster
	dir     *memory.Node
	skew    time.Duration
	frozen  chan struct{} // closed when it goes on; nil unless it is frozen. Guarded by rig.mu
	dead    bool          // likewise
	opened  int           // connections that others have opened to it; likewise
	sources map[*source]struct{}
}

const grace = 8 * time.Second

// newRig starts nodes with the names n1, n2 and so on, in a bubble.
func newRig(t *testing.T, nodes int, cfg memory.Config, setups ...func(*cluster.Config)) *rig {
	r := &rig{t: t, engine: memory.New(cfg), by: make(map[string]*node), setups: setups}
	r.startAll(nodes)
	return r
}

func (r *rig) startAll(nodes int) {
	for i := range nodes {
		r.start(fmt.Sprintf("n%d", i+1), 0)
	}
	time.Sleep(2 * time.Second) // they have heard each other
	r.t.Cleanup(r.close)
}

// start starts a node, in the place of one of that name that has died.
func (r *rig) start(name string, skew time.Duration) *node {
	r.boots++
	boot := fmt.Sprintf("%016x", r.boots)
	n := &node{rig: r, name: name, boot: boot, skew: skew, dir: r.engine.Join(name), sources: make(map[*source]struct{})}
	media := "127.0.0.1:" + fmt.Sprint(1000+r.boots)
	ready := make(chan struct{})
	n.hub = hub.New(hub.Config{
		Node: boot, PublisherGrace: grace, Pulse: time.Second,
		Claim: func(ctx context.Context, s *hub.Session) (hub.Claim, error) {
			<-ready
			return n.cluster.Claim(ctx, s)
		},
		StepUp: func(ctx context.Context, s *hub.Session, asked bool) (hub.Claim, error) {
			<-ready
			return n.cluster.StepUp(ctx, s, asked)
		},
		Observe: func(e hub.Event) {
			<-ready
			n.cluster.Observe(e)
		},
		Locate: func(key hub.Key) time.Duration {
			<-ready
			return n.cluster.Locate(key)
		},
	})
	var dir cluster.Directory = n.dir
	if r.spy != nil {
		dir = r.spy(dir)
	}
	var err error
	setting := cluster.Config{
		Hub: n.hub, Directory: dir, Open: n.open, Node: name, Boot: boot, Media: media,
		ProofKey: []byte("key"), Grace: grace, Now: func() time.Time { return time.Now().Add(n.skew) },
	}
	for _, f := range r.setups {
		f(&setting)
	}
	n.cluster, err = cluster.New(setting)
	require.NoError(r.t, err)
	close(ready)
	r.mu.Lock()
	r.by[media] = n
	r.mu.Unlock()
	for i, old := range r.nodes {
		if old.name == name {
			r.nodes[i] = n
			return n
		}
	}
	r.nodes = append(r.nodes, n)
	return n
}

// close ends all nodes.
func (r *rig) close() {
	r.engine.Heal()
	r.engine.Mute(false)
	r.engine.Gone(false)
	for _, n := range r.nodes {
		if !n.dead {
			n.thaw()
			n.end()
		}
	}
}

// end ends a node properly.
func (n *node) end() {
	require.NoError(n.t, n.hub.Shutdown(context.Background()))
	n.cluster.Close()
	require.NoError(n.t, n.dir.Close(context.Background()))
	n.bury()
}

// kill ends a node as SIGKILL does, as far as others see that.
func (n *node) kill() {
	n.engine.Stop(n.name)
	n.bury()
	n.cluster.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = n.hub.Shutdown(ctx) // its viewers are gone with it
}

// bury cuts what others have open to a node.
func (n *node) bury() {
	n.rig.mu.Lock()
	n.dead = true
	n.rig.mu.Unlock()
	n.cut()
}

// cut breaks the connections that others have opened to a node.
func (n *node) cut() {
	n.rig.mu.Lock()
	defer n.rig.mu.Unlock()
	for s := range n.sources {
		s.stop(io.ErrUnexpectedEOF)
	}
	clear(n.sources)
}

func (n *node) freeze() {
	n.engine.Freeze(n.name)
	n.rig.mu.Lock()
	defer n.rig.mu.Unlock()
	n.frozen = make(chan struct{})
}

func (n *node) thaw() {
	n.rig.mu.Lock()
	if n.frozen != nil {
		close(n.frozen)
		n.frozen = nil
	}
	n.rig.mu.Unlock()
	n.engine.Thaw(n.name)
}

// part parts the nodes, and cuts what goes from one side to the other.
func (r *rig) part(groups ...[]string) {
	r.engine.Part(groups...)
	r.mu.Lock()
	r.groups = make(map[string]int)
	for i, names := range groups {
		for _, name := range names {
			r.groups[name] = i
		}
	}
	r.mu.Unlock()
}

func (r *rig) heal() {
	r.engine.Heal()
	r.mu.Lock()
	r.groups = nil
	r.mu.Unlock()
}

// sees reports whether bytes go from one node to the other, and waits for a frozen one; rig.mu is held.
func (r *rig) seesLocked(a, b *node) bool { return !b.dead && r.groups[a.name] == r.groups[b.name] }

// source is what a node has opened to another one.
type source struct {
	from, to *node
	flow     cluster.Outflow
	ctx      context.Context
	stop     context.CancelCauseFunc
	items    []cluster.Item
	start    cluster.Start
	last     cluster.Position
}

// reach waits until the other node answers, or 3 s have passed.
func (s *source) reach() error {
	deadline := time.NewTimer(3 * time.Second)
	defer deadline.Stop()
	for {
		s.to.rig.mu.Lock()
		frozen, sees := s.to.frozen, s.to.rig.seesLocked(s.from, s.to)
		self := s.from.frozen
		s.to.rig.mu.Unlock()
		switch {
		case self != nil: // who reads stands still
			frozen = self
			deadline.Reset(3 * time.Second)
		case frozen == nil && sees:
			return nil
		case frozen == nil: // no byte comes
			frozen = make(chan struct{})
		}
		poll := time.NewTimer(100 * time.Millisecond)
		select {
		case <-frozen:
		case <-poll.C:
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		case <-deadline.C:
			return errors.New("nothing came for 3 s")
		}
	}
}

func (n *node) open(ctx context.Context, o cluster.Opening) (cluster.Source, error) {
	n.rig.mu.Lock()
	to := n.by[o.Address]
	dead := to == nil || to.dead
	n.rig.mu.Unlock()
	if dead {
		return nil, net.ErrClosed
	}
	s := &source{from: n, to: to}
	s.ctx, s.stop = context.WithCancelCause(ctx)
	if err := s.reach(); err != nil {
		return nil, err
	}
	flow, err := to.cluster.Serve(ctx, n.name, o.Key, o.From)
	if err != nil {
		return nil, err
	}
	s.ctx, s.stop = context.WithCancelCause(context.Background())
	s.flow, s.start = flow, flow.Start()
	s.last = s.start.At
	if s.start.Joined && (o.From == nil || s.last.Incarnation != o.From.Incarnation || s.last.Number < o.From.Number) {
		assert.Fail(n.t, "not joined", "%v follows on %v", s.last, o.From)
	}
	n.rig.mu.Lock()
	to.opened++
	to.sources[s] = struct{}{}
	n.rig.mu.Unlock()
	return s, nil
}

func (s *source) Start() cluster.Start { return s.start }

func (s *source) Next() (cluster.Item, error) {
	for len(s.items) == 0 {
		items, err := s.flow.Next(s.ctx, time.Now().Add(time.Second))
		if err != nil {
			if s.ctx.Err() != nil {
				err = context.Cause(s.ctx)
			}
			return cluster.Item{}, err
		}
		if err := s.reach(); err != nil {
			return cluster.Item{}, err
		}
		if s.items = items; len(items) == 0 {
			return cluster.Item{}, nil // a sign of life
		}
	}
	it := s.items[0]
	s.items = s.items[1:]
	if it.At.Incarnation != s.last.Incarnation || it.At.Epoch < s.last.Epoch || it.At.Number < s.last.Number {
		assert.Fail(s.from.t, "not what follows", "%v behind %v", it.At, s.last) // as the inner protocol wants it
	}
	s.last = it.At
	return it, nil
}

func (s *source) Close() error {
	s.stop(net.ErrClosed)
	s.to.rig.mu.Lock()
	delete(s.to.sources, s)
	s.to.rig.mu.Unlock()
	s.flow.Close()
	return nil
}

// publisher is an encoder that publishes at a node: 25 pictures a second with a key frame each second.
type publisher struct {
	*node
	session *hub.Session
	pub     *hub.Publisher
	ended   chan *hub.Refusal // capacity 1
	frames  atomic.Int64
}

func key(name string) hub.Key { return hub.Key{App: "live", Name: name} }

// publish begins to publish. query is what it shows to be the same again.
func (n *node) publish(name, query string) (*publisher, error) {
	return n.publishMoving(name, query, nil)
}

// publishMoving begins to publish as a client that has this to say when it is asked to move (hub.PublishOptions.Move).
func (n *node) publishMoving(name, query string, move func() bool) (*publisher, error) {
	values, _ := url.ParseQuery(query)
	p := &publisher{node: n, ended: make(chan *hub.Refusal, 1)}
	p.session = n.hub.NewSession(hub.RolePublish, key(name), hub.Client{Protocol: "rtmp", Name: name, Query: values})
	if err := p.session.AskAndWait(context.Background()); err != nil {
		return nil, err
	}
	pub, err := n.hub.Publish(p.session, hub.PublishOptions{Move: move, End: func(why *hub.Refusal) { p.ended <- why }})
	if err != nil {
		return nil, err
	}
	p.pub = pub
	return p, p.headers()
}

func (p *publisher) headers() error {
	avcC := []byte{
		1, 0x42, 0xc0, 0x0d, 0xff, 0xe1, 0, 0x15, 0x67, 0x42, 0xc0, 0x0d, 0xd9, 0x01, 0x41, 0x9f, 0xe0, 0x10, 0, 0, 3, 0,
		0x10, 0, 0, 3, 3, 0x20, 0xf1, 0x42, 0xa4, 1, 0, 4, 0x68, 0xcb, 0x83, 0xcb,
	}
	if err := p.pub.Write(flv.Tag{Type: flv.TypeVideo, Data: append([]byte{0x17, 0, 0, 0, 0}, avcC...)}); err != nil {
		return err
	}
	return p.pub.Write(flv.Tag{Type: flv.TypeAudio, Data: []byte{0xaf, 0, 0x12, 0x10}})
}

// send sends so many pictures at their pace, with sound. Each has the publisher's session and a number in it.
func (p *publisher) send(pictures int) error {
	for range pictures {
		head, frame := byte(0x27), p.frames.Add(1)-1
		if frame%25 == 0 {
			head = 0x17
		}
		at := uint32(frame * 40)
		body := fmt.Appendf(nil, "session %d of %s, picture %d", p.session.ID(), p.name, frame)
		video := append([]byte{head, 1, 0, 0, 0, 0, 0, 0, byte(len(body))}, body...)
		if err := p.pub.Write(flv.Tag{Type: flv.TypeVideo, Timestamp: at, Data: video}); err != nil {
			return err
		}
		sound := append([]byte{0xaf, 1}, body...)
		if err := p.pub.Write(flv.Tag{Type: flv.TypeAudio, Timestamp: at, Data: sound}); err != nil {
			return err
		}
		time.Sleep(40 * time.Millisecond)
	}
	return nil
}

// audience is a viewer at a node: it keeps what it was given.
type audience struct {
	*node
	viewer *hub.Viewer
	done   chan struct{}

	mu     sync.Mutex
	tags   []flv.Tag
	came   []time.Time // when each of them did
	reason hub.Reason  // why it ended
}

// plain frames tags so that they can be read back.
type plain struct{}

func (plain) AppendTags(dst []byte, tags []flv.Tag) []byte {
	for _, t := range tags {
		dst = append(dst, byte(t.Type))
		dst = binary.BigEndian.AppendUint32(dst, t.Timestamp)
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(t.Data)))
		dst = append(dst, t.Data...)
	}
	return dst
}

// waker tells of news.
type waker chan struct{}

func (w waker) Wake() {
	select {
	case w <- struct{}{}:
	default:
	}
}

func (a *audience) run() {
	defer close(a.done)
	defer a.viewer.Close()
	if err := a.viewer.Wait(context.Background()); err != nil {
		refusal, _ := errors.AsType[*hub.Refusal](err)
		a.over(refusal.Reason)
		return
	}
	w := make(waker, 1)
	a.viewer.Stream().AddWaker(w)
	defer a.viewer.Stream().RemoveWaker(w)
	var b hub.Batch
	for {
		b.Bytes = b.Bytes[:0]
		more, end := a.viewer.Fill(&b, plain{}, 1<<20)
		a.take(b.Bytes)
		switch {
		case end != hub.ReasonNone:
			a.over(end)
			return
		case !more:
			<-w
		}
	}
}

func (a *audience) over(why hub.Reason) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reason = why
}

func (a *audience) take(bytes []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(bytes) > 0 {
		size := 9 + binary.BigEndian.Uint32(bytes[5:])
		a.tags = append(a.tags, flv.Tag{
			Type: flv.Type(bytes[0]), Timestamp: binary.BigEndian.Uint32(bytes[1:]), Data: slices.Clone(bytes[9:size]),
		})
		a.came = append(a.came, time.Now())
		bytes = bytes[size:]
	}
}

// pictures returns what the pictures say that the viewer was given, and requires that their times go forward.
func (a *audience) pictures() []string {
	a.t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []string
	var last [32]uint32
	for _, t := range a.tags {
		p, err := t.Packet()
		if t.Type == flv.TypeScript || err != nil || p.Kind != flv.KindFrame {
			continue
		}
		require.GreaterOrEqual(a.t, t.Timestamp, last[t.Type])
		last[t.Type] = t.Timestamp
		if t.Type == flv.TypeVideo {
			out = append(out, string(t.Data[9:]))
		}
	}
	return out
}

// sees reports whether the last picture is a publisher's.
func (a *audience) sees(p *publisher) bool {
	all := a.pictures()
	return len(all) > 0 && strings.HasPrefix(all[len(all)-1], p.text())
}

// ended returns why the viewer ended; ReasonNone if it has not.
func (a *audience) ended() hub.Reason {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.reason
}

func (n *node) watch(name string) *audience {
	a := &audience{node: n, done: make(chan struct{})}
	s := n.hub.NewSession(hub.RoleWatch, key(name), hub.Client{Protocol: "http-flv", Name: name})
	require.NoError(n.t, s.AskAndWait(context.Background()))
	v, err := n.hub.Watch(s, hub.WatchOptions{FixedCodecs: true})
	require.NoError(n.t, err)
	a.viewer = v
	go a.run()
	return a
}

// until waits until something is so, for a minute of the bubble's time at the most.
func (r *rig) until(what string, so func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		synctest.Wait()
		if so() {
			return
		}
		if time.Now().After(deadline) {
			require.FailNow(r.t, "not in time: "+what)
		}
	}
}

// text returns how what a publisher sends begins.
func (p *publisher) text() string { return fmt.Sprintf("session %d of", p.session.ID()) }

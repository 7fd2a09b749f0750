package relay

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/hub"
)

const pushSecret = "s3cret-name"

var pushKey = hub.Key{App: "live", Name: "cam"}

// pushRig is a hub, one push of its stream and a target whose behaviour is scripted, on a fake clock.
type pushRig struct {
	t      *testing.T
	hub    *hub.Hub
	push   *push
	target *pushTarget
	log    *pushLog
	done   chan struct{} // closed when run has returned
	cancel context.CancelFunc

	mu     sync.Mutex
	states []State
	nudged bool // events are told to the push
}

// newPushRig makes a rig within a bubble of synctest, which must be ended.
func newPushRig(t *testing.T, hold time.Duration, script ...pushScript) *pushRig {
	t.Helper()
	g := &pushRig{t: t, target: &pushTarget{t: t, script: script, began: time.Now()}, log: &pushLog{}, done: make(chan struct{}), nudged: true}
	log := slog.New(slog.NewTextHandler(g.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	g.hub = hub.New(hub.Config{Node: "here", Logger: log, Observe: g.observe})
	url, err := ParseURL(Push, "rtmp://user:pass@target.example/app/"+pushSecret+"?token=s3cret")
	require.NoError(t, err)
	g.push = newPush(pushConfig{
		Hub: g.hub, Send: g.target.send, Hold: hold, Node: "here", Key: pushKey, URL: url, Logger: log,
		Told: func(i ConnectionInfo) {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.states = append(g.states, i.State)
		},
	})
	return g
}

func (g *pushRig) observe(e hub.Event) {
	g.mu.Lock()
	nudged := g.nudged
	g.mu.Unlock()
	if nudged && e.Key == pushKey && (e.Kind == hub.EventPublished || e.Kind == hub.EventUnpublished) {
		g.push.tell()
	}
}

// run runs the push.
func (g *pushRig) run() {
	ctx, cancel := context.WithCancel(g.t.Context())
	g.cancel = cancel
	go func() {
		g.push.run(ctx)
		close(g.done)
	}()
}

// end ends the push, and the hub, and looks whether anything is left.
func (g *pushRig) end() {
	g.t.Helper()
	g.cancel()
	begun := time.Now()
	<-g.done
	assert.LessOrEqual(g.t, time.Since(begun), 2*pushClose)
	assert.Equal(g.t, Idle, g.push.info().State)
	assert.NoError(g.t, g.hub.Shutdown(g.t.Context()))
	for _, s := range g.target.sinks() {
		assert.True(g.t, s.isOver(), "a connection was left open")
	}
	for _, secret := range []string{pushSecret, "s3cret", "pass"} {
		assert.NotContains(g.t, g.log.String(), secret)
	}
}

// ended reports whether run has returned.
func (g *pushRig) ended() bool {
	synctest.Wait()
	select {
	case <-g.done:
		return true
	default:
		return false
	}
}

// story returns the states that were told since it was asked last.
func (g *pushRig) story() string {
	synctest.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	var words []string
	for _, s := range g.states {
		words = append(words, s.String())
	}
	g.states = nil
	return strings.Join(words, ", ")
}

func (g *pushRig) state() State {
	synctest.Wait()
	return g.push.info().State
}

// pushSource publishes pictures and sound: a picture and a frame of sound each 40 ms, a key frame each
// second.
type pushSource struct {
	*hub.Publisher
	t     *testing.T
	n     int    // frames so far
	codec byte   // of pictures: 7 or 12 (HEVC)
	clock uint32 // of the encoder
	size  int    // of pictures, in bytes
}

// publish begins to publish, with a clock of the encoder's own.
func (g *pushRig) publish() *pushSource { return g.publishAs(7, "header") }

func (g *pushRig) publishAs(codec byte, header string) *pushSource {
	g.t.Helper()
	p, err := g.hub.Publish(g.hub.NewSession(hub.RolePublish, pushKey, hub.Client{Protocol: "test"}), hub.PublishOptions{})
	require.NoError(g.t, err)
	s := &pushSource{Publisher: p, t: g.t, codec: codec, clock: 5000, size: 1000}
	s.write(flv.TypeScript, 0, amf.AppendAMF0(nil, "onMetaData", amf.ECMAArray{
		{Name: "encoder", Value: "test"}, {Name: hub.PathProperty, Value: "origin,middle"},
	}))
	s.header(codec, header)
	s.write(flv.TypeAudio, s.clock, []byte{0xaf, 0, 0x12, 0x10})
	return s
}

func (s *pushSource) header(codec byte, header string) {
	s.codec = codec
	s.write(flv.TypeVideo, s.clock, append([]byte{0x10 | codec, 0, 0, 0, 0}, header...))
}

func (s *pushSource) write(typ flv.Type, at uint32, body []byte) {
	s.t.Helper()
	require.NoError(s.t, s.Write(flv.Tag{Type: typ, Timestamp: at, Data: body}))
}

// play sends frames for so long, in real time.
func (s *pushSource) play(d time.Duration) {
	s.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		s.frame()
		time.Sleep(40 * time.Millisecond)
	}
}

// frame sends what is due at one moment.
func (s *pushSource) frame() {
	s.t.Helper()
	first := byte(0x20)
	if s.n%25 == 0 {
		first = 0x10
	}
	body := append([]byte{first | s.codec, 1, 0, 0, 0}, fmt.Sprint(s.n)...)
	s.write(flv.TypeVideo, s.clock, append(body, make([]byte, s.size)...))
	s.write(flv.TypeAudio, s.clock, []byte{0xaf, 1, byte(s.n)})
	s.n++
	s.clock += 40
}

// pushScript is how one connection of a target goes.
type pushScript struct {
	refuse  *Failure  // it is not opened
	hang    bool      // its opening hangs until that is given up
	late    bool      // likewise, and it is opened all the same
	shape   flv.Shape //
	lacks   flv.Codec // which it does not take
	blocks  bool      // it takes nothing
	rate    int       // bytes per second that it takes; 0 for any number
	mute    bool      // it acknowledges nothing
	unknown bool      // it is not known what it acknowledges
	keys    int       // it ends the connection after so many key frames
	ends    *Failure  // why it does
	slowEnd bool      // it does not answer to Close
}

// pushTarget is what pushes go to: each connection as the script has it, the last one again and again.
type pushTarget struct {
	t      *testing.T
	script []pushScript
	random func() pushScript // in place of the script
	began  time.Time

	mu     sync.Mutex
	all    []*pushSink
	tries  []time.Duration // when, since the target began
	opened []Sending
}

func (g *pushTarget) send(ctx context.Context, to Sending) (Sink, error) {
	g.mu.Lock()
	var how pushScript
	if n := len(g.script); n > 0 {
		how = g.script[min(len(g.tries), n-1)]
	}
	if g.random != nil {
		how = g.random()
	}
	g.tries = append(g.tries, time.Since(g.began))
	g.opened = append(g.opened, to)
	n := len(g.tries)
	g.mu.Unlock()
	switch {
	case how.refuse != nil:
		return nil, how.refuse
	case how.late:
		<-ctx.Done()
	case how.hang:
		<-ctx.Done()
		return nil, ctx.Err()
	}
	s := &pushSink{t: g.t, how: how, n: n, over: make(chan struct{}), ended: make(chan struct{}), moves: make(chan Move, 1)}
	g.mu.Lock()
	g.all = append(g.all, s)
	g.mu.Unlock()
	return s, nil
}

// sinks returns the connections that there were.
func (g *pushTarget) sinks() []*pushSink {
	synctest.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.all[:len(g.all):len(g.all)]
}

// last returns the newest connection.
func (g *pushTarget) last() *pushSink {
	g.t.Helper()
	all := g.sinks()
	require.NotEmpty(g.t, all)
	return all[len(all)-1]
}

// triedAt returns when connections were tried.
func (g *pushTarget) triedAt() []time.Duration {
	synctest.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.tries[:len(g.tries):len(g.tries)]
}

// pushSink is one connection to a pushTarget. It fails the test where the rules for a Sink are not
// kept.
type pushSink struct {
	t     *testing.T
	how   pushScript
	n     int
	over  chan struct{} // closed by Close and Abort
	ended chan struct{}
	moves chan Move

	mu      sync.Mutex
	tags    []flv.Tag
	bytes   int
	keys    int
	writing bool
	closed  bool // properly
	aborted bool
	err     error
}

func (s *pushSink) Shape() flv.Shape       { return s.how.shape }
func (s *pushSink) Takes(c flv.Codec) bool { return s.how.lacks != c }
func (s *pushSink) Moved() <-chan Move     { return s.moves }
func (s *pushSink) Ended() <-chan struct{} { return s.ended }
func (s *pushSink) Remote() string         { return fmt.Sprintf("192.0.2.1:%d", s.n) }

func (s *pushSink) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *pushSink) Unacknowledged() (int, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.how.mute {
		return s.bytes, true
	}
	return 0, !s.how.unknown
}

func (s *pushSink) WriteTags(tags []flv.Tag) error {
	s.mu.Lock()
	assert.False(s.t, s.writing, "two write")
	assert.False(s.t, s.closed, "written to after its end")
	s.writing = true
	blocks, rate := s.how.blocks, s.how.rate
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.writing = false
		s.mu.Unlock()
	}()
	if blocks {
		select {
		case <-s.over:
		case <-s.ended:
		}
		return context.Canceled
	}
	size := 0
	for _, t := range tags {
		size += len(t.Data) + 12
	}
	if rate > 0 {
		select {
		case <-time.After(time.Duration(size) * time.Second / time.Duration(rate)):
		case <-s.over:
			return context.Canceled
		}
	}
	s.mu.Lock()
	s.bytes += size
	for _, t := range tags {
		t.Data = bytes.Clone(t.Data)
		s.tags = append(s.tags, t)
		if p, err := t.Packet(); err == nil && p.Key {
			s.keys++
		}
	}
	enough := s.how.keys > 0 && s.keys >= s.how.keys
	s.mu.Unlock()
	if enough {
		s.end(s.how.ends)
	}
	return nil
}

// end ends the connection as a server does.
func (s *pushSink) end(f *Failure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.ended:
		return
	default:
	}
	if s.err = fmt.Errorf("closed: %w", context.Canceled); f != nil {
		s.err = f
	}
	close(s.ended)
}

func (s *pushSink) Close() error {
	s.mu.Lock()
	s.closed = true
	aborted, slow := s.aborted, s.how.slowEnd
	if !aborted && !slow {
		s.finishLocked()
	}
	s.mu.Unlock()
	if slow {
		<-s.over
		return context.Canceled
	}
	return nil
}

func (s *pushSink) Abort() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.aborted = true
	s.finishLocked()
}

func (s *pushSink) finishLocked() {
	select {
	case <-s.over:
	default:
		close(s.over)
	}
}

func (s *pushSink) isOver() bool {
	select {
	case <-s.over:
		return true
	default:
		return false
	}
}

// isClosed reports whether it was ended properly.
func (s *pushSink) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed && !s.aborted
}

// set changes how it goes on.
func (s *pushSink) set(change func(*pushScript)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.how)
}

// got returns what came so far.
func (s *pushSink) got() []flv.Tag {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tags[:len(s.tags):len(s.tags)]
}

// pushWords tells tags in words: meta, V:HEADER, A, K3, P4, a4 with @TIMESTAMP.
func pushWords(tags []flv.Tag) string {
	var words []string
	for _, t := range tags {
		w := ""
		p, _ := t.Packet()
		switch body := t.Data; {
		case t.Type == flv.TypeScript:
			w = "meta"
		case t.Type == flv.TypeVideo && p.Kind == flv.KindConfig:
			w = "V:" + string(p.Payload)
		case t.Type == flv.TypeAudio && p.Kind == flv.KindConfig:
			w = "A"
		case t.Type == flv.TypeAudio:
			w = fmt.Sprint("a", body[2])
		default:
			w = map[bool]string{true: "K", false: "P"}[p.Key] + strings.TrimRight(string(p.Payload), "\x00")
		}
		words = append(words, fmt.Sprintf("%s@%d", w, t.Timestamp))
	}
	return strings.Join(words, " ")
}

// checkPushClock fails the test if timestamps do not begin at 0, or ever go back.
func checkPushClock(t *testing.T, tags []flv.Tag) {
	t.Helper()
	if len(tags) == 0 {
		return
	}
	assert.Zero(t, tags[0].Timestamp)
	last := map[flv.Type]uint32{}
	for _, tag := range tags {
		if !assert.GreaterOrEqual(t, tag.Timestamp, last[tag.Type], "%v goes back", tag.Type) {
			return
		}
		last[tag.Type] = tag.Timestamp
	}
}

// pushLog keeps the lines of a log.
type pushLog struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *pushLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *pushLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *pushLog) count(text string) int { return strings.Count(l.String(), text) }

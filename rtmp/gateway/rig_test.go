package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/hub"
	"sluice/hub/archive"
	"sluice/hub/archive/union"
	"sluice/hub/fanout"
	"sluice/hub/intake"
	"sluice/hub/tlsconn"
	"sluice/hub/tlsconn/tlstest"
	"sluice/rtmp"
)

// rig is an RTMP server on a hub.
type rig struct {
	t      testing.TB
	hub    *hub.Hub
	pool   *fanout.Pool
	server *rtmp.Server
	client rtmp.Client
	url    string                  // of an app
	wrap   func(net.Conn) net.Conn // makes a client's connection of one to the server
	log    *lines
}

// configs are what a test may change before its rig begins to serve.
type configs struct {
	hub    hub.Config
	pool   fanout.Config
	server rtmp.Server
	// archive has the recordings, if there are any.
	archive *archive.Archive
	// elsewhere finds those of other nodes.
	elsewhere func(context.Context, hub.Key, string) (union.Recording, error)
	// handler, if set, makes what the log is written with, debug lines included.
	handler func(io.Writer, *slog.HandlerOptions) slog.Handler
}

// newRig serves on loopback until the test ends; no viewer may be left then.
func newRig(t testing.TB, change ...func(*configs)) *rig {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	encrypted := os.Getenv("SLUICE_TEST_TLS") != "" // all over again, with what it changes
	if encrypted {
		l = tlsconn.Listen(l, tlsconn.Config{TLS: tlstest.Server()})
	}
	h := serve(t, l, change...)
	h.url = "rtmp://" + address + "/live/"
	h.wrap = func(nc net.Conn) net.Conn { return nc }
	if encrypted {
		h.wrap = func(nc net.Conn) net.Conn { return tls.Client(nc, tlstest.Client()) }
		h.client.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			nc, err := new(net.Dialer).DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return h.wrap(nc), nil
		}
	}
	return h
}

// newPipeRig is newRig over pipes, for tests on a fake clock.
func newPipeRig(t testing.TB, change ...func(*configs)) *rig {
	t.Helper()
	l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	h := serve(t, l, change...)
	h.url = "rtmp://pipe/live/"
	h.client.Dial = l.dial
	return h
}

func serve(t testing.TB, l net.Listener, change ...func(*configs)) *rig {
	t.Helper()
	cfg := configs{hub: hub.Config{PublisherGrace: -1}, server: rtmp.Server{LingerTimeout: 100 * time.Millisecond}}
	for _, c := range change {
		c(&cfg)
	}
	h := &rig{t: t, pool: fanout.New(cfg.pool), server: &cfg.server, log: &lines{}}
	h.server.Logger = slog.New(slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if cfg.handler != nil {
		h.server.Logger = slog.New(cfg.handler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	cfg.hub.Logger = h.server.Logger
	h.hub = hub.New(cfg.hub)
	handler := &Handler{Hub: h.hub, Pool: h.pool, Elsewhere: cfg.elsewhere}
	if cfg.archive != nil {
		handler.Archive = cfg.archive
	}
	h.server.Handler = handler
	if _, pipes := l.(*pipeListener); !pipes {
		h.await()
	}
	served := make(chan error, 1)
	go func() { served <- h.server.Serve(l) }()
	t.Cleanup(func() {
		h.server.Close()
		assert.ErrorIs(t, <-served, rtmp.ErrServerClosed)
		h.pool.Close()
		assert.NoError(t, h.hub.Shutdown(endedContext()), "viewers are left")
		assert.Empty(t, h.hub.Streams())
	})
	return h
}

// await makes sessions wait in a pool, without a goroutine each.
func (h *rig) await() {
	pool := intake.New(intake.Config{})
	h.t.Cleanup(pool.Close) // after the server
	h.server.Poll = func(c net.Conn, run func()) (rtmp.Polled, error) {
		source, err := pool.Add(c, run)
		if err != nil {
			return nil, err
		}
		return source, nil
	}
}

// endedContext makes a shutdown wait for nobody.
func endedContext() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// pipeListener is a net.Listener whose connections are pipes.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case l.conns <- far:
		return near, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
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

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

// lines collects what is logged.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// wait waits for a line with all the given texts.
func (l *lines) wait(t testing.TB, texts ...string) {
	t.Helper()
	require.Eventually(t, func() bool {
		for line := range strings.Lines(l.String()) {
			all := true
			for _, text := range texts {
				all = all && strings.Contains(line, text)
			}
			if all {
				return true
			}
		}
		return false
	}, 10*time.Second, time.Millisecond, "no line with %q", texts)
}

// publisher sends words.
type publisher struct {
	*rtmp.Publisher
	t testing.TB
}

func (h *rig) publish(name string) *publisher {
	h.t.Helper()
	p, err := h.client.Publish(h.t.Context(), h.url+name)
	require.NoError(h.t, err)
	h.t.Cleanup(func() { p.Close() })
	return &publisher{p, h.t}
}

// send publishes words.
func (p *publisher) send(words ...string) {
	p.t.Helper()
	for _, w := range strings.Fields(strings.Join(words, " ")) {
		require.NoError(p.t, p.WriteTag(tag(w)), w)
	}
}

// ended waits until the server has ended the publisher, and returns why.
func (p *publisher) ended() (err error) {
	p.t.Helper()
	require.Eventually(p.t, func() bool {
		err = p.WriteTag(tag("A:late@9000"))
		return err != nil
	}, 10*time.Second, time.Millisecond)
	return err
}

// player reads words.
type player struct {
	*rtmp.Player
	t testing.TB
}

func (h *rig) play(name string) *player {
	h.t.Helper()
	p, err := h.client.Play(h.t.Context(), h.url+name)
	require.NoError(h.t, err)
	h.t.Cleanup(func() { p.Close() })
	return &player{p, h.t}
}

// expect reads these words.
func (p *player) expect(words string) {
	p.t.Helper()
	var got []string
	for range strings.Fields(words) {
		got = append(got, p.next())
	}
	require.Equal(p.t, words, strings.Join(got, " "))
}

func (p *player) next() string {
	p.t.Helper()
	t, err := p.ReadTag()
	require.NoError(p.t, err)
	return word(t)
}

func (p *player) expectEnd(err error) {
	p.t.Helper()
	_, got := p.ReadTag()
	assert.ErrorIs(p.t, got, err)
}

// bodies are the beginnings of tags' bodies: headers, key and inter frames of
// H.264, and a header and frames of HEVC and AAC.
var bodies = map[string]struct {
	typ  flv.Type
	body string
}{
	"vc": {flv.TypeVideo, "\x17\x00\x00\x00\x00"},
	"K":  {flv.TypeVideo, "\x17\x01\x00\x00\x00"},
	"P":  {flv.TypeVideo, "\x27\x01\x00\x00\x00"},
	"hc": {flv.TypeVideo, "\x1c\x00\x00\x00\x00"},
	"HK": {flv.TypeVideo, "\x1c\x01\x00\x00\x00"},
	"ac": {flv.TypeAudio, "\xaf\x00"},
	"A":  {flv.TypeAudio, "\xaf\x01"},
}

// tag makes a tag of a word, KIND[:TEXT][@TIMESTAMP]; meta:av declares both tracks.
func tag(word string) flv.Tag {
	var ts uint32
	word, at, timed := strings.Cut(word, "@")
	if timed {
		fmt.Sscan(at, &ts)
	}
	kind, text, _ := strings.Cut(word, ":")
	if kind == "meta" {
		object := amf.ECMAArray{{Name: "encoder", Value: "test"}}
		if strings.Contains(text, "v") {
			object = append(object, amf.Property{Name: "videocodecid", Value: 7.0})
		}
		if strings.Contains(text, "a") {
			object = append(object, amf.Property{Name: "audiocodecid", Value: 10.0})
		}
		return flv.Tag{Type: flv.TypeScript, Timestamp: ts, Data: amf.AppendAMF0(nil, "onMetaData", object)}
	}
	b, ok := bodies[kind]
	if !ok {
		panic("no such tag: " + word)
	}
	return flv.Tag{Type: b.typ, Timestamp: ts, Data: []byte(b.body + text)}
}

// word is the inverse of tag, without the text of metadata; very long texts are
// their lengths.
func word(t flv.Tag) string {
	at := fmt.Sprintf("@%d", t.Timestamp)
	if t.Type == flv.TypeScript {
		return "meta" + at
	}
	for kind, b := range bodies {
		if text, ok := strings.CutPrefix(string(t.Data), b.body); ok && b.typ == t.Type {
			if len(text) > 100 {
				text = fmt.Sprint(len(text))
			}
			if text != "" {
				kind += ":" + text
			}
			return kind + at
		}
	}
	return fmt.Sprintf("%v:%x%s", t.Type, t.Data, at)
}

// start is the beginning of a stream with both tracks, and started what a player
// that joins it gets.
const (
	start   = "meta:av vc:h264 ac:aac K:1@5000 A:2@5010 P:3@5040"
	started = "meta@0 vc:h264@0 ac:aac@0 K:1@0 A:2@10 P:3@40"
)

// viewers waits until the hub has that many viewers.
func (h *rig) waitViewers(n int) {
	h.t.Helper()
	require.Eventually(h.t, func() bool {
		count := 0
		for _, s := range h.hub.Streams() {
			count += s.Viewers
		}
		return count == n
	}, 10*time.Second, time.Millisecond, "there are not %d viewers", n)
}

// refusedWith fails unless err is a status with the given code.
func refusedWith(t testing.TB, err error, code string) {
	t.Helper()
	var status *rtmp.StatusError
	require.True(t, errors.As(err, &status), "%v", err)
	assert.Equal(t, code, status.Code)
	assert.NotEmpty(t, status.Description)
}

//lint:file-ignore SA1019 the WebSocket library is given, and final at this version.

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"nhooyr.io/websocket"

	"sluice/flv"
	"sluice/hub"
	"sluice/rtmp"
	"sluice/web/admin"
)

// What is published comes out of all three outputs: the same frames with the same
// bytes, in order, at the same times but for one constant, and the same headers.
func TestRoundTrip(t *testing.T) {
	out, _ := start(t, append(operators, "SLUICE_MAX_LAG=2m", "SLUICE_PUBLISHER_GRACE=0", "SLUICE_VIEWER_WAIT=1m")...)
	s := servedStream{
		publish: out.find(t, `rtmp://(127\.0\.0\.1:\d+)/live/NAME\n`)[1],
		watch:   out.find(t, `http://(127\.0\.0\.1:\d+)/ in a browser`)[1],
		caps:    rtmp.AllCapabilities(), // takes bodies as they are
		viewers: viewersBy(t, out),
	}
	clips, err := filepath.Glob("../../testdata/clips/*.flv")
	require.NoError(t, err)
	require.NotEmpty(t, clips)
	captures, err := filepath.Glob("../../testdata/captures/*-*-*.c2s")
	require.NoError(t, err)
	require.NotEmpty(t, captures)
	t.Run("all", func(t *testing.T) { // which ends before the server does
		for _, file := range clips {
			t.Run(filepath.Base(file), func(t *testing.T) {
				t.Parallel()
				s := s
				s.key = "clips/" + filepath.Base(strings.TrimSuffix(file, ".flv"))
				s.roundTrip(t, readClip(t, file), s.publishTags)
			})
		}
		for _, file := range captures {
			t.Run(filepath.Base(file), func(t *testing.T) {
				t.Parallel()
				raw, err := os.ReadFile(file)
				require.NoError(t, err)
				s := s
				var tags []flv.Tag
				s.key, tags = replayToRecorder(t, raw)
				s.roundTrip(t, tags, func(t *testing.T, _ []flv.Tag, begun <-chan struct{}) { s.replay(t, raw, begun) })
			})
		}
	})
}

// readClip returns the tags of a file.
func readClip(t *testing.T, file string) (tags []flv.Tag) {
	t.Helper()
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	r := flv.NewReader(bytes.NewReader(b))
	for {
		tag, err := r.Next()
		if err == io.EOF {
			return tags
		}
		require.NoError(t, err)
		tags = append(tags, tag)
	}
}

// servedStream is where one stream of a server is published and watched.
type servedStream struct {
	publish, watch string // host:port
	key            string
	query          string            // with which it is watched: "?…" or ""
	caps           rtmp.Capabilities // what an RTMP player announces
	viewers        func(key string) int
}

// roundTrip publishes, as fast as possible, to viewers over everything who have
// waited, and compares what they got with the tags.
func (s servedStream) roundTrip(t *testing.T, tags []flv.Tag, publish func(*testing.T, []flv.Tag, <-chan struct{})) {
	var viewers []*recording
	var running, beginning sync.WaitGroup
	for name, open := range map[string]func(context.Context) (tagSource, error){
		"RTMP": s.openRTMP, "HTTP-FLV": s.openHTTP, "WebSocket-FLV": s.openWebSocket,
	} {
		v := &recording{name: name}
		viewers = append(viewers, v)
		beginning.Add(1)
		running.Go(func() { v.run(t.Context(), open, sync.OnceFunc(beginning.Done)) })
	}
	s.awaitViewers(t, 3)
	begun := make(chan struct{})
	go func() {
		beginning.Wait()
		close(begun)
	}()
	publish(t, tags, begun)
	running.Wait()
	want := contentOf(t, tags)
	require.NotEmpty(t, want.frames)
	for _, v := range viewers {
		require.ErrorIs(t, v.err, io.EOF, "%s: not a proper end", v.name)
		got := contentOf(t, v.tags)
		assert.Equal(t, want.configs, got.configs, v.name)
		require.Len(t, got.frames, len(want.frames), v.name)
		for i := range want.frames {
			require.Equal(t, want.frames[i], got.frames[i], "%s: frame %d", v.name, i)
		}
		assert.Equal(t, flv.TypeScript, v.tags[0].Type, v.name)
		assert.Zero(t, v.tags[0].Timestamp, v.name)
	}
}

// awaitViewers waits until n viewers are there, by what the server knows of them: the public
// list does not tell of streams that are only waited for.
func (s servedStream) awaitViewers(t *testing.T, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return s.viewers(s.key) == n }, 20*time.Second, 10*time.Millisecond)
}

const adminToken = "S3CRETadmin-0123456789"

// operators are the variables by which a server has the operators' API.
var operators = []string{"SLUICE_ADMIN_ADDR=127.0.0.1:0", "SLUICE_ADMIN_TOKEN=" + adminToken}

// viewersBy returns what asks the operators' API of a program how many viewers a stream has.
func viewersBy(t *testing.T, out *output) func(key string) int {
	t.Helper()
	addr := out.find(t, `Operators http://(127\.0\.0\.1:\d+)/`)[1]
	return func(key string) int {
		r, err := http.NewRequest(http.MethodGet, "http://"+addr+"/api/v1/streams?stream="+url.QueryEscape(key), nil)
		if err != nil {
			return -1
		}
		r.Header.Set("Authorization", "Bearer "+adminToken)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			return -1
		}
		defer res.Body.Close()
		defer http.DefaultClient.CloseIdleConnections()
		var streams admin.Streams
		if json.NewDecoder(res.Body).Decode(&streams) != nil || len(streams.Streams) != 1 {
			return -1
		}
		return streams.Streams[0].Viewers.Total
	}
}

// viewersOf returns the same of a hub in this process.
func viewersOf(h *hub.Hub) func(key string) int {
	return func(key string) int {
		for _, s := range h.Streams() {
			if s.App+"/"+s.Name == key {
				return s.Viewers
			}
		}
		return -1
	}
}

// content is what has to be the same at both ends.
type content struct {
	configs map[string]bool // codec headers
	frames  []flv.Tag       // with times from 0
}

// contentOf returns the frames of tags from the first that a viewer can start with,
// and all codec headers.
func contentOf(t *testing.T, tags []flv.Tag) content {
	t.Helper()
	hasVideo := false
	for _, tag := range tags {
		hasVideo = hasVideo || tag.Type == flv.TypeVideo
	}
	c := content{configs: map[string]bool{}}
	var base uint32
	for _, tag := range tags {
		if tag.Type == flv.TypeScript || len(tag.Data) == 0 {
			continue
		}
		p, err := tag.Packet()
		require.NoError(t, err)
		switch {
		case p.Kind == flv.KindConfig && len(p.Payload) > 0:
			c.configs[string(tag.Data)] = true
		case p.Kind != flv.KindFrame, len(c.frames) == 0 && hasVideo && !p.Key, len(c.frames) > 0 && tag.Timestamp < base:
		default:
			if len(c.frames) == 0 {
				base = tag.Timestamp
			}
			tag.Timestamp -= base
			c.frames = append(c.frames, tag)
		}
	}
	return c
}

// tagSource is an output being watched; it has to be closed.
type tagSource struct {
	next  func() (flv.Tag, error)
	close func()
}

func (s servedStream) openRTMP(ctx context.Context) (tagSource, error) {
	c := rtmp.Client{Capabilities: s.caps}
	p, err := c.Play(ctx, "rtmp://"+s.publish+"/"+s.key+s.query)
	if err != nil {
		return tagSource{}, err
	}
	next := func() (flv.Tag, error) {
		tag, err := p.ReadTag()
		tag.Data = bytes.Clone(tag.Data)
		return tag, err
	}
	return tagSource{next, func() { p.Close() }}, nil
}

func (s servedStream) openHTTP(ctx context.Context) (tagSource, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.watch+"/"+s.key+".flv"+s.query, nil)
	if err != nil {
		return tagSource{}, err
	}
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return tagSource{}, err
	}
	return tagSource{flv.NewReader(res.Body).Next, func() { res.Body.Close() }}, nil
}

func (s servedStream) openWebSocket(ctx context.Context) (tagSource, error) {
	ws, _, err := websocket.Dial(ctx, "ws://"+s.watch+"/"+s.key+".flv"+s.query, nil)
	if err != nil {
		return tagSource{}, err
	}
	ws.SetReadLimit(1 << 20)
	messages := &messageReader{ctx: ctx, conn: ws}
	tags := flv.NewReader(messages)
	next := func() (flv.Tag, error) {
		tag, err := tags.Next()
		if err != nil && websocket.CloseStatus(messages.end) != websocket.StatusNormalClosure {
			err = errors.Join(messages.end, io.ErrUnexpectedEOF)
		}
		return tag, err
	}
	return tagSource{next, func() { ws.CloseNow() }}, nil
}

// recording is what a viewer got.
type recording struct {
	name string
	tags []flv.Tag
	err  error // with which it ended
}

func (r *recording) run(ctx context.Context, open func(context.Context) (tagSource, error), begun func()) {
	defer begun()
	var s tagSource
	if s, r.err = open(ctx); r.err != nil {
		return
	}
	defer s.close()
	for {
		var tag flv.Tag
		if tag, r.err = s.next(); r.err != nil {
			return
		}
		r.tags = append(r.tags, tag)
		begun()
	}
}

// untilBegun lets viewers begin before a publisher is a GOP ahead of them.
func untilBegun(begun <-chan struct{}) {
	select {
	case <-begun:
	case <-time.After(50 * time.Millisecond):
	}
}

// publishTags publishes with our client.
func (s servedStream) publishTags(t *testing.T, tags []flv.Tag, begun <-chan struct{}) {
	var c rtmp.Client
	p, err := c.Publish(t.Context(), "rtmp://"+s.publish+"/"+s.key)
	require.NoError(t, err)
	defer p.Close()
	for _, tag := range tags {
		require.NoError(t, p.WriteTag(tag))
		untilBegun(begun)
	}
}

// replay publishes by sending what a real encoder sent, handshake included.
func (s servedStream) replay(t *testing.T, raw []byte, begun <-chan struct{}) {
	c, err := net.Dial("tcp", s.publish)
	require.NoError(t, err)
	defer c.Close()
	var answers sync.WaitGroup
	answers.Go(func() { io.Copy(io.Discard, c) })
	for len(raw) > 0 {
		n := min(len(raw), 1000)
		_, err := c.Write(raw[:n])
		require.NoError(t, err)
		raw = raw[n:]
		untilBegun(begun)
	}
	require.NoError(t, c.(*net.TCPConn).CloseWrite())
	answers.Wait()
}

// recorder is an RTMP server's handler that keeps what is published.
type recorder struct {
	key  string
	tags []flv.Tag
	done chan struct{}
}

func (r *recorder) Publish(_ *rtmp.ServerStream, req *rtmp.Request) (rtmp.Publication, error) {
	r.key = req.Key()
	return r, nil
}

func (r *recorder) Play(*rtmp.ServerStream, *rtmp.Request) (rtmp.Playback, error) {
	return nil, errors.New("nothing to see")
}

func (r *recorder) WriteTag(t flv.Tag) error {
	t.Data = bytes.Clone(t.Data)
	r.tags = append(r.tags, t)
	return nil
}

func (r *recorder) Close(error) { close(r.done) }

// replayToRecorder returns what a captured session publishes.
func replayToRecorder(t *testing.T, raw []byte) (key string, tags []flv.Tag) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &recorder{done: make(chan struct{})}
	srv := &rtmp.Server{Handler: r}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	begun := make(chan struct{})
	close(begun)
	servedStream{publish: l.Addr().String()}.replay(t, raw, begun)
	<-r.done
	require.NoError(t, srv.Close())
	<-served
	return r.key, r.tags
}

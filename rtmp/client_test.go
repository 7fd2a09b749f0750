package rtmp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
)

func TestPublishArrivesWhole(t *testing.T) {
	h := &rig{}
	addr := serve(t, &Server{Handler: h})
	for _, size := range []int{0, 1, 128, 4096} {
		c := &Client{ChunkSize: size, Capabilities: AllCapabilities()}
		p, err := c.Publish(t.Context(), "rtmp://"+addr+"/live/a?token=x")
		require.NoError(t, err)
		want := clip()
		for _, tag := range want {
			require.NoError(t, p.WriteTag(tag))
		}
		require.NoError(t, p.Close())
		assert.ErrorIs(t, p.Close(), net.ErrClosed)
		assert.ErrorIs(t, p.WriteTag(want[0]), net.ErrClosed)

		h.mu.Lock()
		got := h.publications[len(h.publications)-1]
		h.mu.Unlock()
		assert.NoError(t, got.ended(t), "FCUnpublish is a proper end")
		equalTags(t, want, got.tags)
		assert.Equal(t, "live/a", got.req.Key())
		assert.Equal(t, url.Values{"token": {"x"}}, got.req.Query)
		assert.Equal(t, "live", got.req.Type)
		assert.Equal(t, AllCapabilities(), got.req.Capabilities)
	}
}

func TestPublishInBatches(t *testing.T) {
	h := &rig{}
	addr := serve(t, &Server{Handler: h})
	dialed := make(chan *countedWrites, 1)
	c := &Client{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		nc, err := new(net.Dialer).DialContext(ctx, network, address)
		counted := &countedWrites{Conn: nc}
		dialed <- counted
		return counted, err
	}}
	p, err := c.Publish(t.Context(), "rtmp://"+addr+"/live/a")
	require.NoError(t, err)
	want := clip()
	nc := <-dialed
	before := nc.writes.Load()
	require.NoError(t, p.WriteTags(want))
	assert.NoError(t, p.WriteTags(nil))
	assert.EqualValues(t, 1, nc.writes.Load()-before, "writes")
	unknown := append(clip(), flv.Tag{Type: 99})
	assert.ErrorIs(t, p.WriteTags(unknown), errors.ErrUnsupported)
	assert.EqualValues(t, 1, nc.writes.Load()-before, "nothing of it is sent")
	require.NoError(t, p.Close())
	assert.ErrorIs(t, p.WriteTags(want), net.ErrClosed)

	h.mu.Lock()
	got := h.publications[0]
	h.mu.Unlock()
	assert.NoError(t, got.ended(t))
	equalTags(t, want, got.tags)
}

// countedWrites counts the writes to a connection.
type countedWrites struct {
	net.Conn
	writes atomic.Int64
}

func (c *countedWrites) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

func TestPublishToPlayers(t *testing.T) {
	for _, size := range []int{0, 1, 4096} {
		h := &rig{}
		addr := serve(t, &Server{Handler: h, ChunkSize: size})
		var c Client
		player, err := c.Play(t.Context(), "rtmp://"+addr+"/live/a")
		require.NoError(t, err)
		defer player.Close()
		pub, err := c.Publish(t.Context(), "rtmp://"+addr+"/live/a")
		require.NoError(t, err)
		for _, want := range clip() {
			require.NoError(t, pub.WriteTag(want))
			got, err := player.ReadTag()
			require.NoError(t, err)
			equalTags(t, []flv.Tag{want}, []flv.Tag{got})
		}
		require.NoError(t, pub.Close())
		for range 2 {
			_, err = player.ReadTag()
			assert.ErrorIs(t, err, io.EOF)
			assert.NotErrorIs(t, err, io.ErrUnexpectedEOF)
		}
	}
}

func TestPlayerSteers(t *testing.T) {
	h := &rig{}
	addr := serve(t, &Server{Handler: h})
	var c Client
	player, err := c.Play(t.Context(), "rtmp://"+addr+"/live/a")
	require.NoError(t, err)
	b := h.playback(t, 0)
	steps := []struct {
		name string
		do   func() error
		cond func() bool
	}{
		{"pause", func() error { return player.Pause(true) }, func() bool { return b.paused }},
		{"resume", func() error { return player.Pause(false) }, func() bool { return !b.paused }},
		{"no video", func() error { return player.ReceiveVideo(false) }, func() bool { return b.noVideo }},
		{"video", func() error { return player.ReceiveVideo(true) }, func() bool { return !b.noVideo }},
		{"no audio", func() error { return player.ReceiveAudio(false) }, func() bool { return b.noAudio }},
		{"audio", func() error { return player.ReceiveAudio(true) }, func() bool { return !b.noAudio }},
	}
	for _, s := range steps {
		require.NoError(t, s.do(), s.name)
		h.wait(t, s.name, s.cond)
	}
	reading := make(chan error)
	go func() {
		_, err := player.ReadTag()
		reading <- err
	}()
	require.NoError(t, player.Close())
	assert.ErrorIs(t, <-reading, net.ErrClosed)
	assert.ErrorIs(t, player.Close(), net.ErrClosed)
	h.wait(t, "close", func() bool { return b.closed == 1 })
}

func TestClientIsRefused(t *testing.T) {
	cause := errors.New("the reason inside")
	for _, tt := range []struct {
		err  error
		pub  StatusError
		play StatusError
	}{
		{cause, StatusError{Level: LevelError, Code: CodePublishRejected, Description: "refused"}, StatusError{Level: LevelError, Code: CodePlayFailed, Description: "refused"}},
		{&StatusError{Code: CodePublishBadName, Description: "busy", Err: cause},
			StatusError{Level: LevelError, Code: CodePublishBadName, Description: "busy"}, StatusError{Level: LevelError, Code: CodePublishBadName, Description: "busy"}},
		{&StatusError{Description: "no"}, StatusError{Level: LevelError, Code: CodePublishRejected, Description: "no"}, StatusError{Level: LevelError, Code: CodePlayFailed, Description: "no"}},
	} {
		addr := serve(t, &Server{Handler: &rig{refusePublish: tt.err, refusePlay: tt.err}})
		var c Client
		_, err := c.Publish(t.Context(), "rtmp://"+addr+"/live/a")
		var status *StatusError
		require.ErrorAs(t, err, &status)
		assert.Equal(t, tt.pub, *status)
		_, err = c.Play(t.Context(), "rtmp://"+addr+"/live/a")
		require.ErrorAs(t, err, &status)
		assert.Equal(t, tt.play, *status)
	}
}

func TestClientIsToldWhyItWasEnded(t *testing.T) {
	h := &rig{}
	addr := serve(t, &Server{Handler: h})
	var c Client
	pub, err := c.Publish(t.Context(), "rtmp://"+addr+"/live/a")
	require.NoError(t, err)
	kicked := &StatusError{Code: CodePublishDenied, Description: "enough"}
	h.publication(t, 0).stream.Fail(kicked)
	<-pub.done
	var status *StatusError
	require.ErrorAs(t, pub.WriteTag(flv.Tag{Type: flv.TypeAudio}), &status)
	assert.Equal(t, *kicked, StatusError{Code: status.Code, Description: status.Description})
	assert.ErrorIs(t, h.publications[0].ended(t), kicked)
	assert.Error(t, pub.Close())
}

func TestClientRefusesURLs(t *testing.T) {
	var c Client
	for _, u := range []string{"", "http://h/a/b", "rtmp://h", "rtmp://h/a", "rtmp://h/a/", "rtmp:///a/b", "rtmps://h/a", "rtmp://h:x/a/b?key=secret", "rtmp://h/%zz/b?key=secret"} {
		_, err := c.Publish(t.Context(), u)
		require.Error(t, err, u)
		assert.NotContains(t, err.Error(), "secret")
	}
}

func TestClientURLs(t *testing.T) {
	for _, tt := range []struct {
		url  string
		want target
	}{
		{"rtmp://h/live/a", target{address: "h:1935", app: "live", name: "a", tcURL: "rtmp://h/live"}},
		{"rtmp://u:p@h:9/a/b/c?x=/y", target{address: "h:9", app: "a/b", name: "c?x=/y", tcURL: "rtmp://h:9/a/b", credentials: credentials{"u", "p"}}},
		{"rtmp://[::1]/live/a%20b", target{address: "[::1]:1935", app: "live", name: "a%20b", tcURL: "rtmp://[::1]/live"}},
		{"rtmps://h/live/a", target{address: "h:443", app: "live", name: "a", tcURL: "rtmps://h/live", secure: true}},
		{"rtmps://h:1/live/a", target{address: "h:1", app: "live", name: "a", tcURL: "rtmps://h:1/live", secure: true}},
	} {
		got, err := parseURL(tt.url)
		require.NoError(t, err)
		assert.Equal(t, tt.want, got)
	}
}

func TestClientGivesUp(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never says a word
	require.NoError(t, err)
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	var c Client
	_, err = c.Publish(ctx, "rtmp://"+l.Addr().String()+"/live/a")
	assert.ErrorIs(t, err, context.Canceled)
	c.OpenTimeout = 20 * time.Millisecond
	_, err = c.Play(t.Context(), "rtmp://"+l.Addr().String()+"/live/a")
	assert.ErrorIs(t, err, errNoAnswer)
}

func TestPublisherBounds(t *testing.T) {
	h := &rig{}
	addr := serve(t, &Server{Handler: h})
	var c Client
	pub, err := c.Publish(t.Context(), "rtmp://"+addr+"/live/a")
	require.NoError(t, err)
	defer pub.Close()
	assert.ErrorIs(t, pub.WriteTag(flv.Tag{Type: flv.TypeVideo, Data: make([]byte, 1<<24)}), flv.ErrTooLarge)
	assert.ErrorIs(t, pub.WriteTag(flv.Tag{Type: 20, Data: []byte{1}}), errors.ErrUnsupported)
	require.NoError(t, pub.WriteTag(flv.Tag{Type: flv.TypeVideo, Data: bytes.Repeat([]byte{7}, 4<<20)}))
	assert.Len(t, h.publication(t, 0).written(t, 1)[0].Data, 4<<20)
	assert.LessOrEqual(t, cap(pub.scratch), maxScratch, "a giant frame's memory is given back")
}

//lint:file-ignore SA1019 the WebSocket library is given, and final at this version.

package vod

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"nhooyr.io/websocket"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/hub"
	"sluice/hub/archive"
	"sluice/hub/archive/flvfile"
	"sluice/hub/fanout"
)

// watcher is a client over WebSocket. It reads the content of the messages.
type watcher struct {
	*websocket.Conn
	rest []byte
	end  *websocket.CloseError // nil until the end
}

func (h *rig) watch(path string) *watcher {
	h.t.Helper()
	c, _, err := websocket.Dial(h.t.Context(), strings.Replace(h.server.URL, "http", "ws", 1)+path,
		&websocket.DialOptions{HTTPClient: h.server.Client()})
	require.NoError(h.t, err)
	c.SetReadLimit(64 << 20)
	h.t.Cleanup(func() { c.CloseNow() })
	return &watcher{Conn: c}
}

func (w *watcher) Read(p []byte) (int, error) {
	for len(w.rest) == 0 {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		_, b, err := w.Conn.Read(ctx)
		cancel()
		if end, ok := errors.AsType[websocket.CloseError](err); ok {
			w.end = &end
			return 0, io.EOF
		}
		if err != nil {
			return 0, err
		}
		w.rest = b
	}
	n := copy(p, w.rest)
	w.rest = w.rest[n:]
	return n, nil
}

// words writes tags as the test's packets are called.
func words(tags []flv.Tag) string {
	var all []string
	for _, tag := range tags {
		word := string(tag.Data)
		switch {
		case tag.Type == flv.TypeScript:
			word = "meta"
		case strings.HasSuffix(word, "h264"):
			word = "vc"
		case strings.HasPrefix(word, "\xaf\x00"):
			word = "ac"
		case tag.Type == flv.TypeVideo:
			word = word[5:13]
		default:
			word = word[2:10]
		}
		all = append(all, fmt.Sprintf("%s@%d", word, tag.Timestamp))
	}
	return strings.Join(all, " ")
}

func TestPlay(t *testing.T) {
	h := newRig(t)
	h.finished(5)
	w := h.watch(firstPath)
	got := tags(t, readAll(t, w))
	assert.Equal(t, websocket.StatusNormalClosure, w.end.Code)
	assert.Equal(t, "complete", w.end.Reason)
	require.Len(t, got, 3+100)
	assert.Equal(t, "meta@0 vc@0 ac@0 P0000000@0 A0000005@5 P0000100@100 A0000105@105", words(got[:7]))
	assert.Equal(t, "P0004900@4900 A0004905@4905", words(got[101:]))
	left := h.events.wait(t, hub.EventLeft, 1)
	assert.Equal(t, hub.ReasonComplete, left.Reason)
	assert.Equal(t, "ws-file", left.Session.Protocol())
	assert.Equal(t, firstID, left.Session.Client().Recording)
	assert.Greater(t, left.Bytes, uint64(50*500))

	for path, want := range map[string]string{
		"?start=0":                  "meta@0 vc@0 ac@0 P0000000@0",
		"?start=0.9":                "meta@0 vc@0 ac@0 P0000000@0",
		"?start=2":                  "meta@0 vc@0 ac@0 P0002000@0",
		"?start=3.95":               "meta@0 vc@0 ac@0 P0003000@0",
		"?start=2&onlyaudio=1":      "meta@0 ac@0 A0002005@5 A0002105@105",
		"?start=2&onlyvideo=1":      "meta@0 vc@0 P0002000@0 P0002100@100",
		"?start=2&track=all":        "meta@0 vc@0 ac@0 P0002000@0",
		"?start=2&track=1":          "meta@0",
		"?start=2&hevc=legacy&id=9": "meta@0 vc@0 ac@0 P0002000@0",
	} {
		for _, id := range []string{firstID, "latest"} {
			w := h.watch("/rec/live/demo/" + id + ".flv" + path)
			assert.True(t, strings.HasPrefix(words(tags(t, readAll(t, w)))+" ", want+" "), path)
		}
	}
}

func readAll(t testing.TB, r io.Reader) []byte {
	t.Helper()
	b, err := io.ReadAll(r)
	require.NoError(t, err)
	return b
}

// Metadata says what is true of what this player gets.
func TestPlayMetadata(t *testing.T) {
	h := newRig(t)
	i := h.record(demo, firstID, amf.Property{Name: "framerate", Value: 30.0}, amf.Property{Name: "encoder", Value: "x"},
		amf.Property{Name: "stereo", Value: true}, amf.Property{Name: "videocodecid", Value: 7.0})
	h.write(i, headers()...)
	h.write(i, media(0, 10)...)
	metadata := func(query string) (flags byte, said map[string]any) {
		b := make([]byte, flv.HeaderSize)
		w := h.watch(firstPath + query)
		_, err := io.ReadFull(w, b)
		require.NoError(t, err)
		r := flv.NewReader(io.MultiReader(bytes.NewReader(b), w))
		tag, err := r.Next()
		require.NoError(t, err)
		rest, err := amf.SkipAMF0(tag.Data)
		require.NoError(t, err)
		said = make(map[string]any)
		_, err = amf.EachProperty(rest, amf.Limits{}, func(name []byte, value any, err error) { said[string(name)] = value })
		require.NoError(t, err)
		return b[4], said
	}
	flags, said := metadata("")
	assert.Equal(t, byte(5), flags)
	assert.Subset(t, said, map[string]any{"framerate": 30.0, "encoder": "x", "hasAudio": true, "hasVideo": true, "videocodecid": 7.0, "audiocodecid": 10.0})
	assert.NotContains(t, said, "duration", "it grows")
	h.finish(i)
	flags, said = metadata("?start=4.2&onlyvideo=1")
	assert.Equal(t, byte(1), flags)
	assert.InDelta(t, 6, said["duration"], 0.2)
	assert.Equal(t, false, said["hasAudio"])
	for _, name := range []string{"keyframes", "filesize", "audiocodecid", "stereo"} {
		assert.NotContains(t, said, name)
	}
}

func TestPlayFollows(t *testing.T) {
	h := newRig(t)
	i := h.record(demo, firstID)
	w := h.watch("/rec/live/demo/latest.flv")
	h.events.wait(t, hub.EventJoined, 1)
	h.write(i, headers()...)
	h.write(i, media(0, 1)...)
	r := flv.NewReader(w)
	for range 3 + 20 {
		_, err := r.Next()
		require.NoError(t, err)
	}
	h.write(i, media(1, 1)...)
	tag, err := r.Next()
	require.NoError(t, err)
	assert.Equal(t, "P0001000@1000", words([]flv.Tag{tag}))
	h.finish(i)
	readAll(t, w)
	assert.Equal(t, websocket.StatusNormalClosure, w.end.Code)
}

func TestPlayRefused(t *testing.T) {
	h := newRig(t)
	h.finished(2)
	for path, want := range map[string]websocket.CloseError{
		"/rec/live/demo/other.flv":  {Code: 4404, Reason: "not found: there is no such recording of live/demo"},
		"/rec/live/x/latest.flv":    {Code: 4404, Reason: "not found: there is no recording of live/x"},
		firstPath + "?start=x":      {Code: 4400, Reason: "bad request: start is a number of seconds from the beginning"},
		firstPath + "?start=60":     {Code: 4400, Reason: "bad request: start is behind the end of the recording"},
		"/rec/live/demo/latest.mp4": {Code: 4400, Reason: "bad request: over WebSocket a recording is played as FLV"},
		"/rec/live/%2e%2e/x.flv":    {Code: 4400, Reason: `bad request: stream name has a segment ".."`},
	} {
		w := h.watch(path)
		assert.Empty(t, readAll(t, w), path)
		assert.Equal(t, want, *w.end, path)
	}
	h.events.wait(t, hub.EventRefused, 6)
	assert.NotContains(t, h.log.String(), "session begins")
}

func TestPlayersLeave(t *testing.T) {
	h := newRig(t, func(s *setup) { s.pool = fanout.Config{WriteTimeout: 300 * time.Millisecond} })
	h.finished(60)
	w := h.watch(firstPath)
	_, err := io.ReadFull(w, make([]byte, 1000))
	require.NoError(t, err)
	require.NoError(t, w.Close(websocket.StatusNormalClosure, "")) // while it is paced
	assert.Equal(t, hub.ReasonClientLeft, h.events.wait(t, hub.EventLeft, 1).Reason)

	w = h.watch(firstPath)
	h.events.wait(t, hub.EventJoined, 2)
	w.CloseNow()
	assert.Equal(t, hub.ReasonClientLeft, h.events.wait(t, hub.EventLeft, 2).Reason)

	h.large(demo, "large")
	h.watch("/rec/live/demo/large.flv") // and reads nothing
	assert.Equal(t, hub.ReasonStalled, h.events.wait(t, hub.EventLeft, 3).Reason)

	w = h.watch(firstPath)
	h.events.wait(t, hub.EventJoined, 4)
	go h.hub.Shutdown(context.Background())
	_, err = io.Copy(io.Discard, w)
	require.NoError(t, err)
	assert.Equal(t, websocket.StatusGoingAway, w.end.Code)
	assert.Equal(t, hub.ReasonShuttingDown, h.events.wait(t, hub.EventLeft, 4).Reason)
}

// recorder notes when a player sends what.
type recorder struct {
	began  time.Time
	writes int
	bytes  []byte
	lead   []time.Duration // of each write: how far its last tag is ahead of real time
}

func (r *recorder) Write(_ context.Context, p []byte) error {
	r.writes++
	before := len(r.bytes)
	r.bytes = append(r.bytes, p...)
	if before == 0 {
		before = flv.HeaderSize
	}
	b := append(flv.AppendHeader(nil, true, true), r.bytes[before:]...)
	last := uint32(0)
	for reader := flv.NewReader(bytes.NewReader(b)); ; {
		tag, err := reader.Next()
		if err != nil {
			break
		}
		last = tag.Timestamp
	}
	r.lead = append(r.lead, time.Duration(last)*time.Millisecond-time.Since(r.began))
	return nil
}

// A player gets some seconds at once, and then what it needs to stay so far ahead, in few
// writes.
func TestPace(t *testing.T) {
	s := newShelf(t)
	i := s.finished(60)
	f, err := flvfile.Open(s.fs, i.name)
	require.NoError(t, err)
	defer f.Close()
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{began: time.Now()}
		p := &player{file: &archive.File{File: f}, cursor: f.Cursor(), out: r, ctx: t.Context()}
		_, err := p.cursor.SeekTo(10_000)
		require.NoError(t, err)
		require.NoError(t, p.run())
		assert.Len(t, tags(t, r.bytes), 3+20*50)
		assert.InDelta(t, 45, time.Since(r.began).Seconds(), 0.6)
		assert.Less(t, r.writes, 100)
		assert.InDelta(t, 5, r.lead[0].Seconds(), 0.1, "at once")
		for _, lead := range r.lead[1 : len(r.lead)-1] {
			assert.InDelta(t, 5, lead.Seconds(), 0.6)
		}
		assert.Nil(t, p.buf, "no buffer is kept")
	})
	synctest.Test(t, func(t *testing.T) { // it ends while it sleeps
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Second, cancel)
		r := &recorder{began: time.Now()}
		p := &player{file: &archive.File{File: f}, cursor: f.Cursor(), out: r, ctx: ctx}
		assert.ErrorIs(t, p.run(), context.Canceled)
		assert.Equal(t, 10*time.Second, time.Since(r.began))
	})
}

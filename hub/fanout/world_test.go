//go:build unix

package fanout

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/hub"
)

// world is a hub with a pool, and publishers of streams that have video only.
type world struct {
	t    testing.TB
	hub  *hub.Hub
	pool *Pool
}

// newWorld makes a world that ends with the test: no viewer and no stream may be
// left then.
func newWorld(t testing.TB, cfg Config, hubCfg hub.Config) *world {
	if hubCfg.PublisherGrace == 0 {
		hubCfg.PublisherGrace = -1
	}
	w := &world{t: t, hub: hub.New(hubCfg), pool: New(cfg)}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		assert.NoError(t, w.hub.Shutdown(ctx), "viewers were left")
		w.pool.Close()
		assert.Zero(t, w.pool.Figures().Congested, "nobody is congested any more")
	})
	return w
}

// source publishes numbered frames.
type source struct {
	*hub.Publisher
	t    testing.TB
	key  hub.Key
	next int    // number of the next frame
	now  uint32 // its timestamp
	step uint32 // ms between frames
}

// publish begins a stream with the given name. It declares to have video only, so
// that viewers start with the first key frame.
func (w *world) publish(name string) *source {
	w.t.Helper()
	s := &source{t: w.t, key: hub.Key{App: "live", Name: name}, step: 10}
	p, err := w.hub.Publish(w.hub.NewSession(hub.RolePublish, s.key, hub.Client{Protocol: "test"}), hub.PublishOptions{})
	require.NoError(w.t, err)
	s.Publisher = p
	w.t.Cleanup(p.Close)
	s.write(flv.Tag{Type: flv.TypeScript, Data: amf.AppendAMF0(nil, "onMetaData",
		amf.ECMAArray{{Name: "videocodecid", Value: 7.0}})})
	return s
}

func (s *source) write(t flv.Tag) {
	s.t.Helper()
	require.NoError(s.t, s.Write(t))
}

// frameHead is what stands before a frame's number: H.264, key and inter frame.
var frameHead = map[byte][]byte{'K': {0x17, 1, 0, 0, 0}, 'P': {0x27, 1, 0, 0, 0}}

// send publishes frames, a letter each: K or P, with bodies of size bytes.
func (s *source) send(kinds string, size int) {
	s.t.Helper()
	for _, kind := range []byte(kinds) {
		body := binary.BigEndian.AppendUint32(bytes.Clone(frameHead[kind]), uint32(s.next))
		body = append(body, make([]byte, max(0, size-len(body)))...)
		s.write(flv.Tag{Type: flv.TypeVideo, Timestamp: s.now, Data: body})
		s.next++
		s.now += s.step
	}
}

// viewer is a viewer being served.
type viewer struct {
	*hub.Viewer
	sub  *Subscription
	done chan hub.Reason
	ends atomic.Int32 // how often Done was called
}

// ended says whether Done was called, and for which reason.
func (v *viewer) ended() (hub.Reason, bool) {
	select {
	case end := <-v.done:
		return end, true
	default:
		return hub.ReasonNone, false
	}
}

// watch makes a viewer that has waited for its stream.
func (w *world) watch(key hub.Key) *viewer {
	w.t.Helper()
	hv, err := w.hub.Watch(w.hub.NewSession(hub.RoleWatch, key, hub.Client{Protocol: "test"}), hub.WatchOptions{})
	require.NoError(w.t, err)
	w.t.Cleanup(hv.Close)
	require.NoError(w.t, hv.Wait(w.t.Context()))
	return &viewer{Viewer: hv, done: make(chan hub.Reason, 2)}
}

// attach serves a new viewer of the stream as an FLV file with a head and an end
// of its own. Done must be called once by the end of the test.
func (w *world) attach(o *Outlet, key hub.Key, change ...func(*Feed)) *viewer {
	w.t.Helper()
	v := w.watch(key)
	f := Feed{
		Viewer: v.Viewer,
		Framer: framer{},
		Head:   message("head " + key.Name),
		AppendEnd: func(dst []byte, end hub.Reason) []byte {
			return append(dst, message("end "+key.Name+" "+end.String())...)
		},
		Done: func(end hub.Reason) {
			v.ends.Add(1)
			v.Close()
			v.done <- end
		},
	}
	for _, c := range change {
		c(&f)
	}
	w.t.Cleanup(func() { // before the pool's
		o.Close()
		assert.Eventually(w.t, func() bool { return v.ends.Load() == 1 }, 10*time.Second, time.Millisecond,
			"Done was called %d times", v.ends.Load())
	})
	v.sub = o.Attach(f)
	return v
}

func quiet(f *Feed) { f.Quiet = true }

// framer frames tags as in an FLV file, without its header.
type framer struct{}

func (framer) AppendTags(dst []byte, tags []flv.Tag) []byte {
	for _, t := range tags {
		dst = flv.AppendTag(dst, t)
	}
	return dst
}

// message is a session's own message: a tag that media has none of.
func message(text string) []byte {
	return flv.AppendTag(nil, flv.Tag{Type: flv.TypeAudio, Data: []byte(text)})
}

// words tells what came over a connection: K or P with its number for each frame,
// session's messages as they are. Metadata is left out. A tag that is not whole
// is "cut".
func words(b []byte) []string {
	var words []string
	r := flv.NewReader(io.MultiReader(bytes.NewReader(flv.AppendHeader(nil, true, true)), bytes.NewReader(b)))
	for {
		t, err := r.Next()
		switch {
		case err == io.EOF:
			return words
		case err != nil:
			return append(words, "cut")
		case t.Type == flv.TypeAudio:
			words = append(words, string(t.Data))
		case t.Type == flv.TypeVideo && len(t.Data) >= 9:
			kind := map[byte]string{0x17: "K", 0x27: "P"}[t.Data[0]]
			words = append(words, fmt.Sprint(kind, binary.BigEndian.Uint32(t.Data[5:])))
		case t.Type != flv.TypeScript:
			words = append(words, fmt.Sprintf("?%v", t))
		}
	}
}

func sentence(b []byte) string { return strings.Join(words(b), " ") }

// frames returns the words of numbered frames.
func frames(kinds string, first int) []string {
	var words []string
	for i, k := range kinds {
		words = append(words, fmt.Sprint(string(k), first+i))
	}
	return words
}

// state looks into an outlet.
func (o *Outlet) stateNow() outletState {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.state
}

// onFakeClock runs f for both ways of writing, on a fake clock.
func onFakeClock(t *testing.T, f func(t *testing.T, wrap func(*pairConn) Conn)) {
	for name, wrap := range ways {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { f(t, wrap) })
		})
	}
}

package hub_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/hub"
)

// Tests write and read streams as words, one a tag: KIND:PAYLOAD@TIMESTAMP, where
// the timestamp may be left out for 0. What is published and what a viewer gets
// are compared in this form.
var kinds = []struct {
	name string
	typ  flv.Type
	head []byte
}{
	{"vc", flv.TypeVideo, []byte{0x17, 0, 0, 0, 0}}, // H.264: header, key and inter frame
	{"K", flv.TypeVideo, []byte{0x17, 1, 0, 0, 0}},
	{"P", flv.TypeVideo, []byte{0x27, 1, 0, 0, 0}},
	{"early", flv.TypeVideo, []byte{0x17, 1, 0xff, 0xff, 0xd8}}, // shown 40 ms before it is sent
	{"hc", flv.TypeVideo, []byte{0x1c, 0, 0, 0, 0}},             // HEVC
	{"HK", flv.TypeVideo, []byte{0x1c, 1, 0, 0, 0}},
	{"HP", flv.TypeVideo, []byte{0x2c, 1, 0, 0, 0}},
	{"ve", flv.TypeVideo, []byte{0x17, 2, 0, 0, 0}}, // end of sequence
	{"vs", flv.TypeVideo, []byte{0x57, 0}},          // start of a client's seek
	{"ac", flv.TypeAudio, []byte{0xaf, 0}},          // AAC
	{"A", flv.TypeAudio, []byte{0xaf, 1}},
	{"M", flv.TypeAudio, []byte{0x2f}}, // MP3
	{"silence", flv.TypeAudio, nil},
}

// tag makes a tag of a word.
func tag(word string) flv.Tag {
	word, ts, _ := strings.Cut(word, "@")
	name, payload, _ := strings.Cut(word, ":")
	t := flv.Tag{}
	if ts != "" {
		n, err := strconv.ParseUint(ts, 10, 32)
		if err != nil {
			panic(err)
		}
		t.Timestamp = uint32(n)
	}
	switch name {
	case "meta": // meta:av declares the codecs of both tracks
		object := amf.ECMAArray{{Name: "encoder", Value: "test"}}
		if strings.Contains(payload, "v") {
			object = append(object, amf.Property{Name: "videocodecid", Value: 7.0})
		}
		if strings.Contains(payload, "a") {
			object = append(object, amf.Property{Name: "audiocodecid", Value: 10.0})
		}
		t.Type, t.Data = flv.TypeScript, amf.AppendAMF0(nil, "onMetaData", object)
		return t
	case "text":
		t.Type, t.Data = flv.TypeScript, amf.AppendAMF0(nil, "onTextData", amf.Object{{Name: "text", Value: payload}})
		return t
	}
	for _, k := range kinds {
		if k.name == name {
			t.Type, t.Data = k.typ, append(append([]byte(nil), k.head...), payload...)
			return t
		}
	}
	panic("no such kind of tag: " + name)
}

// word is the inverse of tag; the payload of metadata is the tracks that it says
// are there.
func word(t flv.Tag) string {
	if t.Type == flv.TypeScript {
		name, arg := script(t)
		if name == "onTextData" {
			text, _ := arg.Get("text")
			return fmt.Sprintf("text:%v@%d", text, t.Timestamp)
		}
		has := ""
		if a, _ := arg.Get("hasAudio"); a == true {
			has += "a"
		}
		if v, _ := arg.Get("hasVideo"); v == true {
			has += "v"
		}
		return fmt.Sprintf("meta:%s@%d", has, t.Timestamp)
	}
	for _, k := range kinds {
		if k.typ == t.Type && strings.HasPrefix(string(t.Data), string(k.head)) {
			return fmt.Sprintf("%s:%s@%d", k.name, t.Data[len(k.head):], t.Timestamp)
		}
	}
	return fmt.Sprintf("%v:%x@%d", t.Type, t.Data, t.Timestamp)
}

// script returns the name and the first object of a script tag.
func script(t flv.Tag) (name string, object amf.ECMAArray) {
	values, err := amf.DecodeAll(t.Data, amf.Limits{})
	if err != nil || len(values) == 0 {
		return fmt.Sprint("unreadable: ", err), nil
	}
	name, _ = values[0].(string)
	if len(values) > 1 {
		props, _ := amf.Properties(values[1])
		object = amf.ECMAArray(props)
	}
	return name, object
}

var key = hub.Key{App: "live", Name: "demo"}

// newHub makes a hub that must be without streams and viewers when the test ends.
func newHub(t *testing.T, cfg hub.Config) *hub.Hub {
	h := hub.New(cfg)
	t.Cleanup(func() {
		assert.NoError(t, h.Shutdown(endedContext()), "viewers were left open")
		assert.Empty(t, h.Streams(), "streams are left")
		totals := h.StreamTotals()
		assert.Zero(t, totals.Live+totals.Grace+totals.Waiting+totals.Ended, "streams are counted")
		assert.Zero(t, totals.LogBytes)
		bytes, logs := h.Logged()
		assert.Zero(t, bytes)
		assert.Zero(t, logs)
	})
	return h
}

// endedContext makes Shutdown wait for nobody.
func endedContext() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// source is a publisher whose tags are words.
type source struct {
	*hub.Publisher
	t     *testing.T
	ended []hub.Reason // for which the hub ended it
	live  bool         // it sends each tag at its time, on a fake clock
	clock uint32
}

// client is what a publisher shows.
type client struct {
	Protocol, Remote, Identity string
	Backup                     bool
}

func (c client) session(h *hub.Hub, role hub.Role, key hub.Key) *hub.Session {
	shown := hub.Client{Protocol: c.Protocol}
	if c.Remote != "" {
		shown.Address = netip.MustParseAddrPort(c.Remote)
	}
	if c.Identity != "" {
		shown.Query = url.Values{"key": {c.Identity}}
	}
	if c.Backup {
		if shown.Query == nil {
			shown.Query = url.Values{}
		}
		shown.Query.Set(hub.BackupParameter, "1")
	}
	return h.NewSession(role, key, shown)
}

// publisher and viewer make sessions of a test's own.
func publisher(h *hub.Hub, key hub.Key) *hub.Session {
	return client{}.session(h, hub.RolePublish, key)
}
func viewer(h *hub.Hub, key hub.Key) *hub.Session { return client{}.session(h, hub.RoleWatch, key) }

func publish(t *testing.T, h *hub.Hub, c client) *source {
	t.Helper()
	s, err := tryPublish(t, h, c)
	require.NoError(t, err)
	return s
}

func tryPublish(t *testing.T, h *hub.Hub, c client) (*source, error) {
	s := &source{t: t}
	p, err := h.Publish(c.session(h, hub.RolePublish, key), hub.PublishOptions{
		End: func(r *hub.Refusal) { s.ended = append(s.ended, r.Reason) },
	})
	s.Publisher = p
	if err == nil {
		t.Cleanup(p.Close)
	}
	return s, err
}

// send publishes words.
func (s *source) send(words ...string) {
	s.t.Helper()
	for _, w := range strings.Fields(strings.Join(words, " ")) {
		t := tag(w)
		if s.live && t.Timestamp > s.clock {
			time.Sleep(time.Duration(t.Timestamp-s.clock) * time.Millisecond)
			s.clock = t.Timestamp
		}
		require.NoError(s.t, s.Write(t), w)
	}
}

// sendEvery publishes count words of a kind, every step ms from the timestamp on;
// the payload is the timestamp. It returns the timestamp that follows.
func (s *source) sendEvery(kind string, from, step, count int) int {
	s.t.Helper()
	for range count {
		s.send(fmt.Sprintf("%s:%d@%d", kind, from, from))
		from += step
	}
	return from
}

// sink drives a viewer.
type sink struct {
	*hub.Viewer
	t      *testing.T
	batch  hub.Batch
	tags   []flv.Tag
	limit  int
	script bool // it wants script data
	end    hub.Reason
}

func newSink(t *testing.T, h *hub.Hub, opts hub.WatchOptions) *sink {
	t.Helper()
	return newSinkOf(t, h, client{}, opts)
}

func newSinkOf(t *testing.T, h *hub.Hub, c client, opts hub.WatchOptions) *sink {
	t.Helper()
	v, err := h.Watch(c.session(h, hub.RoleWatch, key), opts)
	require.NoError(t, err)
	t.Cleanup(v.Close)
	return &sink{Viewer: v, t: t, limit: 64 << 10}
}

// watch makes a viewer that starts at once.
func watch(t *testing.T, h *hub.Hub, opts hub.WatchOptions) *sink {
	t.Helper()
	s := newSink(t, h, opts)
	require.NoError(t, s.Wait(t.Context()))
	return s
}

// waiting makes a viewer that waits; the result of Wait comes on the channel.
func waiting(t *testing.T, h *hub.Hub, opts hub.WatchOptions) (*sink, <-chan error) {
	t.Helper()
	s := newSink(t, h, opts)
	done := make(chan error, 1)
	go func() { done <- s.Wait(t.Context()) }()
	return s, done
}

// AppendTags implements hub.Framer: it keeps copies.
func (s *sink) AppendTags(dst []byte, tags []flv.Tag) []byte {
	for _, t := range tags {
		dst = flv.AppendTag(dst, t)
		t.Data = append([]byte(nil), t.Data...)
		s.tags = append(s.tags, t)
	}
	return dst
}

// pass fills once.
func (s *sink) pass() (more bool) {
	s.batch.Bytes = s.batch.Bytes[:0]
	more, s.end = s.Fill(&s.batch, s, s.limit)
	s.Sent(len(s.batch.Bytes))
	return more
}

// take fills until nothing more is due and returns the tags.
func (s *sink) take() []flv.Tag {
	for s.pass() {
		if s.end != hub.ReasonNone {
			s.t.Error("Fill announced more and an end")
			break
		}
	}
	tags := s.tags
	s.tags = nil
	return tags
}

// read fills until nothing more is due and returns the words.
func (s *sink) read() string {
	return words(s.take())
}

func words(tags []flv.Tag) string {
	var words []string
	for _, t := range tags {
		words = append(words, word(t))
	}
	return strings.Join(words, " ")
}

func itoa(n int) string { return strconv.Itoa(n) }

// reasonOf returns the reason of a *hub.Refusal; the test fails with another
// error, or if the refusal doesn't count as closed.
func reasonOf(t *testing.T, err error) hub.Reason {
	t.Helper()
	var refusal *hub.Refusal
	require.True(t, errors.As(err, &refusal), "not a refusal: %v", err)
	require.ErrorIs(t, err, net.ErrClosed)
	return refusal.Reason
}

// info returns what the hub says of the test's stream.
func info(t *testing.T, h *hub.Hub) hub.StreamInfo {
	t.Helper()
	streams := h.Streams()
	require.Len(t, streams, 1)
	return streams[0]
}

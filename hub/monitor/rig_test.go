package monitor

import (
	"cmp"
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/hub"
)

// encoder is a publisher that sends what it is told to. The zero value of everything is a good one with
// 25 pictures a second, a key frame every 2 s, sound, and 1 Mbit/s.
type encoder struct {
	fps        float64
	gop        int // pictures
	audioOnly  bool
	videoOnly  bool
	announced  float64 // pictures per second in its metadata; fps if 0, nothing if negative
	kilobits   float64 // per second of video in its metadata, 0 for nothing
	codecs     string  // of head
	shift      time.Duration
	compose    int32
	sends      func(picture int, t time.Duration) bool
	speaks     func(t time.Duration) bool
	size       func(t time.Duration, key bool) int               // of a picture, in bytes
	clock      func(t time.Duration) time.Duration               // timestamp of what is made at t
	arrives    func(t time.Duration, isAudio bool) time.Duration // when that arrives
	everyIsKey bool
}

// sent is a tag, and when it arrives.
type sent struct {
	made, at time.Duration
	tag      flv.Tag
}

const audioFrame = 1024 * time.Second / 48000

// all returns what it sends in a time, in the order of arrival.
func (e encoder) all(d time.Duration) (all []sent) {
	fps := cmp.Or(e.fps, 25)
	gop := cmp.Or(e.gop, int(2*fps), 1)
	add := func(t time.Duration, isAudio bool, data []byte) {
		at, stamp := t, t
		if e.arrives != nil {
			at = e.arrives(t, isAudio)
		}
		if e.clock != nil {
			stamp = e.clock(t)
		}
		typ := flv.TypeVideo
		if isAudio {
			typ, stamp = flv.TypeAudio, stamp+e.shift
		}
		all = append(all, sent{t, at, flv.Tag{Type: typ, Timestamp: uint32(stamp.Milliseconds()), Data: data}})
	}
	keyed := 0
	for i := 0; !e.audioOnly; i++ {
		t := time.Duration(float64(i) / fps * float64(time.Second))
		if t >= d {
			break
		}
		if e.sends != nil && !e.sends(i, t) {
			continue
		}
		key := keyed%gop == 0 || e.everyIsKey
		keyed++
		add(t, false, e.picture(t, key))
	}
	for t := time.Duration(0); t < d && !e.videoOnly; t += audioFrame {
		if e.speaks == nil || e.speaks(t) {
			add(t, true, append(e.head(true, false), make([]byte, 200)...))
		}
	}
	slices.SortStableFunc(all, func(a, b sent) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.made, b.made)) })
	return all
}

func (e encoder) picture(t time.Duration, key bool) []byte {
	size := 4000
	if key {
		size = 25000
	}
	if e.size != nil {
		size = e.size(t, key)
	}
	return append(e.head(false, key), make([]byte, size)...)
}

// head returns the beginning of a frame.
func (e encoder) head(isAudio, key bool) []byte {
	frame := byte(0x20)
	if key {
		frame = 0x10
	}
	ex := func(fourcc string, more ...byte) []byte {
		return append(append([]byte{0x80 | frame | 1}, fourcc...), more...)
	}
	sound := func(fourcc string) []byte { return append([]byte{0x91}, fourcc...) }
	switch {
	case isAudio && e.codecs == "AC-3":
		return sound("ac-3")
	case isAudio && e.codecs == "Opus":
		return sound("Opus")
	case isAudio && e.codecs == "FLAC":
		return sound("fLaC")
	case isAudio && e.codecs == "MP3":
		return []byte{0x2f}
	case isAudio:
		return []byte{0xaf, 1}
	case e.codecs == "HEVC":
		return ex("hvc1", 0, 0, 0)
	case e.codecs == "AV1":
		return ex("av01")
	case e.codecs == "VP9":
		return ex("vp09")
	}
	c := e.compose
	return []byte{frame | 7, 1, byte(c >> 16), byte(c >> 8), byte(c)}
}

// begins returns what it sends before its frames.
func (e encoder) begins() (tags []flv.Tag) {
	meta := amf.ECMAArray{}
	if rate := cmp.Or(e.announced, e.fps, 25); rate > 0 {
		meta = append(meta, amf.Property{Name: "framerate", Value: rate})
	}
	if e.kilobits > 0 {
		meta = append(meta, amf.Property{Name: "videodatarate", Value: e.kilobits})
	}
	tags = append(tags, flv.Tag{Type: flv.TypeScript, Data: amf.AppendAMF0(nil, "onMetaData", meta)})
	if !e.audioOnly && e.codecs != "VP9" {
		head := e.head(false, true)
		if head[0]&0x80 != 0 {
			head = head[:5]
			head[0] &^= 0xf
		} else {
			head[1] = 0
		}
		tags = append(tags, flv.Tag{Type: flv.TypeVideo, Data: append(head, 1, 2, 3, 4)})
	}
	if !e.videoOnly && slices.Contains([]string{"", "HEVC", "AV1", "VP9"}, e.codecs) {
		tags = append(tags, flv.Tag{Type: flv.TypeAudio, Data: []byte{0xaf, 0, 0x11, 0x90}})
	}
	return tags
}

// rig is a monitor of a hub, in a bubble of its own time.
type rig struct {
	t       testing.TB
	hub     *hub.Hub
	monitor *Monitor
	told    []Event
}

var me = hub.Key{App: "live", Name: "me"}

// watch runs a test with a rig, and holds what it was told: each word of a session begins and ends by turns, and
// none is left.
func watch(t *testing.T, test func(r *rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, hub: hub.New(hub.Config{})}
		r.monitor = New(Config{Hub: r.hub, Observe: func(e Event) { r.told = append(r.told, e) }})
		time.Sleep(507 * time.Millisecond) // so that nothing is sent at the very moment of a look
		test(r)
		r.monitor.Close()
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		assert.NoError(t, r.hub.Shutdown(ended))
		checkPairs(t, r.told)
	})
}

func checkPairs(t testing.TB, told []Event) {
	t.Helper()
	type of struct {
		session *hub.Session
		word    string
	}
	on := map[of]bool{}
	for _, e := range told {
		key := of{e.Session, e.Word}
		require.NotNil(t, e.Session)
		require.NotEqual(t, on[key], e.Begins, "%v: begins and ends by turns", key)
		on[key] = e.Begins
	}
	for key, still := range on {
		require.False(t, still, "%v has no end", key)
	}
}

// publish begins a session.
func (r *rig) publish(key hub.Key) *hub.Publisher {
	r.t.Helper()
	p, err := r.hub.Publish(r.hub.NewSession(hub.RolePublish, key, hub.Client{Protocol: "test"}), hub.PublishOptions{})
	require.NoError(r.t, err)
	return p
}

// run publishes what an encoder sends in a time.
func (r *rig) run(e encoder, d time.Duration) {
	r.t.Helper()
	p := r.publish(me)
	r.send(p, e, d)
	p.Close()
}

func (r *rig) send(p *hub.Publisher, e encoder, d time.Duration) {
	r.t.Helper()
	began := time.Now()
	for _, tag := range e.begins() {
		require.NoError(r.t, p.Write(tag))
	}
	for _, s := range e.all(d) {
		time.Sleep(s.at - time.Since(began))
		require.NoError(r.t, p.Write(s.tag))
	}
}

// events returns what was told by now.
func (r *rig) events() []Event {
	synctest.Wait()
	return r.told
}

// words returns those that have begun, once each.
func (r *rig) words() []string {
	words := []string{}
	for _, e := range r.events() {
		if e.Begins && !slices.Contains(words, e.Word) {
			words = append(words, e.Word)
		}
	}
	return words
}

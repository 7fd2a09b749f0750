package hub_test

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
)

// examine looks at the only viewer there is.
func examine(t *testing.T, h *hub.Hub) hub.ViewerInfo {
	t.Helper()
	var viewers []hub.SessionInfo
	for _, s := range h.Sessions() {
		if s.Session.Role() == hub.RoleWatch {
			viewers = append(viewers, s)
		}
	}
	require.Len(t, viewers, 1)
	return h.Examine(viewers)[0]
}

// join makes a viewer that does not wait.
func join(t *testing.T, h *hub.Hub, opts hub.WatchOptions) *hub.Viewer {
	t.Helper()
	v, err := h.Watch(viewer(h, key), opts)
	require.NoError(t, err)
	t.Cleanup(v.Close)
	return v
}

var (
	h264 = hub.ViewerTrack{Type: flv.TypeVideo, Codec: flv.CodecH264}
	aac  = hub.ViewerTrack{Type: flv.TypeAudio, Codec: flv.CodecAAC}
)

// What a viewer lacks is what keeps it from starting, whatever was sent so far.
func TestLackIsWhyAViewerCannotStart(t *testing.T) {
	for _, script := range []string{
		"meta:va vc:s ac:s K:1@0 A:1@0 P:2@40 A:2@40",
		"P:1@0 P:2@40 vc:s K:3@80 A:1@80 M:1@100",
		"meta:va A:1@0 A:2@4500 ac:s A:3@4600 K:1@4700 vc:s K:2@4800",
		"meta:v K:1@0 P:2@1500 vc:s P:3@1600 K:4@1700",
		"M:1@0 M:2@1500 vc:s K:1@1600 M:3@1700 HK:1@1800 hc:s HK:2@1900",
		"meta: silence: text:x A:1@0 ac:s A:2@100 A:3@1200",
	} {
		for _, opts := range []hub.WatchOptions{
			{}, {FixedCodecs: true}, {NoVideo: true, FixedCodecs: true}, {NoAudio: true, FixedCodecs: true}, {Start: hub.StartLive}, {Back: time.Second},
		} {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, hub.Config{PublisherGrace: time.Second})
				p := publish(t, h, client{})
				p.live = true
				seen := map[hub.Lack]bool{}
				check := func(after string) {
					v, err := h.Watch(viewer(h, key), opts)
					require.NoError(t, err)
					defer v.Close()
					lacks := examine(t, h).Lacks
					seen[lacks] = true
					waits := ""
					for _, s := range h.Sessions() {
						if s.State == hub.SessionWaiting {
							waits = s.Waits
						}
					}
					assert.Equal(t, lacks.String(), waits)
					started, err := v.TryStart()
					assert.Equal(t, lacks == hub.LacksNothing, started || err != nil, "%q %+v: lacks %q, started %v, %v", after, opts, lacks, started, err)
				}
				check("")
				for _, word := range strings.Fields(script) {
					p.send(word)
					check(word)
				}
				assert.True(t, seen[hub.LacksTracks] || seen[hub.LacksKeyFrame])
				p.Close()
				check("left")
				assert.True(t, seen[hub.LacksPublisher])
			})
		}
	}
}

// What is said of a viewer that waits, from the first to the last.
func TestExamineWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{PublisherGrace: 8 * time.Second, ViewerWait: time.Minute})
		join(t, h, hub.WatchOptions{FixedCodecs: true})
		v := examine(t, h)
		assert.Equal(t, hub.ViewerInfo{At: time.Now(), Stream: "waiting", Lacks: hub.LacksPublisher}, v)

		p, began := publish(t, h, client{}), time.Now()
		v = examine(t, h)
		assert.Equal(t, hub.LacksTracks, v.Lacks)
		assert.Equal(t, []hub.ViewerTrack{{Type: flv.TypeVideo}, {Type: flv.TypeAudio}}, v.Awaits)
		assert.Zero(t, v.Decided)
		assert.Equal(t, began, v.Published)

		time.Sleep(time.Second)
		p.send("meta:va ac:s A:1@0")
		v = examine(t, h)
		assert.Equal(t, []hub.ViewerTrack{h264}, v.Awaits)
		assert.Equal(t, began.Add(5*time.Second), v.Decided)
		assert.Equal(t, began.Add(time.Second), v.LastWrite)

		p.send("K:1@0")
		v = examine(t, h)
		assert.Equal(t, hub.LacksNothing, v.Lacks, "it gets the sound")
		p.Close()
		time.Sleep(2 * time.Second)
		v = examine(t, h)
		assert.Equal(t, hub.LacksPublisher, v.Lacks)
		assert.Equal(t, began.Add(time.Second), v.Left)
		assert.Equal(t, 8*time.Second, v.Grace)
		assert.Zero(t, v.Published)
	})
}

// Of the tracks without a codec header those are told that the viewer wants.
func TestExamineCodecHeader(t *testing.T) {
	for _, c := range []struct {
		opts hub.WatchOptions
		want []hub.ViewerTrack
	}{
		{hub.WatchOptions{FixedCodecs: true}, []hub.ViewerTrack{h264, aac}},
		{hub.WatchOptions{FixedCodecs: true, NoVideo: true}, []hub.ViewerTrack{aac}},
		{hub.WatchOptions{FixedCodecs: true, NoAudio: true}, []hub.ViewerTrack{h264}},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := newHub(t, hub.Config{})
			join(t, h, c.opts)
			publish(t, h, client{}).send("K:1@0 A:1@0 P:2@40 A:2@40")
			v := examine(t, h)
			assert.Equal(t, hub.LacksCodecHeader, v.Lacks)
			assert.Equal(t, c.want, v.Awaits)
		})
	}
}

// The next key frame is expected as the last ones came.
func TestExamineKeyFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{GOPMaxBytes: 10_000, LogDuration: time.Hour})
		p, began := publish(t, h, client{}), time.Now()
		p.live = true
		p.send("meta:v P:1@0")
		join(t, h, hub.WatchOptions{})
		v := examine(t, h)
		assert.Equal(t, hub.LacksKeyFrame, v.Lacks)
		assert.Zero(t, v.KeyFrame)
		p.send("vc:s K:1@1000 K:2@3500")
		v = examine(t, h)
		assert.Equal(t, began.Add(3500*time.Millisecond), v.KeyFrame)
		assert.Equal(t, 2500*time.Millisecond, v.KeyInterval)
		assert.False(t, v.KeyLost)
		p.send("P:" + strings.Repeat("x", 8000) + "@3600 P:" + strings.Repeat("x", 8000) + "@3700")
		v = examine(t, h)
		assert.True(t, v.KeyLost)
		assert.Equal(t, hub.LacksKeyFrame, v.Lacks)
	})
}

// The profile is that of the codec header, of the codec that the viewer was told of.
func TestExamineProfile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.send("vc:\x01\x6e\x00\x1e\xff\xe0\x00 ac:s K:1@0 A:1@0")
		watch(t, h, hub.WatchOptions{}).read()
		deep := h264
		deep.Profile = "High 10"
		assert.Equal(t, []hub.ViewerTrack{deep, aac}, examine(t, h).Told)
	})
}

// Viewers may be looked at while they come and go, start, and move from a stream that ends to the next.
func TestExamineWhileStreamsEnd(t *testing.T) {
	h := newHub(t, hub.Config{PublisherGrace: -1})
	over := make(chan struct{})
	var looking, watching sync.WaitGroup
	until := func(does func()) func() {
		return func() {
			for {
				select {
				case <-over:
					return
				default:
					does()
				}
			}
		}
	}
	looking.Go(until(func() {
		sessions := h.Sessions()
		infos := h.Examine(sessions)
		assert.Len(t, infos, len(sessions))
		for i, info := range infos {
			if sessions[i].Session.Role() == hub.RolePublish {
				assert.Zero(t, info.At)
			} else if !info.At.IsZero() {
				assert.NotEmpty(t, info.Stream)
			}
		}
	}))
	for range 4 {
		watching.Go(until(func() {
			v, err := h.Watch(viewer(h, key), hub.WatchOptions{})
			if assert.NoError(t, err) {
				v.TryStart()
				v.Close()
			}
		}))
	}
	waits := join(t, h, hub.WatchOptions{})
	for range 300 {
		p := publish(t, h, client{})
		p.send("vc:s ac:s K:1@0 A:1@0")
		p.Close()
	}
	close(over)
	looking.Wait()
	watching.Wait()
	info := h.Examine(h.Sessions())
	assert.Len(t, info, 1)
	assert.Equal(t, hub.LacksPublisher, info[0].Lacks)
	waits.Close()
}

// Told is what was announced, and Gets what comes.
func TestExamineTracks(t *testing.T) {
	both, sound, picture := []hub.ViewerTrack{h264, aac}, []hub.ViewerTrack{aac}, []hub.ViewerTrack{h264}
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{MaxLag: time.Second, GOPMaxBytes: 20_000})
		p := publish(t, h, client{})
		p.live = true
		p.send("meta:va vc:s ac:s K:1@0 A:1@0")
		v := watch(t, h, hub.WatchOptions{})
		says := func(told, gets []hub.ViewerTrack) hub.ViewerInfo {
			t.Helper()
			info := examine(t, h)
			assert.Equal(t, told, info.Told)
			assert.Equal(t, gets, info.Gets)
			assert.True(t, info.Started)
			return info
		}
		assert.False(t, says(both, nil).Begun)
		v.read()
		assert.True(t, says(both, both).Begun)
		v.ReceiveAudio(false)
		says(both, picture)
		v.ReceiveAudio(true)
		v.ReceiveVideo(false)
		assert.True(t, says(both, sound).VideoOff)
		p.send("P:2@100 A:2@100")
		v.read()
		v.ReceiveVideo(true)
		assert.True(t, says(both, sound).NeedsKey, "since one frame is missing")
		p.send("K:3@200")
		v.read()
		says(both, both)
		v.Pause(true)
		assert.True(t, says(both, nil).Paused)
		v.Pause(false)
		v.read()

		for ts := 300; ts < 4000; ts += 100 { // a GOP that does not fit
			p.send("P:"+strings.Repeat("x", 2000)+"@"+itoa(ts), "A:a@"+itoa(ts))
		}
		assert.InDelta(t, 3.6, examine(t, h).Lag.Seconds(), 0.2, "also where the log has its next packet no more")
		v.read()
		info := says(both, sound)
		assert.True(t, info.NeedsKey && info.Evicted && info.KeyLost)
		v.Close()

		only := watch(t, h, hub.WatchOptions{NoVideo: true, FixedCodecs: true})
		assert.True(t, says(sound, nil).NoVideo)
		only.Close()
	})
}

// link is one that was asked.
type link struct{ asked int }

func (l *link) Delivery() hub.Delivery {
	l.asked++
	return hub.Delivery{Unwritten: l.asked}
}

// Only those who are looked at are asked how their bytes get on, and who is gone is not.
func TestExamineDelivery(t *testing.T) {
	h := newHub(t, hub.Config{})
	p := publish(t, h, client{})
	p.send("M:1 K:1 vc:s K:2")
	var links [200]link
	var viewers []*hub.Viewer
	for i := range links {
		v := join(t, h, hub.WatchOptions{})
		v.ServeBy(&links[i])
		viewers = append(viewers, v)
	}
	all := h.Sessions()
	require.Len(t, all, 201)
	viewers[5].Close()
	infos := h.Examine(all[:101])
	require.Len(t, infos, 101)
	assert.Zero(t, infos[0], "the publisher")
	assert.Zero(t, infos[6], "gone")
	for i := range links {
		want := 0
		if i < 100 && i != 5 {
			want = 1
			assert.True(t, infos[i+1].Served)
			assert.Equal(t, 1, infos[i+1].Delivery.Unwritten)
		}
		assert.Equal(t, want, links[i].asked, i)
	}
}

package hub_test

import (
	"fmt"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
)

// runs publishes a stream in real time: 25 frames a second with a key frame every
// gop frames, and an audio frame beside each. Payloads are their times.
func (s *source) runs(from, frames, gop int) {
	s.live = true
	for i := from; i < from+frames; i++ {
		kind := "P"
		if i%gop == 0 {
			kind = "K"
		}
		s.send(fmt.Sprintf("%s:%d@%d A:%d@%d", kind, i*40, i*40, i*40, i*40))
	}
}

// StartLive: all video of the GOP within a fifth of a second, sound from there on, and
// then everything as it is.
func TestStartLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.send("meta:av vc:s ac:s")
		p.runs(0, 90, 100)
		live := watch(t, h, hub.WatchOptions{Start: hub.StartLive})
		whole := watch(t, h, hub.WatchOptions{})
		p.runs(90, 20, 100)

		const edge, window = 89 * 40, 200
		var pictures, sounds []flv.Tag
		for _, tag := range live.media()[2:] {
			if tag.Type == flv.TypeVideo {
				pictures = append(pictures, tag)
			} else {
				sounds = append(sounds, tag)
			}
		}
		require.Len(t, pictures, 110)
		last := -1
		for i, tag := range pictures {
			assert.Equal(t, itoa(i*40), string(tag.Data[5:]), "every frame, in order")
			assert.Greater(t, int(tag.Timestamp), last, "no two at one time")
			last = int(tag.Timestamp)
			if at := i * 40; at >= edge {
				assert.Equal(t, at-edge+window, last, "as it is from the edge on")
			}
		}
		assert.Zero(t, pictures[0].Timestamp)
		for _, tag := range sounds {
			var at int
			fmt.Sscan(string(tag.Data[2:]), &at)
			assert.Equal(t, at-edge+window, int(tag.Timestamp), "sound keeps its time")
		}
		assert.Len(t, sounds, 20+window/40+1)
		assert.Equal(t, 4400-40, int(whole.media()[2+219].Timestamp), "the usual start is a GOP behind")

		// Then it is a viewer like any other.
		p.runs(110, 50, 100)
		assert.Len(t, live.media(), 100)
		assert.Len(t, watch(t, h, hub.WatchOptions{Start: hub.StartLive, NoVideo: true}).media(), 1+11, "400 ms of sound")
	})
}

// Frames that are shown later than decoded keep their order through a squeeze.
func TestStartLiveReordersNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.live = true
		// Decoded I P B B P B B …, 40 ms apart.
		shown := []int{0, 3, 1, 2}
		frame := func(i, at int) flv.Tag {
			f := flv.Packet{Codec: flv.CodecH264, Kind: flv.KindFrame, Key: i == 0, CompositionTime: int32((at - i) * 40)}
			return video(uint32(i*40), body(t, flv.TypeVideo, f))
		}
		p.send("vc:s meta:v")
		p.write(frame(0, 0))
		for i := 1; i < 121; i++ {
			p.write(frame(i, (i-1)/3*3+shown[(i-1)%3+1]))
		}
		tags := watch(t, h, hub.WatchOptions{Start: hub.StartLive, FixedCodecs: true}).media()[1:]
		require.Len(t, tags, 121)
		times := make([]int, len(tags)) // of presentation, by their order in the source
		for i, tag := range tags {
			f, err := tag.Packet()
			require.NoError(t, err)
			at := 0
			if i > 0 {
				at = (i-1)/3*3 + shown[(i-1)%3+1]
			}
			times[at] = int(tag.Timestamp) + int(f.CompositionTime)
		}
		for i := range times[:len(times)-1] {
			assert.LessOrEqual(t, times[i], times[i+1], i)
		}
		assert.LessOrEqual(t, tags[120].Timestamp, uint32(400))
	})
}

// A GOP that has just begun needs no squeeze.
func TestStartLiveAtTheEdge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.send("meta:av vc:s ac:s")
		p.runs(0, 2, 100)
		assert.Equal(t, "meta:av@0 vc:s@0 ac:s@0 K:0@0 A:0@0 P:40@40 A:40@40",
			watch(t, h, hub.WatchOptions{Start: hub.StartLive}).read())
	})
}

func TestBack(t *testing.T) {
	for _, test := range []struct {
		back  time.Duration
		first string
	}{
		{0, "K:9000@0"},
		{500 * time.Millisecond, "K:9000@0"},
		{960 * time.Millisecond, "K:9000@0"},
		{961 * time.Millisecond, "K:8000@0"},
		{3 * time.Second, "K:6000@0"},
		{time.Minute, "K:4000@0"}, // what there is
	} {
		synctest.Test(t, func(t *testing.T) {
			h := newHub(t, hub.Config{LogDuration: 6 * time.Second, MaxLag: time.Second})
			p := publish(t, h, client{})
			p.send("meta:av vc:s ac:s")
			p.runs(0, 250, 25)
			v := watch(t, h, hub.WatchOptions{Back: test.back})
			tags := v.take()
			assert.Equal(t, test.first, word(tags[3]), test.back)
			assert.Zero(t, v.Dropped())
			assert.Equal(t, "P:9960", payload(tags[len(tags)-2]), "up to the live edge")
		})
	}
}

func payload(t flv.Tag) string { return fmt.Sprintf("P:%s", t.Data[5:]) }

// A viewer far back is not late for that. It is when it falls behind further, and once
// it has been at the live edge, like any other.
func TestBackIsNotLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{LogDuration: 10 * time.Second, MaxLag: 2 * time.Second})
		p := publish(t, h, client{})
		p.send("meta:av vc:s ac:s")
		p.runs(0, 250, 25)
		slow := watch(t, h, hub.WatchOptions{Back: 9 * time.Second})
		slow.limit = 1
		for i := range 50 { // a second of it, while a second passes
			slow.pass()
			if i%2 == 1 {
				p.runs(250+i/2, 1, 25)
			}
		}
		assert.Zero(t, slow.Dropped())
		slow.limit = 64 << 10
		slow.take()
		assert.Zero(t, slow.Dropped())
		p.runs(275, 1, 25)
		slow.take()
		p.runs(276, 75, 25) // 3 s in which it reads nothing
		slow.take()
		assert.NotZero(t, slow.Dropped(), "late, as everybody would be")
	})
}

// Nobody starts behind a change of codec or tracks, but behind a reconnect.
func TestBackAcrossSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{LogDuration: time.Minute})
		p := publish(t, h, client{})
		p.send("meta:av vc:s ac:s K:1 A:1 K:2@1000 A:2@1000")
		p.Close()
		p = publish(t, h, client{})
		p.send("meta:av vc:s ac:s K:3 A:3")
		assert.Equal(t, "K:1@0", word(watch(t, h, hub.WatchOptions{Back: time.Minute}).take()[3]))
		p.send("hc:s HK:4@1000 A:4@1000 HK:5@2000 A:5@2000")
		assert.Equal(t, "HK:4@0", word(watch(t, h, hub.WatchOptions{Back: time.Minute}).take()[3]))
	})
}

// Without video every packet is a start point.
func TestBackWithoutVideo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{LogDuration: 10 * time.Second})
		p := publish(t, h, client{})
		p.live = true
		p.send("meta:a ac:s")
		p.sendEvery("A", 0, 20, 600)
		assert.Equal(t, "A:9000@0", word(watch(t, h, hub.WatchOptions{Back: 2980 * time.Millisecond}).take()[2]))
		assert.Equal(t, "A:11580@0", word(watch(t, h, hub.WatchOptions{}).take()[2]))
	})
}

// The log keeps what was asked for, within its bound.
func TestLogDuration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{LogDuration: 10 * time.Second})
		p := publish(t, h, client{})
		p.send("meta:av vc:s ac:s")
		p.runs(0, 1000, 25)
		assert.InDelta(t, 2*250, h.Held(key), 2*25)
		assert.NoError(t, h.Check())
	})
}

func TestReadQuery(t *testing.T) {
	base := hub.WatchOptions{Shape: flv.Shape{Form: flv.FormBrowser}}
	for query, change := range map[string]func(*hub.WatchOptions){
		"":                            func(*hub.WatchOptions) {},
		"token=x&other=1":             func(*hub.WatchOptions) {},
		"onlyaudio=1":                 func(o *hub.WatchOptions) { o.NoVideo = true },
		"onlyvideo=TRUE":              func(o *hub.WatchOptions) { o.NoAudio = true },
		"start=gop&back=0":            func(*hub.WatchOptions) {},
		"start=live":                  func(o *hub.WatchOptions) { o.Start = hub.StartLive },
		"back=2.5":                    func(o *hub.WatchOptions) { o.Back = 2500 * time.Millisecond },
		"track=3":                     func(o *hub.WatchOptions) { o.Shape.Track = 3 },
		"track=all":                   func(o *hub.WatchOptions) { o.Shape.Form = flv.FormAsSent },
		"hevc=legacy":                 func(o *hub.WatchOptions) { o.Shape.HEVC = flv.HEVCLegacy },
		"hevc=enhanced&track=0&x=%00": func(o *hub.WatchOptions) { o.Shape.HEVC = flv.HEVCEnhanced },
	} {
		values, err := url.ParseQuery(query)
		require.NoError(t, err)
		got, want := base, base
		change(&want)
		require.NoError(t, got.ReadQuery(values), query)
		assert.Equal(t, want, got, query)
		for name := range values {
			assert.Equal(t, name != "token" && name != "other" && name != "x", hub.IsWatchOption(name), name)
		}
	}
	var enhanced hub.WatchOptions
	require.NoError(t, enhanced.ReadQuery(url.Values{"track": {"1"}}))
	assert.Equal(t, flv.Shape{Form: flv.FormSingle, Track: 1}, enhanced.Shape)

	for _, query := range []string{
		"onlyaudio=1&onlyvideo=1", "start=yesterday", "start=LIVE", "back=-1", "back=x", "back=NaN", "back=1e9", "back=604801",
		"start=live&back=5", "track=-1", "track=256", "track=one", "hevc=12",
	} {
		values, err := url.ParseQuery(query)
		require.NoError(t, err)
		var opts hub.WatchOptions
		assert.Equal(t, hub.ReasonBadRequest, reasonOf(t, opts.ReadQuery(values)), query)
	}
}

func TestMaxViewers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{MaxViewers: 2})
		publish(t, h, client{}).send("meta:av vc:s ac:s K:1 A:1")
		one := watch(t, h, hub.WatchOptions{})
		watch(t, h, hub.WatchOptions{})
		_, err := h.Watch(viewer(h, key), hub.WatchOptions{})
		assert.Equal(t, hub.ReasonTooMany, reasonOf(t, err))
		assert.EqualError(t, err, "too many: at most 2 may watch live/demo or wait for it at a time")
		one.Close()
		watch(t, h, hub.WatchOptions{}).Close()
	})
}

// A publisher may send twice its bitrate for a while, as with a key frame or after a
// broken connection, but not for long.
func TestMaxBitrate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{MaxBitrate: 80_000}) // 10,000 bytes per second
		frame := func(p *source, n int) error {
			return p.Write(flv.Tag{Type: flv.TypeAudio, Data: append([]byte{0x2f}, make([]byte, n-1)...)})
		}
		p := publish(t, h, client{})
		for range 100 {
			require.NoError(t, frame(p, 10_000))
			time.Sleep(time.Second)
		}
		require.NoError(t, frame(p, 49_000), "a burst")
		for range 60 {
			time.Sleep(100 * time.Millisecond)
			require.NoError(t, frame(p, 1000))
		}
		var err error
		sent := 0
		for ; err == nil; sent++ {
			err = frame(p, 2000)
			time.Sleep(100 * time.Millisecond)
		}
		assert.Equal(t, hub.ReasonTooMany, reasonOf(t, err))
		assert.Less(t, sent, 60)
		assert.Equal(t, hub.ReasonTooMany, reasonOf(t, frame(p, 1)), "it is over")
		assert.Equal(t, "grace", info(t, h).State, "viewers are held as with any other end")
		publish(t, h, client{}) // who sends less
	})
}

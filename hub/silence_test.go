package hub_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
)

// inBrowser is what a player in a browser asks for.
var inBrowser = hub.WatchOptions{FixedCodecs: true, Shape: browser}

// stereo is an AudioSpecificConfig: AAC-LC, 44.1 kHz, two channels.
const stereo = "\x12\x10"

// speaker is a publisher with a picture every 40 ms and a key frame every second, that
// can mute. It is in step with a fake clock.
type speaker struct {
	*source
	header string // of the sound
	begun  time.Time
	video  int // of the next picture, ms
	audio  int // of the next frame of sound, 46 to the second
	muted  bool
	stands bool // the sound's clock stands while it is muted
	stood  int  // for how long it did, ms
	delay  int  // by which sound is sent late, ms
}

func newSpeaker(t *testing.T, h *hub.Hub, header string) *speaker {
	p := &speaker{source: publish(t, h, client{}), header: header, begun: time.Now()}
	p.send("meta:av vc:s")
	require.NoError(t, p.Write(flv.Tag{Type: flv.TypeAudio, Data: append([]byte{0xaf, 0}, header...)}))
	return p
}

// run sends what is due within the time, each frame when it is due.
func (p *speaker) run(d time.Duration) {
	p.t.Helper()
	for end := time.Since(p.begun) + d; ; {
		next := min(p.video, p.audio+p.delay)
		at := time.Duration(next) * time.Millisecond
		if at >= end {
			time.Sleep(end - time.Since(p.begun))
			return
		}
		time.Sleep(at - time.Since(p.begun))
		if next == p.video {
			kind := "P"
			if p.video%1000 == 0 {
				kind = "K"
			}
			p.send(fmt.Sprintf("%s:%d@%d", kind, p.video, p.video))
			p.video += 40
			continue
		}
		if !p.muted {
			p.send(fmt.Sprintf("A:%d@%d", p.audio, p.audio-p.stood))
		} else if p.stands {
			p.stood += 20
		}
		p.audio += 20
	}
}

// sounds are the times of a viewer's sound, and which of it is silence that was put in.
func sounds(tags []flv.Tag) (own, filled []int) {
	for _, t := range tags {
		switch {
		case t.Type != flv.TypeAudio || t.Data[1] != 1:
		case string(t.Data) == "\xaf\x01\x21\x00\x00\x00\x00\x1c":
			filled = append(filled, int(t.Timestamp))
		default:
			own = append(own, int(t.Timestamp))
		}
	}
	return own, filled
}

// A publisher mutes for a while: who was there goes on, with silence in the gap, who
// joins gets both tracks; what is sent again is in its place.
func TestMuteIsFilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{MaxLag: time.Hour})
		p := newSpeaker(t, h, stereo)
		p.run(5 * time.Second)
		fixed := watch(t, h, inBrowser)
		asSent := watch(t, h, hub.WatchOptions{FixedCodecs: true, Shape: flv.Shape{Form: flv.FormAsSent}})
		tags, sent := fixed.take(), asSent.take()
		p.muted = true
		muted := p.audio
		p.run(900 * time.Millisecond)
		tags = append(tags, fixed.take()...)
		_, filled := sounds(tags)
		assert.Empty(t, filled, "within a second it is nothing but late")
		p.run(9100 * time.Millisecond)
		joined := watch(t, h, inBrowser)
		audio, video := joined.Tracks()
		assert.True(t, audio && video, "who joins gets both")
		own, filled := sounds(joined.take())
		assert.Empty(t, own)
		assert.InDelta(t, 1000/23.2, len(filled), 10, "of a GOP")
		truth := watch(t, h, hub.WatchOptions{Shape: flv.Shape{Form: flv.FormAsSent}})
		audio, video = truth.Tracks()
		assert.True(t, !audio && video, "who gets all as it was sent is told the truth")
		assert.True(t, strings.HasPrefix(truth.read(), "meta:v@0 vc:s@0 K:"))
		assert.True(t, info(t, h).Muted)
		p.muted = false
		p.run(5 * time.Second)

		assert.Equal(t, hub.ReasonNone, fixed.end)
		tags = append(tags, fixed.take()...)
		own, filled = sounds(tags)
		base := 4000 // the key frame at which it began
		want := 0
		for _, at := range own {
			if want == muted-base {
				want += 10_000
			}
			require.Equal(t, want, at)
			want += 20
		}
		gap := muted - base - 20
		for i, at := range append(filled, muted-base+10_000) {
			require.Greater(t, at, gap, i)
			require.LessOrEqual(t, at, gap+36, i)
			gap = at
		}

		sent = append(sent, asSent.take()...)
		assert.Equal(t, hub.ReasonNone, asSent.end, "nothing changed for it")
		own, filled = sounds(sent)
		assert.Empty(t, filled)
		assert.Len(t, own, (20_000-4000-10_000)/20)
		assert.Contains(t, truth.read(), " ac:"+stereo+"@1000 A:15000@1000 ", "the sound is back")
		assert.NotZero(t, info(t, h).Filled)
		assert.False(t, info(t, h).Muted)
		assert.Empty(t, info(t, h).Skipped)
		assert.Zero(t, info(t, h).Jumps)
	})
}

// Sound that comes in bursts, or well behind the picture, is not taken for muted more
// than once.
func TestLateSoundIsNotFilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{MaxLag: time.Hour})
		p := newSpeaker(t, h, stereo)
		p.delay = 3000
		p.run(20 * time.Second)
		assert.Zero(t, info(t, h).Filled)
	})
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{MaxLag: time.Hour})
		p := publish(t, h, client{})
		p.send("meta:av vc:s")
		require.NoError(t, p.Write(flv.Tag{Type: flv.TypeAudio, Data: append([]byte{0xaf, 0}, stereo...)}))
		v, done := waiting(t, h, inBrowser)
		var filled uint64
		for second := range 20 { // 1.4 s of sound at a time
			from := second * 1400
			p.sendEvery("A", from, 20, 70)
			for ms := from; ms < from+1400; ms += 40 {
				p.send(fmt.Sprintf("K:%d@%d", ms, ms))
				time.Sleep(40 * time.Millisecond)
			}
			if second == 1 {
				filled = info(t, h).Filled
			}
		}
		require.NoError(t, <-done)
		assert.Equal(t, filled, info(t, h).Filled)
		own, _ := sounds(v.take())
		assert.InDelta(t, 19*70, len(own), 25, "all but the first, which comes before the first picture")
	})
}

// An encoder's clock for sound stands while it is muted: what it sends after that
// follows the silence, as it follows the picture.
func TestMutedClockStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{MaxLag: time.Hour})
		p := newSpeaker(t, h, stereo)
		p.run(5 * time.Second)
		fixed := watch(t, h, inBrowser)
		fixed.read()
		p.muted, p.stands = true, true
		p.run(6 * time.Second)
		p.muted = false
		p.run(10 * time.Second)
		own, filled := sounds(fixed.take())
		assert.NotEmpty(t, filled)
		require.Greater(t, len(own), 7*50)
		assert.InDelta(t, p.video-4000, own[len(own)-1], 1500)
		assert.Equal(t, hub.ReasonNone, fixed.end)
		assert.EqualValues(t, 1, info(t, h).Jumps)
	})
}

// A session that ends just when its sound's clock is known to have stood leaves nothing
// of that to the next one.
func TestStoodClockEndsWithItsSession(t *testing.T) {
	for late := 900; late <= 1200; late += 20 { // ms of sound before the end
		synctest.Test(t, func(t *testing.T) {
			h := newHub(t, hub.Config{MaxLag: time.Hour})
			p := newSpeaker(t, h, stereo)
			p.run(3 * time.Second)
			p.muted, p.stands = true, true
			p.run(4 * time.Second)
			p.muted = false
			p.run(time.Duration(late) * time.Millisecond)
			p.Close()
			jumps := info(t, h).Jumps

			p = newSpeaker(t, h, stereo)
			p.run(200 * time.Millisecond)
			v := watch(t, h, inBrowser)
			p.muted = true // for less than it takes to be noticed
			p.run(300 * time.Millisecond)
			p.muted = false
			p.run(time.Second)
			own, filled := sounds(v.take())
			assert.Empty(t, filled)
			assert.Equal(t, 500, own[10]-own[0], "after %d ms", late)
			assert.Equal(t, jumps, info(t, h).Jumps)
		})
	}
}

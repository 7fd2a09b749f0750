package hub_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
)

var (
	fixedPlayer  = hub.WatchOptions{FixedCodecs: true, Shape: flv.Shape{Form: flv.FormBrowser}}
	rtmpPlayer   = hub.WatchOptions{Shape: flv.Shape{Form: flv.FormClassic}}
	onlyAudio    = hub.WatchOptions{FixedCodecs: true, NoVideo: true, Shape: flv.Shape{Form: flv.FormBrowser}}
	onlyVideo    = hub.WatchOptions{FixedCodecs: true, NoAudio: true, Shape: flv.Shape{Form: flv.FormBrowser}}
	asSentPlayer = hub.WatchOptions{}
)

// The publisher mutes, and sends no sound at all: that is silence to who was there and
// to who joins, in step with the picture, and nobody is ended. What it sends again goes
// on in its place.
func TestMute(t *testing.T) {
	for _, header := range []string{"44k", "48k", "mono"} {
		t.Run(header, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, hub.Config{})
				p := publishLife(t, h)
				p.send("vc:360p ac:" + header)
				p.sendLive("VA", 3*time.Second)
				there, all := p.watch(h, fixedPlayer), p.watch(h, asSentPlayer)
				p.sendLive("VA", time.Second)

				p.sendLive("V", 10*time.Second)
				joined, joinedAll := p.watch(h, fixedPlayer), p.watch(h, asSentPlayer)
				assert.Equal(t, "av", joined.told())
				assert.Equal(t, "v", joinedAll.told())
				p.sendLive("V", 2*time.Second)
				there.silent(11 * time.Second)
				joined.silent(2 * time.Second)
				all.silent(0)
				joinedAll.silent(0)

				p.sendLive("VA", 3*time.Second)
				for _, v := range []*lifeViewer{there, joined, all} {
					assert.Equal(t, hub.ReasonNone, v.end)
					v.real(3 * time.Second)
				}
				joinedAll.real(3 * time.Second)
			})
		})
	}
}

// Sound that can't be filled is gone three seconds after its last frame: players with
// fixed codecs that had it are ended, and who joins is told the truth. When it comes
// back, those that lack it are ended, and others get it.
func TestMuteWithoutFilling(t *testing.T) {
	for name, test := range map[string]struct {
		cfg   hub.Config
		sound string
	}{
		"MP3":                 {hub.Config{}, "M"},
		"AAC, filling is off": {hub.Config{NoFillSilence: true}, "A"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, test.cfg)
				p := publishLife(t, h)
				p.send("vc:360p")
				if test.sound == "A" {
					p.send("ac:48k")
				}
				p.sendLive("V"+test.sound, 4*time.Second)
				fixed, follows, picture := p.watch(h, fixedPlayer), p.watch(h, rtmpPlayer), p.watch(h, onlyVideo)
				p.sendLive("V", 2900*time.Millisecond)
				assert.Equal(t, hub.ReasonNone, fixed.end)
				p.sendLive("V", 200*time.Millisecond)
				assert.Equal(t, hub.ReasonCodecChanged, fixed.end)
				joins := p.watch(h, fixedPlayer)
				assert.Equal(t, "v", joins.told())

				p.sendLive("V", 4900*time.Millisecond)
				assert.Equal(t, hub.ReasonNone, joins.end)
				p.sendLive("V"+test.sound, 40*time.Millisecond)
				assert.Equal(t, hub.ReasonCodecChanged, joins.end)
				back := p.watch(h, fixedPlayer)
				assert.Equal(t, "av", back.told())
				p.sendLive("V"+test.sound, 2*time.Second)
				assert.Equal(t, hub.ReasonNone, back.end)
				assert.Equal(t, hub.ReasonNone, picture.end)
				assert.Equal(t, hub.ReasonNone, follows.end)
				follows.real(2 * time.Second)
			})
		})
	}
}

// The camera goes off, and the sound goes on; later it comes back.
func TestCameraOff(t *testing.T) {
	for name, cfg := range map[string]hub.Config{"": {}, "a small log": {GOPMaxBytes: 64 << 10}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, cfg)
				p := publishLife(t, h)
				p.send("vc:360p ac:48k")
				p.sendLive("VA", 4*time.Second)
				fixed, follows, sound := p.watch(h, fixedPlayer), p.watch(h, rtmpPlayer), p.watch(h, onlyAudio)
				p.sendLive("A", 2900*time.Millisecond)
				assert.Equal(t, hub.ReasonNone, fixed.end)
				p.sendLive("A", 200*time.Millisecond)
				assert.Equal(t, hub.ReasonCodecChanged, fixed.end)

				var joins []*lifeViewer
				for _, opts := range []hub.WatchOptions{fixedPlayer, onlyAudio, rtmpPlayer} {
					joins = append(joins, p.watch(h, opts))
				}
				p.sendLive("A", time.Minute)
				for _, opts := range []hub.WatchOptions{fixedPlayer, onlyAudio, rtmpPlayer, asSentPlayer} {
					joins = append(joins, p.watch(h, opts))
				}
				for i, v := range joins {
					assert.Equal(t, "a", v.told(), "%d", i)
					assert.Equal(t, hub.ReasonNone, v.end)
				}
				for _, v := range joins[3:] {
					lead := v.got[len(v.got)-1].Timestamp
					assert.InDelta(t, 400, lead, 50, "behind the live edge")
				}
				assert.Less(t, h.Held(key), 400, "packets in the log, of 47 in a second")

				p.sendLive("VA", 2*time.Second)
				for i, v := range joins {
					want := hub.ReasonNone
					if i == 0 || i == 3 {
						want = hub.ReasonCodecChanged
					}
					assert.Equal(t, want, v.end, "%d", i)
				}
				assert.Equal(t, hub.ReasonNone, sound.end)
				assert.Equal(t, hub.ReasonNone, follows.end)
				follows.real(2 * time.Second)
				joins[2].real(2 * time.Second)
				back := p.watch(h, fixedPlayer)
				assert.Equal(t, "av", back.told())
				assert.Regexp(t, `^meta:av@0 vc:360p@0 ac:48k@0 K:\d+@0 `, lifeWords(back.got))
			})
		})
	}
}

// AAC whose header never comes is no track to players with fixed codecs; the others get
// it. Once the header is there it is a late track.
func TestNoHeader(t *testing.T) {
	for name, test := range map[string]struct{ headers, late, fixed string }{
		"AAC":   {"vc:360p", "ac:48k", "v"},
		"H.264": {"ac:48k", "vc:360p", "a"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, hub.Config{})
				p := publishLife(t, h)
				p.send(test.headers)
				p.sendLive("VA", 4*time.Second)
				fixed, follows := p.watch(h, fixedPlayer), p.watch(h, rtmpPlayer)
				assert.Equal(t, test.fixed, fixed.told())
				assert.Equal(t, "av", follows.told())
				p.sendLive("VA", 6*time.Second)
				assert.Equal(t, hub.ReasonNone, fixed.end)
				lacks := flv.TypeAudio
				if test.fixed == "a" {
					lacks = flv.TypeVideo
				}
				assert.False(t, slices.ContainsFunc(fixed.got, func(t flv.Tag) bool { return t.Type == lacks }), "got %v", lacks)
				p.send(test.late)
				p.sendLive("VA", 1100*time.Millisecond)
				assert.Equal(t, hub.ReasonCodecChanged, fixed.end)
				assert.Equal(t, hub.ReasonNone, follows.end)
				assert.Contains(t, lifeWords(follows.got), " "+test.late)
				follows.real(7100 * time.Millisecond)
				assert.Equal(t, "av", p.watch(h, fixedPlayer).told())
			})
		})
	}
}

// Whatever metadata says, both tracks that come are told and nobody is ended, and of one
// that comes alone it is known after a second, or four where metadata names the other's
// codec.
func TestMetadataDecidesNothing(t *testing.T) {
	const second = time.Second
	names := len(lifeNames(0, ""))
	for _, test := range []struct {
		sent, tells string
		after       int // which of the words metadata comes before
	}{
		{"vc:360p K:1@0 P:2@340 ac:48k A:3@343", "av", 0},
		{"vc:360p K:1@0 P:2@340 ac:48k A:3@343", "av", 2},
		{"ac:48k A:1@0 A:2@321 vc:360p K:3@340", "av", 0},
		{"ac:48k A:1@0 A:2@321 vc:360p K:3@340", "av", 2},
		{"vc:360p K:1@0", "v", 0},
		{"ac:48k A:1@0", "a", 0},
	} {
		t.Run(fmt.Sprintf("%s, after %d", test.sent, test.after), func(t *testing.T) {
			for n := range names * names {
				audio, video := n%names, n/names
				synctest.Test(t, func(t *testing.T) {
					h := newHub(t, hub.Config{})
					v, done := waiting(t, h, fixedPlayer)
					begun := time.Now()
					p := publishLife(t, h)
					p.live = true
					meta := lifeMetadata(lifeNames(10, "mp4a")[audio], lifeNames(7, "avc1")[video])
					for i, w := range strings.Fields(test.sent) {
						if i == test.after {
							require.NoError(t, p.Write(meta))
						}
						p.send(w)
					}
					require.NoError(t, <-done)
					least, most := 340*time.Millisecond, 350*time.Millisecond
					switch missing := map[string]int{"a": video, "v": audio}[test.tells]; {
					case test.tells == "av":
					case missing == lifeRealName:
						least, most = 4*second, 4*second
					case missing < 3 || missing == names-1: // it names none
						least, most = second, second
					default: // a matter of taste
						least, most = second, 4*second
					}
					assert.GreaterOrEqual(t, time.Since(begun), least)
					assert.LessOrEqual(t, time.Since(begun), most)
					assert.Equal(t, test.tells, (&lifeViewer{sink: v, got: v.take()}).told())
					require.NoError(t, p.Write(meta))
					v.take()
					assert.Equal(t, hub.ReasonNone, v.end)
					if t.Failed() { // and no other combination is tried
						t.Logf("codecs named: %#v and %#v", lifeNames(10, "mp4a")[audio], lifeNames(7, "avc1")[video])
					}
				})
			}
		})
	}
}

// A key frame in several messages of one timestamp is one start point: joiners begin
// with the first of them.
func TestSlices(t *testing.T) {
	for _, test := range []struct{ name, sent, joins string }{
		{"two messages", "K:1@0 A:1@0 P:2@40 K:3@80 K:4@80 P:5@120", "K:3@0 K:4@0 P:5@40"},
		{"three, with sound between", "K:1@0 A:1@0 P:2@40 K:3@80 A:4@80 K:5@80 A:6@101 K:7@80 P:8@120", "K:3@0 A:4@0 K:5@0 A:6@21 K:7@0 P:8@40"},
		{"the first picture", "K:1@0 K:2@0 A:3@0", "K:1@0 K:2@0 A:3@0"},
		{"two pictures", "K:1@0 A:1@0 K:2@40 A:3@43", "K:2@0 A:3@3"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, hub.Config{})
				p := publishLife(t, h)
				p.send("vc:360p ac:48k", test.sent)
				assert.Equal(t, "meta:av@0 vc:360p@0 ac:48k@0 "+test.joins, lifeWords(watch(t, h, fixedPlayer).take()))
			})
		})
	}
}

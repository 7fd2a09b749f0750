package hub_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"sluice/hub"
)

// Another picture size or sample rate, as another codec, ends players with fixed codecs
// at that point, unless they leave that track out. Others get the new header.
func TestFormatChange(t *testing.T) {
	const begin = "vc:360p ac:48k K:1@0 A:1@0 "
	for _, test := range []struct {
		name                            string
		reconnect                       bool
		change                          string
		fixed, follows, joins           string
		endsFixed, endsAudio, endsVideo bool
	}{
		{
			name: "size", change: "P:2@40 vc:turned K:3@80 A:4@85 P:5@120",
			fixed: "P:2@40", follows: "P:2@40 vc:turned@80 K:3@80 A:4@85 P:5@120",
			joins:     "meta:av@0 vc:turned@0 ac:48k@0 K:3@0 A:4@5 P:5@40",
			endsFixed: true, endsVideo: true,
		},
		{
			name: "size, at a republish", reconnect: true, change: "vc:turned ac:48k K:3@0 A:4@0 P:5@40",
			fixed: "", follows: "vc:turned@20 K:3@20 A:4@20 P:5@60",
			joins:     "meta:av@0 vc:turned@0 ac:48k@0 K:3@0 A:4@0 P:5@40",
			endsFixed: true, endsVideo: true,
		},
		{
			name: "sample rate", change: "P:2@40 ac:44k A:3@43 K:4@80 A:5@85",
			fixed: "P:2@40", follows: "P:2@40 ac:44k@43 A:3@43 K:4@80 A:5@85",
			joins:     "meta:av@0 vc:360p@0 ac:44k@0 K:4@0 A:5@5",
			endsFixed: true, endsAudio: true,
		},
		{
			name: "channels", change: "P:2@40 ac:mono A:3@43 K:4@80 A:5@85",
			fixed: "P:2@40", follows: "P:2@40 ac:mono@43 A:3@43 K:4@80 A:5@85",
			joins:     "meta:av@0 vc:360p@0 ac:mono@0 K:4@0 A:5@5",
			endsFixed: true, endsAudio: true,
		},
		{
			name: "codec of the picture", change: "P:2@40 hc:hevc HK:3@80 A:4@85",
			fixed: "P:2@40", follows: "P:2@40 hc:hevc@80 HK:3@80 A:4@85",
			joins:     "meta:av@0 hc:hevc@0 ac:48k@0 HK:3@0 A:4@5",
			endsFixed: true, endsVideo: true,
		},
		{
			name: "codec of the sound", change: "P:2@40 M:3@43 K:4@80 M:5@85",
			fixed: "P:2@40", follows: "P:2@40 M:3@43 K:4@80 M:5@85",
			joins:     "meta:av@0 vc:360p@0 K:4@0 M:5@5",
			endsFixed: true, endsAudio: true,
		},
		{
			name: "other bytes of the picture's header", change: "P:2@40 vc:360p' K:3@80 A:4@85",
			fixed: "P:2@40 vc:360p'@80 K:3@80 A:4@85", follows: "P:2@40 vc:360p'@80 K:3@80 A:4@85",
			joins: "meta:av@0 vc:360p'@0 ac:48k@0 K:3@0 A:4@5",
		},
		{
			name: "other bytes of the sound's header", change: "P:2@40 ac:48k' A:3@43 K:4@80 A:5@85",
			fixed: "P:2@40 ac:48k'@43 A:3@43 K:4@80 A:5@85", follows: "P:2@40 ac:48k'@43 A:3@43 K:4@80 A:5@85",
			joins: "meta:av@0 vc:360p@0 ac:48k'@0 K:4@0 A:5@5",
		},
		{
			name: "other bytes, at a republish", reconnect: true, change: "vc:360p' ac:48k' K:3@0 A:4@0",
			fixed: "vc:360p'@20 ac:48k'@20 K:3@20 A:4@20", follows: "vc:360p'@20 ac:48k'@20 K:3@20 A:4@20",
			joins: "meta:av@0 vc:360p'@0 ac:48k'@0 K:3@0 A:4@0",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, hub.Config{})
				p := publishLife(t, h, begin)
				fixed, follows := p.watch(h, fixedPlayer), p.watch(h, rtmpPlayer)
				sound, picture := p.watch(h, onlyAudio), p.watch(h, onlyVideo)
				fixed.got, follows.got = nil, nil
				if test.reconnect {
					p.Close()
					time.Sleep(time.Second)
					p = publishLife(t, h)
				}
				p.send(test.change)
				for _, v := range []struct {
					*lifeViewer
					name string
					ends bool
				}{
					{fixed, "fixed codecs", test.endsFixed},
					{follows, "follows", false},
					{sound, "only audio", test.endsAudio},
					{picture, "only video", test.endsVideo},
				} {
					v.look()
					want := hub.ReasonNone
					if v.ends {
						want = hub.ReasonCodecChanged
					}
					assert.Equal(t, want, v.end, v.name)
				}
				assert.Equal(t, test.fixed, lifeWords(fixed.got))
				assert.Equal(t, test.follows, lifeWords(follows.got))
				assert.Equal(t, test.joins, lifeWords(watch(t, h, fixedPlayer).take()))
			})
		})
	}
}

// A picture every eight seconds comes out at its time, and is no track that comes and
// goes: nobody is ended for that.
func TestSparseVideo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publishLife(t, h, "vc:360p")
		p.live = true
		p.send("K:0@0")
		time.Sleep(time.Second)
		p.clock = 1000
		v := p.watch(h, fixedPlayer)
		for _, w := range []string{"K:8@8000", "P:16@16000", "P:24@24000", "K:32@32000"} {
			p.send(w)
			v.look()
		}
		assert.Equal(t, "meta:v@0 vc:360p@0 K:0@0 K:8@8000 P:16@16000 P:24@24000 K:32@32000", lifeWords(v.got))
		assert.Equal(t, hub.ReasonNone, v.end)
		assert.Equal(t, "meta:v@0 vc:360p@0 K:32@0", lifeWords(watch(t, h, fixedPlayer).take()))
	})
}

// The same beside sound that goes on.
func TestSparseVideoWithSound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publishLife(t, h, "vc:360p ac:48k")
		var v *lifeViewer
		for range 6 {
			p.source.send("K:" + itoa(int(p.clock)) + "@" + itoa(int(p.clock)))
			if v == nil {
				p.sendLive("A", 20*time.Millisecond)
				v = p.watch(h, fixedPlayer)
				p.sendLive("A", 7980*time.Millisecond)
				continue
			}
			p.sendLive("A", 8*time.Second)
		}
		assert.Equal(t, hub.ReasonNone, v.end)
		assert.Equal(t, "av", v.told())
		assert.Equal(t, "av", p.watch(h, fixedPlayer).told())
		for _, tag := range v.got[1:] {
			if w := word(tag); w[0] == 'K' || w[0] == 'A' {
				ts := itoa(int(tag.Timestamp))
				assert.Equal(t, w[:2]+ts+"@"+ts, w)
			}
		}
	})
}

// Of a single picture nobody knows whether it is a sparse one; after ten seconds it was
// the last.
func TestSinglePicture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publishLife(t, h, "vc:360p ac:48k K:0@0")
		p.sendLive("A", 20*time.Millisecond)
		v := p.watch(h, fixedPlayer)
		p.sendLive("A", 8*time.Second)
		assert.Equal(t, hub.ReasonNone, v.end)
		p.sendLive("A", 2500*time.Millisecond)
		assert.Equal(t, hub.ReasonCodecChanged, v.end)
		assert.Equal(t, "a", p.watch(h, fixedPlayer).told())
	})
}

// While nothing comes at all, no track is gone, and what then comes first is not alone.
// The pause is one to viewers too.
func TestPauseOfBoth(t *testing.T) {
	for _, first := range []string{"V", "M", "A"} {
		t.Run(first, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, hub.Config{})
				sound := "A"
				if first == "M" {
					sound = "M"
				}
				p := publishLife(t, h, "vc:360p")
				if sound == "A" {
					p.send("ac:48k")
				}
				p.sendLive("V"+sound, 4*time.Second)
				fixed, follows := p.watch(h, fixedPlayer), p.watch(h, rtmpPlayer)
				time.Sleep(10 * time.Second)
				p.clock += 10_000
				p.sendLive(first, 200*time.Millisecond)
				assert.Equal(t, "av", p.watch(h, fixedPlayer).told())
				p.sendLive("V"+sound, 3*time.Second)
				for _, v := range []*lifeViewer{fixed, follows} {
					assert.Equal(t, hub.ReasonNone, v.end)
					v.real(2 * time.Second)
					last := v.got[len(v.got)-1]
					assert.InDelta(t, 14_200, last.Timestamp, 60)
				}
			})
		})
	}
}

// A track that was gone in a session and one that a new session lacks are told alike.
func TestSessionWithoutSound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publishLife(t, h, "vc:360p ac:48k")
		p.sendLive("VA", 2*time.Second)
		fixed := p.watch(h, fixedPlayer)
		p.Close()
		time.Sleep(time.Second)
		p = publishLife(t, h, "vc:360p ac:48k")
		p.viewers = []*lifeViewer{fixed}
		p.sendLive("V", 980*time.Millisecond)
		assert.Equal(t, hub.ReasonNone, fixed.end)
		p.sendLive("V", 200*time.Millisecond)
		assert.Equal(t, hub.ReasonCodecChanged, fixed.end, "a header without frames is no track, and nothing to fill")
		assert.Equal(t, "v", p.watch(h, fixedPlayer).told())
	})
}

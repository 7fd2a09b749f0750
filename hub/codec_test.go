package hub_test

import (
	"cmp"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"sluice/hub"
)

// Codecs or tracks change, in one session or from one to the next. Viewers that
// can't follow get everything up to the change and end; the others get the new
// headers and go on; whoever joins afterwards sees only what is new.
func TestCodecChange(t *testing.T) {
	for _, test := range []struct {
		name      string
		reconnect bool
		first     string
		change    string
		fixed     string // what the first kind still gets of it
		follows   string
		joins     string

		fixedJoins string // where it is not the same
	}{
		{
			name: "video", first: av,
			change:  "P:2@40 hc:h HP:3@80 HK:4@120 A:5@120",
			fixed:   "P:2@40",
			follows: "P:2@40 hc:h@120 HK:4@120 A:5@120",
			joins:   "meta:av@0 hc:h@0 ac:c@0 HK:4@0 A:5@0",
		},
		{
			name: "video without a header", first: av,
			change:     "HK:4@120 A:5@120",
			fixed:      "",
			follows:    "HK:4@120 A:5@120",
			joins:      "meta:av@0 ac:c@0 HK:4@0 A:5@0",
			fixedJoins: "meta:a@0 ac:c@0 A:5@0", // a player can make nothing of the picture
		},
		{
			name: "audio, while the picture goes on", first: av,
			change:  "M:2@23 P:3@40 M:4@46 K:5@80 M:6@80",
			fixed:   "",
			follows: "M:2@23 P:3@40 M:4@46 K:5@80 M:6@80",
			joins:   "meta:av@0 vc:s@0 K:5@0 M:6@0",
		},
		{
			name: "audio to one with a header", first: "vc:s K:1@0 M:1@0",
			change:  "ac:c A:2@23 P:3@40 K:4@80 A:5@80",
			fixed:   "",
			follows: "ac:c@23 A:2@23 P:3@40 K:4@80 A:5@80",
			joins:   "meta:av@0 vc:s@0 ac:c@0 K:4@0 A:5@0",
		},
		{
			name: "both", first: av,
			change:  "hc:h M:2@80 HK:3@80",
			fixed:   "",
			follows: "hc:h@80 M:2@80 HK:3@80",
			joins:   "meta:av@0 hc:h@0 HK:3@0",
		},
		{
			name: "the same codec in another guise", first: "vc:s ac:c K:1@0 A:1@0",
			change:  "K:2@40 vc:t K:3@80",
			fixed:   "K:2@40 vc:t@80 K:3@80",
			follows: "K:2@40 vc:t@80 K:3@80",
			joins:   "meta:av@0 vc:t@0 ac:c@0 K:3@0",
		},
		{
			name: "video, after a reconnect", first: av, reconnect: true,
			change:  "hc:h ac:c HK:4@500 A:5@500",
			fixed:   "",
			follows: "hc:h@20 HK:4@20 A:5@20",
			joins:   "meta:av@0 hc:h@0 ac:c@0 HK:4@0 A:5@0",
		},
		{
			name: "video, behind sound, after a reconnect", first: av, reconnect: true,
			change:  "ac:c A:3@500 hc:h HK:4@520 A:5@523",
			fixed:   "A:3@20",
			follows: "A:3@20 hc:h@40 HK:4@40 A:5@43",
			joins:   "meta:av@0 hc:h@0 ac:c@0 HK:4@0 A:5@3",
		},
		{
			name: "a second track, after a reconnect", first: "meta:v vc:s K:1@0", reconnect: true,
			change:  "meta:av vc:s ac:c K:2@0 A:2@0 P:3@40",
			fixed:   "K:2@20",
			follows: "ac:c@20 K:2@20 A:2@20 P:3@60",
			joins:   "meta:av@0 vc:s@0 ac:c@0 K:2@0 A:2@0 P:3@40",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, hub.Config{})
				p := publish(t, h, client{})
				p.send(test.first)
				fixed := watch(t, h, hub.WatchOptions{FixedCodecs: true})
				follows := watch(t, h, hub.WatchOptions{})
				lags := watch(t, h, hub.WatchOptions{FixedCodecs: true})
				fixed.read()
				follows.read()
				before := words(lags.take())

				if test.reconnect {
					p.Close()
					p = publish(t, h, client{})
				}
				p.send(test.change)
				assert.Equal(t, test.fixed, fixed.read())
				if test.name == "the same codec in another guise" {
					assert.Equal(t, hub.ReasonNone, fixed.end)
				} else {
					assert.Equal(t, hub.ReasonCodecChanged, fixed.end)
				}
				assert.Equal(t, test.fixed, lags.read(), "after %s", before)
				assert.Equal(t, test.follows, follows.read())
				assert.Equal(t, hub.ReasonNone, follows.end)
				assert.Equal(t, cmp.Or(test.fixedJoins, test.joins), watch(t, h, hub.WatchOptions{FixedCodecs: true}).read())
				assert.Equal(t, test.joins, watch(t, h, hub.WatchOptions{}).read())
			})
		})
	}
}

// A new session with a track less, whatever metadata says or does not say: it is known
// after a second.
func TestTrackLess(t *testing.T) {
	for _, test := range []struct{ name, change, rest, fixed, joins string }{
		{"sound", "vc:s ac:c K:2@0 P:3@40", "P:4@80", "K:2@20 P:3@60", "meta:v@0 vc:s@0 K:2@0 P:3@40 P:4@80"},
		{"sound, as metadata says", "meta:v vc:s K:2@0 P:3@40", "P:4@80", "K:2@20 P:3@60", "meta:v@0 vc:s@0 K:2@0 P:3@40 P:4@80"},
		{"picture", "ac:c A:2@0 A:3@23", "A:4@46", "A:2@20 A:3@43", "meta:a@0 ac:c@0 A:4@0"},
		{"picture, as metadata says", "meta:a ac:c A:2@0 A:3@23", "A:4@46", "A:2@20 A:3@43", "meta:a@0 ac:c@0 A:4@0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, hub.Config{})
				p := publish(t, h, client{})
				p.send(av)
				fixed := watch(t, h, hub.WatchOptions{FixedCodecs: true})
				fixed.read()
				p.Close()
				p = publish(t, h, client{})
				p.send(test.change)
				time.Sleep(time.Second - time.Nanosecond)
				assert.Equal(t, test.fixed, fixed.read())
				assert.Equal(t, hub.ReasonNone, fixed.end)
				time.Sleep(time.Nanosecond)
				synctest.Wait()
				p.send(test.rest)
				assert.Empty(t, fixed.read())
				assert.Equal(t, hub.ReasonCodecChanged, fixed.end)
				assert.Equal(t, test.joins, watch(t, h, hub.WatchOptions{}).read())
			})
		})
	}
}

// A viewer for which the stream's other track was never there doesn't mind a
// change of codec any less than others: it is ended, and comes back.
func TestCodecChangeWithOneTrack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.send(av)
		v := watch(t, h, hub.WatchOptions{FixedCodecs: true, NoAudio: true})
		v.read()
		p.send("hc:h HK:2@40 A:2@40")
		assert.Empty(t, v.read())
		assert.Equal(t, hub.ReasonCodecChanged, v.end)
	})
}

// Viewers that follow are told the truth in metadata after a change.
func TestMetadataAfterCodecChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.send("meta:v vc:s K:1@0")
		rtmp := watch(t, h, hub.WatchOptions{ScriptData: true})
		assert.Equal(t, "meta:v@0 vc:s@0 K:1@0", rtmp.read())
		p.Close()
		p = publish(t, h, client{})
		p.send("meta:av vc:s ac:c K:2@0 A:2@0")
		assert.Equal(t, "meta:av@0 ac:c@20 K:2@20 A:2@20", rtmp.read())
		p.Close()
		p = publish(t, h, client{})
		p.send("meta:a ac:c A:3@0")
		assert.Equal(t, "meta:av@0 A:3@40", rtmp.read(), "a picture may still come")
		time.Sleep(time.Second)
		synctest.Wait()
		p.send("A:4@1000")
		assert.Equal(t, "meta:a@0 A:4@1040", rtmp.read())
	})
}

// A viewer that has not started yet has no codecs that could change.
func TestCodecChangeBeforeTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		v, done := waiting(t, h, hub.WatchOptions{FixedCodecs: true})
		p.send("vc:s ac:c A:1@0 hc:h")
		time.Sleep(100 * time.Millisecond)
		p.send("HK:2@40 A:2@40")
		assert.NoError(t, <-done)
		assert.Equal(t, "meta:av@0 hc:h@0 ac:c@0 HK:2@0 A:2@0", v.read())
		assert.Equal(t, hub.ReasonNone, v.end)
	})
}

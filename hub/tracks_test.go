package hub_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
)

// When the tracks of a stream are decided, and as what.
func TestTracks(t *testing.T) {
	const second = time.Second
	for _, test := range []struct {
		name  string
		sent  string
		after time.Duration // until the stream can be watched, with nothing more sent
		audio bool
		video bool
	}{
		{"both at once", "vc:s ac:c K:1 A:1", 0, true, true},
		{"both at once, sound first", "vc:s ac:c A:1 K:1", 0, true, true},
		{"both, against metadata", "meta:v vc:s ac:c A:1 K:1", 0, true, true},
		{"video only, as metadata says", "meta:v vc:s K:1", second, false, true},
		{"audio only, as metadata says", "meta:a ac:c A:1", second, true, false},
		{"video only after a second", "vc:s K:1", second, false, true},
		{"audio only after a second", "ac:c A:1", second, true, false},
		{"metadata that says nothing", "meta: vc:s K:1", second, false, true},
		{"metadata promises sound that isn't there", "meta:av vc:s ac:c K:1 P:2@40", 4 * second, false, true},
		{"metadata promises a picture that isn't there", "meta:av vc:s ac:c A:1 A:2@23", 4 * second, true, false},
		{"a header without frames is no track", "vc:s ac:c K:1 P:2@40", second, false, true},
		{"no picture without a key frame", "vc:s ac:c A:1 P:2@40 P:3@80", second, true, false},
		{"codecs without headers", "M:1 K:1", 0, true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, hub.Config{})
				begun := time.Now()
				v, done := waiting(t, h, hub.WatchOptions{})
				p := publish(t, h, client{})
				p.send(test.sent)
				require.NoError(t, <-done)
				assert.Equal(t, test.after, time.Since(begun))
				audio, video := v.Tracks()
				assert.Equal(t, test.audio, audio, "audio")
				assert.Equal(t, test.video, video, "video")

				tags := v.take()
				require.NotEmpty(t, tags)
				_, meta := script(tags[0])
				hasAudio, _ := meta.Get("hasAudio")
				hasVideo, _ := meta.Get("hasVideo")
				assert.Equal(t, test.audio, hasAudio)
				assert.Equal(t, test.video, hasVideo)
				_, namesAudio := meta.Get("audiocodecid")
				_, namesVideo := meta.Get("videocodecid")
				assert.Equal(t, test.audio, namesAudio)
				assert.Equal(t, test.video, namesVideo)
				for _, tag := range tags[1:] {
					assert.True(t, tag.Type == flv.TypeAudio && audio || tag.Type == flv.TypeVideo && video, word(tag))
				}
				stream := info(t, h)
				assert.Equal(t, test.audio, stream.Audio != nil, "figures")
				assert.Equal(t, test.video, stream.Video != nil, "figures")
			})
		})
	}
}

// Nobody is started with video before the first key frame, and what came before
// it is left out and counted.
func TestInterFramesBeforeTheFirstKeyFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		v, done := waiting(t, h, hub.WatchOptions{})
		p := publish(t, h, client{})
		p.send("meta:av vc:s ac:c P:1@0 A:1@0 P:2@40 A:2@23 P:3@80 A:3@46")
		synctest.Wait()
		assert.Empty(t, done, "started without a key frame")
		p.send("K:4@120 A:4@120")
		require.NoError(t, <-done)
		assert.Equal(t, "meta:av@0 vc:s@0 ac:c@0 K:4@0 A:4@0", v.read())
		assert.Equal(t, map[string]uint64{"before key frame": 3}, info(t, h).Skipped)
	})
}

// A stream of sound starts a little behind the live edge, on any packet.
func TestAudioOnlyStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.send("meta:a ac:c")
		ts := p.sendEvery("A", 1000, 20, 500)
		tags := watch(t, h, hub.WatchOptions{}).take()
		require.Len(t, tags, 2+21)
		assert.Equal(t, "A:"+itoa(ts-20-400)+"@0", word(tags[2]))
		assert.Equal(t, "A:"+itoa(ts-20)+"@400", word(tags[22]))
	})
}

// With metadata, a stream of sound starts with its first packet, which is not
// lost on those who wait for it.
func TestAudioOnlyFirstPacket(t *testing.T) {
	for _, sent := range []string{
		"meta:a ac:c A:1@0 A:2@23 A:3@46",
		"meta:a ac:c A:1@0 text:x@10 A:2@23 A:3@46", // script data does not break the run
	} {
		synctest.Test(t, func(t *testing.T) {
			h := newHub(t, hub.Config{})
			v, done := waiting(t, h, hub.WatchOptions{})
			publish(t, h, client{}).send(sent)
			require.NoError(t, <-done)
			assert.Equal(t, "meta:a@0 ac:c@0 A:1@0 A:2@23 A:3@46", v.read())
		})
	}
}

// The sound of the second in which a picture might have come is there for those who
// have waited for it; who is to be live, or comes in that second, starts behind it.
func TestAudioOnlyLateDecision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		v, done := waiting(t, h, hub.WatchOptions{})
		live, liveDone := waiting(t, h, hub.WatchOptions{Start: hub.StartLive})
		synctest.Wait()
		p := publish(t, h, client{})
		p.send("ac:c A:0@0")
		late, lateDone := waiting(t, h, hub.WatchOptions{})
		for ts := 20; ts < 1000; ts += 20 {
			p.sendEvery("A", ts, 20, 1)
			time.Sleep(20 * time.Millisecond)
		}
		time.Sleep(20 * time.Millisecond)
		for _, done := range []<-chan error{done, liveDone, lateDone} {
			require.NoError(t, <-done)
		}
		p.sendEvery("A", 1000, 20, 1)
		tags := v.take()
		require.Len(t, tags, 2+51)
		assert.Equal(t, "A:0@0", word(tags[2]))
		for _, v := range []*sink{live, late} {
			tags := v.take()
			require.Len(t, tags, 2+22)
			assert.Equal(t, "A:580@0", word(tags[2]))
		}
	})
}

// Where a picture was announced that does not come, the wait was too long for that.
func TestAudioOnlyAnnouncedPicture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		v, done := waiting(t, h, hub.WatchOptions{})
		synctest.Wait()
		p := publish(t, h, client{})
		p.send("meta:av ac:c")
		for ts := 0; ts <= 4000; ts += 20 {
			p.sendEvery("A", ts, 20, 1)
			time.Sleep(20 * time.Millisecond)
		}
		require.NoError(t, <-done)
		assert.InDelta(t, 24, len(v.take()), 2)
	})
}

// Who has waited and asks for a time back gets that, and not all that there is.
func TestAudioOnlyBackOfWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{LogDuration: time.Minute, PublisherGrace: 10 * time.Second})
		p := publish(t, h, client{})
		send := func() {
			for ts := 0; ts <= 3000; ts += 20 {
				p.sendEvery("A", ts, 20, 1)
				time.Sleep(20 * time.Millisecond)
			}
		}
		p.send("meta:a ac:c")
		send()
		p.Close()
		v, done := waiting(t, h, hub.WatchOptions{Back: 2 * time.Second})
		synctest.Wait()
		p = publish(t, h, client{})
		p.send("meta:a ac:c")
		send()
		require.NoError(t, <-done)
		assert.InDelta(t, 2+100+100, len(v.take()), 5, "2 s from 1 s after the reconnect, and what followed")
	})
}

// The lead does not reach back into an earlier session.
func TestAudioOnlyStartAfterReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.send("meta:a ac:c A:1@0 A:2@23")
		p.Close()
		publish(t, h, client{}).send("meta:a M:3@0 M:4@23")
		v := watch(t, h, hub.WatchOptions{})
		assert.Equal(t, "meta:a@0 M:3@0 M:4@23", v.read())
	})
}

// A second track that shows up later than a second: viewers that can follow go on
// and get it, those that can't are ended and find both when they come back.
func TestLateTrack(t *testing.T) {
	for _, test := range []struct {
		name, first, late, rest, goesOn, joins string
	}{
		{
			name: "video, announced long before", first: "vc:s ac:c A:1@0", late: "P:0@1480 K:2@1500", rest: "A:3@1540",
			goesOn: "vc:s@1500 K:2@1500 A:3@1540",
			joins:  "meta:av@0 vc:s@0 ac:c@0 K:2@0 A:3@40",
		},
		{
			name: "audio, announced long before", first: "vc:s ac:c K:1@0", late: "A:2@1500", rest: "P:3@1540 K:4@1580",
			goesOn: "ac:c@1500 A:2@1500 P:3@1540 K:4@1580",
			joins:  "meta:av@0 vc:s@0 ac:c@0 K:4@0",
		},
		{
			name: "audio", first: "vc:s K:1@0", late: "ac:c A:2@1500", rest: "P:3@1540 K:4@1580",
			goesOn: "ac:c@1500 A:2@1500 P:3@1540 K:4@1580",
			joins:  "meta:av@0 vc:s@0 ac:c@0 K:4@0",
		},
		{
			name: "video", first: "ac:c A:1@0", late: "vc:s P:0@1480 K:2@1500", rest: "A:3@1540",
			goesOn: "vc:s@1500 K:2@1500 A:3@1540",
			joins:  "meta:av@0 vc:s@0 ac:c@0 K:2@0 A:3@40",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, hub.Config{})
				p := publish(t, h, client{})
				p.send(test.first)
				time.Sleep(1500 * time.Millisecond)
				follows := watch(t, h, hub.WatchOptions{})
				fixed := watch(t, h, hub.WatchOptions{FixedCodecs: true})
				follows.read()
				fixed.read()

				p.send(test.late)
				assert.Empty(t, fixed.read())
				assert.Equal(t, hub.ReasonCodecChanged, fixed.end)
				p.send(test.rest)
				assert.Equal(t, test.goesOn, follows.read())
				assert.Equal(t, hub.ReasonNone, follows.end)
				assert.Equal(t, test.joins, watch(t, h, hub.WatchOptions{FixedCodecs: true}).read())
				assert.NotNil(t, info(t, h).Audio)
				assert.NotNil(t, info(t, h).Video)
			})
		})
	}
}

// Whoever joins in the GOP in which sound showed up gets its header first.
func TestLateAudioHeaderFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.send("vc:s K:1@0")
		time.Sleep(1500 * time.Millisecond)
		p.send("P:2@40 ac:c A:3@80")
		assert.Equal(t, "meta:av@0 vc:s@0 ac:c@0 K:1@0 P:2@40 A:3@80", watch(t, h, hub.WatchOptions{}).read())
	})
}

// Tags that mean nothing in a live stream are left out and counted; they neither
// end the session nor reach a viewer.
func TestSkippedTags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.send("meta:av vc:s ac:c K:1@0 A:1@0")
		v := watch(t, h, hub.WatchOptions{})
		v.read()
		p.send("silence@10 vs:@10 ve:@10 ve:@20")
		for _, odd := range []flv.Tag{
			{Type: flv.TypeVideo, Data: []byte{0x17}},                         // cut short
			{Type: flv.TypeVideo, Data: []byte{0x17, 9, 0, 0, 0, 1}},          // packet type unknown
			{Type: flv.TypeVideo, Data: []byte{0x10, 1, 0, 0, 0, 1}},          // no codec
			{Type: flv.TypeAudio, Data: []byte{0x91, 0, 0, 0, 0, 1}},          // no codec
			{Type: flv.TypeVideo, Data: []byte{0x91, 'a', 'v'}},               // cut short
			{Type: 77, Data: []byte{1, 2, 3}},                                 // what is this
			{Type: flv.TypeScript, Data: []byte{2, 0, 99}},                    // cut short
			{Type: flv.TypeScript, Data: []byte{5}},                           // no name
			{Type: flv.TypeVideo, Data: []byte{0x17, 0, 0, 0, 0}},             // header without content
			{Type: flv.TypeAudio, Data: []byte{0xaf, 0}},                      // header without content
			{Type: flv.TypeScript, Data: append([]byte{2, 0, 64}, zs(64)...)}, // name that ends ffmpeg
		} {
			require.NoError(t, p.Write(odd))
		}
		p.send("P:2@40")
		assert.Equal(t, "P:2@40", v.read())
		assert.Equal(t, map[string]uint64{"empty": 3, "command": 3, "unreadable": 6, "unsafe script": 3}, info(t, h).Skipped)
	})
}

func zs(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = 'z'
	}
	return b
}

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

// What follows a restart goes on, on the stream's clock, and the session with it.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWitness(t)
		h := newHub(t, hub.Config{Observe: w.observe})
		p := publish(t, h, client{})
		p.send("meta:av vc:s ac:c K:1@5000 A:1@5000 P:2@5040 A:2@5023")
		fixed := watch(t, h, hub.WatchOptions{FixedCodecs: true})
		r := readerOf(t, h, hub.ReadOptions{FromSession: true})
		fixed.read()
		readAll(r)
		before := info(t, h)
		synctest.Wait()
		w.tell()
		time.Sleep(3 * time.Second)

		p.Restart()
		late, done := waiting(t, h, hub.WatchOptions{})
		synctest.Wait()
		assert.Empty(t, done, "nothing from before the restart")
		p.send("meta:av vc:s ac:c A:3@0 P:3@0 K:4@40 A:4@40")
		assert.NoError(t, <-done)
		assert.Equal(t, "A:3@46 K:4@86 A:4@86", fixed.read())
		assert.Equal(t, hub.ReasonNone, fixed.end)
		assert.Equal(t, "meta:av@0 vc:s@0 ac:c@0 K:4@0 A:4@0", late.read())
		story, end := readAll(r)
		assert.Equal(t, "A:3@46 K:4@86 A:4@86", story)
		assert.Equal(t, hub.ReasonNone, end)

		after := info(t, h)
		assert.Equal(t, before.Since, after.Since)
		assert.Greater(t, after.BytesIn, before.BytesIn)
		assert.Zero(t, after.Jumps)
		synctest.Wait()
		assert.Equal(t, "joined", w.tell(), "no event but of the viewer that joined")
	})
}

// The sums of a session, which others compare from look to look, do not go back.
func TestRestartKeepsFigures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.send("meta:av vc:s ac:c K:1@0 A:1@0 P:2@40 K:3@80")
		was := h.Measure(nil)[0]
		time.Sleep(time.Minute)
		p.Restart()
		is := h.Measure(nil)[0]
		assert.Equal(t, was.Counts, is.Counts)
		assert.Equal(t, time.Minute, is.Silence)
		p.send("vc:s K:4@0")
		is = h.Measure(nil)[0]
		assert.Equal(t, was.Since, is.Since)
		assert.Equal(t, was.Counts.Pictures+1, is.Counts.Pictures)
		assert.Greater(t, is.Counts.Video, was.Counts.Video)
		assert.Zero(t, is.VideoUneven, "frames of two encoders are not compared")
	})
}

// Other codecs or tracks are what they are behind another publisher.
func TestRestartWithOtherTracks(t *testing.T) {
	for name, then := range map[string]string{
		"another codec": "hc:h ac:c HK:2@0 A:2@0",
		"no sound":      "vc:s K:2@0",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWitness(t)
				h := newHub(t, hub.Config{Observe: w.observe})
				p := publish(t, h, client{})
				p.send(av)
				fixed := watch(t, h, hub.WatchOptions{FixedCodecs: true})
				rtmp := watch(t, h, hub.WatchOptions{Shape: flv.Shape{Form: flv.FormAsSent}})
				fixed.read()
				rtmp.read()
				p.Restart()
				p.send(then)
				time.Sleep(2 * time.Second) // for the other track
				if name == "another codec" {
					assert.Contains(t, rtmp.read(), "hc:h@20 HK:2@20", "new headers")
				} else {
					assert.Contains(t, rtmp.read(), "K:2@20")
				}
				assert.Equal(t, hub.ReasonNone, rtmp.end)
				fixed.read()
				assert.Equal(t, hub.ReasonCodecChanged, fixed.end)
				synctest.Wait()
				assert.Equal(t, 2, w.begins[hub.EventTracks])
				assert.Equal(t, 1, w.begins[hub.EventPublished])
			})
		})
	}
}

// One whose stream is another's by now, or in its grace, restarts nothing.
func TestRestartTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		first := publish(t, h, client{Identity: "x"})
		first.send(av)
		second := publish(t, h, client{Identity: "x"})
		second.send("meta:av vc:s ac:c K:2@0 A:2@0")
		v := watch(t, h, hub.WatchOptions{FixedCodecs: true})
		v.read()
		first.Restart()
		second.send("P:3@40 A:3@40")
		assert.Equal(t, "P:3@40 A:3@40", v.read())
		second.Close()
		second.Restart()
		assert.Equal(t, "grace", info(t, h).State)
		time.Sleep(time.Minute)
		v.read()
		assert.Equal(t, hub.ReasonUnpublished, v.end, "it had stopped no timer")
	})
}

// A reader is given the form that it asks for.
func TestReaderInShape(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		config := flv.Packet{Codec: flv.CodecHEVC, Kind: flv.KindConfig, Enhanced: true, Payload: []byte{1}}
		key := flv.Packet{Codec: flv.CodecHEVC, Kind: flv.KindFrame, Frame: flv.FrameKey, Key: true, Enhanced: true, Payload: []byte{2}}
		p.write(video(0, body(t, flv.TypeVideo, config)), video(0, body(t, flv.TypeVideo, key)))
		time.Sleep(2 * time.Second)
		for _, test := range []struct {
			shape    *flv.Shape
			enhanced bool
		}{
			{nil, true},
			{&flv.Shape{Form: flv.FormAsSent}, true},
			{&flv.Shape{HEVC: flv.HEVCLegacy}, false},
			{&flv.Shape{HEVC: flv.HEVCEnhanced}, true},
		} {
			r := readerOf(t, h, hub.ReadOptions{FromSession: true, Shape: test.shape})
			var b hub.ReadBatch
			require.Equal(t, hub.ReasonNone, r.Read(&b, 1<<20))
			media := 0
			for _, p := range b.Packets {
				if p.Tag.Type == flv.TypeVideo {
					media++
					assert.Equal(t, test.enhanced, p.Tag.Data[0]&0x80 != 0, "%+v", test.shape)
				}
			}
			assert.Equal(t, 2, media)
			r.Close()
		}
	})
}

package hub_test

import (
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/hub"
)

// What is told of a stream through its life.
func TestStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		assert.Empty(t, h.Streams())

		web := newSinkOf(t, h, client{Protocol: "ws-flv"}, hub.WatchOptions{})
		assert.Equal(t, hub.StreamInfo{
			App: "live", Name: "demo", State: "waiting",
			Viewers: 1, ViewersByProtocol: map[string]int{"ws-flv": 1}, Skipped: map[string]uint64{},
		}, info(t, h))

		time.Sleep(5 * time.Second)
		began := time.Now()
		p := publish(t, h, client{Protocol: "rtmp", Remote: "10.0.0.1:5"})
		time.Sleep(time.Second)
		sent := "meta:av vc:s ac:c K:1@0 A:1@0 P:2@40"
		size := 0
		for _, w := range []string{"meta:av", "vc:s", "ac:c", "K:1@0", "A:1@0", "P:2@40"} {
			size += tag(w).Size()
		}
		p.send(sent)
		require.NoError(t, web.Wait(t.Context()))
		web.read()
		curl := newSinkOf(t, h, client{Protocol: "http-flv"}, hub.WatchOptions{})
		require.NoError(t, curl.Wait(t.Context()))

		got := info(t, h)
		assert.NotZero(t, web.Bytes())
		assert.Equal(t, hub.StreamInfo{
			App: "live", Name: "demo", State: "live",
			Protocol: "rtmp", Publisher: "10.0.0.1:5", Since: began,
			Video:   &flv.VideoFormat{Codec: flv.CodecH264},
			Audio:   &flv.AudioFormat{Codec: flv.CodecAAC},
			Bitrate: got.Bitrate,
			Viewers: 2, ViewersByProtocol: map[string]int{"ws-flv": 1, "http-flv": 1},
			BytesIn: uint64(size), BytesOut: web.Bytes(), Skipped: map[string]uint64{},
		}, got)

		web.Close()
		curl.read()
		assert.Equal(t, web.Bytes()+curl.Bytes(), info(t, h).BytesOut, "of viewers that left too")
		assert.Equal(t, map[string]int{"http-flv": 1}, info(t, h).ViewersByProtocol)

		p.Close()
		got = info(t, h)
		assert.Equal(t, "grace", got.State)
		assert.Empty(t, got.Protocol)
		assert.Empty(t, got.Publisher)
		assert.Zero(t, got.Since)
		assert.Zero(t, got.Bitrate)
		assert.NotNil(t, got.Video, "what was published last")
		assert.Equal(t, uint64(size), got.BytesIn)

		curl.Close()
		time.Sleep(8 * time.Second)
		synctest.Wait()
		assert.Empty(t, h.Streams())
	})
}

// The formats are those of the codec headers.
func TestStreamFormats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.send("ac:\x11\x90 K:1 A:1") // AAC LC, 48 kHz, stereo
		assert.Equal(t, &flv.AudioFormat{Codec: flv.CodecAAC, Profile: "LC", SampleRate: 48000, Channels: 2}, info(t, h).Audio)
		assert.Equal(t, &flv.VideoFormat{Codec: flv.CodecH264}, info(t, h).Video, "no header: the codec alone")
	})
}

func TestStreamsAreSorted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		for _, k := range []hub.Key{{App: "b", Name: "a"}, {App: "a", Name: "c"}, {App: "a/x", Name: "a"}, {App: "a", Name: "b"}} {
			v, err := h.Watch(viewer(h, k), hub.WatchOptions{})
			require.NoError(t, err)
			defer v.Close()
		}
		var got []string
		for _, s := range h.Streams() {
			got = append(got, s.App+" "+s.Name)
		}
		assert.Equal(t, []string{"a b", "a c", "a/x a", "b a"}, got)
	})
}

// The rate is the mean of the last seconds.
func TestBitrate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		assert.Zero(t, info(t, h).Bitrate)
		frame := flv.Tag{Type: flv.TypeVideo, Data: append([]byte{0x17, 1, 0, 0, 0}, make([]byte, 245)...)}
		second := func(frames int) {
			for range frames {
				frame.Timestamp += uint32(1000 / frames)
				require.NoError(t, p.Write(frame))
				time.Sleep(time.Second / time.Duration(frames))
			}
		}
		second(10)
		assert.EqualValues(t, 10*250*8, info(t, h).Bitrate)
		for range 10 {
			second(100)
		}
		assert.EqualValues(t, 100*250*8, info(t, h).Bitrate)
		second(50)
		second(50)
		assert.EqualValues(t, 75*250*8, info(t, h).Bitrate)
		time.Sleep(2 * time.Second)
		assert.EqualValues(t, 25*250*8, info(t, h).Bitrate, "silent")
		time.Sleep(2 * time.Second)
		assert.Zero(t, info(t, h).Bitrate)
		time.Sleep(time.Hour)
		assert.Zero(t, info(t, h).Bitrate)
		second(10)
		second(10)
		assert.EqualValues(t, 10*250*8, info(t, h).Bitrate, "counted anew after a long silence")
	})
}

// What a frame tells of its track is known even if the frame is not taken.
func TestFormatOfWhatIsNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.send("P:1@0 K:2@40")
		time.Sleep(time.Second)
		synctest.Wait()
		require.NotNil(t, info(t, h).Video)
		assert.Equal(t, flv.CodecH264, info(t, h).Video.Codec)
	})
	synctest.Test(t, func(t *testing.T) { // a further track that begins before the main one
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		for _, track := range []uint8{1, 0, 1} {
			body, err := flv.AppendVideo(nil, flv.Packet{
				Codec: flv.CodecVP8, Kind: flv.KindFrame, Frame: flv.FrameKey, Enhanced: true, Multitrack: true, Track: track,
				Payload: []byte{0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01}, // 640x360
			})
			require.NoError(t, err)
			require.NoError(t, p.Write(flv.Tag{Type: flv.TypeVideo, Data: body}))
		}
		time.Sleep(time.Second)
		synctest.Wait()
		require.Len(t, info(t, h).Further, 1)
		assert.Equal(t, 640, info(t, h).Further[0].Video.Width)
		watch(t, h, hub.WatchOptions{Shape: flv.Shape{Form: flv.FormSingle, Track: 1}})
	})
}

// A frame rate that metadata tells is shown where it may be one.
func TestFrameRateOfMetadata(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.send("vc:s ac:c K:1@0 A:1@0")
		for told, want := range map[float64]float64{
			29.97: 29.97, 0.001: 0.001, 1000: 1000, 1e308: 0, 5e-324: 0, -1: 0, 0: 0, math.Inf(1): 0, math.NaN(): 0,
		} {
			data := amf.AppendAMF0(nil, "onMetaData", amf.ECMAArray{{Name: "framerate", Value: told}})
			require.NoError(t, p.Write(flv.Tag{Type: flv.TypeScript, Data: data}))
			assert.Equal(t, want, info(t, h).Video.FrameRate, told)
		}
		p.Close()
	})
}

// How far back the log reaches is what a viewer is given who asks for more than there is.
func TestHowFarBack(t *testing.T) {
	for name, tt := range map[string]struct {
		kept time.Duration
		send string
		want time.Duration // of Back
	}{
		"nothing is kept":           {0, "vc:s K:1@0 P:2@1500 K:3@2000 P:4@2500", 0},
		"nothing has come":          {time.Minute, "", 0},
		"no key frame yet":          {time.Minute, "meta:av vc:s ac:c A:1@0 A:2@900", 0},
		"picture":                   {time.Minute, "vc:s K:1@0 P:2@1500 K:3@2000 P:4@2500", 2500 * time.Millisecond},
		"bounded":                   {2 * time.Second, "vc:s K:1@0 P:2@1500 K:3@2000 P:4@3900 K:5@4000 P:6@5900", 1900 * time.Millisecond},
		"sound":                     {time.Minute, "ac:c A:1@0 A:2@1500 A:3@3000", 3 * time.Second},
		"since another codec":       {time.Minute, "vc:s K:1@0 P:2@1500 hc:h HK:3@2000 HP:4@3500", 1500 * time.Millisecond},
		"from the publisher before": {time.Minute, "vc:s K:1@0 P:2@1500 again K:3@0 P:4@1500", 3040 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, hub.Config{LogDuration: tt.kept})
				p := publish(t, h, client{})
				p.live = true
				before, after, again := strings.Cut(tt.send, " again ")
				p.send(before)
				if again {
					p.Close()
					assert.Zero(t, info(t, h).Back, "nobody can begin")
					p = publish(t, h, client{})
					p.live = true
					p.send("vc:s", after)
				}
				if tt.want > 0 {
					time.Sleep(5 * time.Second)
				}
				got := info(t, h).Back
				assert.InDelta(t, tt.want, got, float64(100*time.Millisecond))
				if tt.want == 0 {
					return
				}
				tags := watch(t, h, hub.WatchOptions{Back: time.Hour}).take()
				assert.Equal(t, got.Milliseconds(), int64(tags[len(tags)-1].Timestamp), "as far as that a viewer begins")
			})
		})
	}
}

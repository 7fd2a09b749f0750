package hub_test

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
)

// body makes the body of a video or audio tag.
func body(t *testing.T, typ flv.Type, p flv.Packet) []byte {
	t.Helper()
	appendBody := flv.AppendAudio
	if typ == flv.TypeVideo {
		appendBody = flv.AppendVideo
	}
	b, err := appendBody(nil, p)
	require.NoError(t, err)
	return b
}

// many makes a multitrack body of several tracks of one codec (Enhanced RTMP v2,
// AvMultitrackType.ManyTracks); packet is its kind on the wire, payload what is sent of
// each track, one byte of which is its number.
func many(typ flv.Type, first, packet byte, codec flv.Codec, tracks ...byte) []byte {
	b := []byte{first, 1<<4 | packet, byte(codec >> 24), byte(codec >> 16), byte(codec >> 8), byte(codec)}
	for _, n := range tracks {
		payload := []byte{'t', n}
		b = append(b, n, 0, 0, byte(len(payload)))
		b = append(b, payload...)
	}
	return b
}

// write publishes tags.
func (s *source) write(tags ...flv.Tag) {
	s.t.Helper()
	for _, tag := range tags {
		require.NoError(s.t, s.Write(tag))
	}
}

func video(ts uint32, b []byte) flv.Tag {
	return flv.Tag{Type: flv.TypeVideo, Timestamp: ts, Data: b}
}
func audio(ts uint32, b []byte) flv.Tag {
	return flv.Tag{Type: flv.TypeAudio, Timestamp: ts, Data: b}
}

// media returns what a viewer gets but for script data.
func (s *sink) media() (tags []flv.Tag) {
	for _, t := range s.take() {
		if t.Type != flv.TypeScript {
			tags = append(tags, t)
		}
	}
	return tags
}

var (
	asSent  = flv.Shape{}
	classic = flv.Shape{Form: flv.FormClassic}
	browser = flv.Shape{Form: flv.FormBrowser}
)

// Enhanced H.264 and AAC come out as sent, or in the classic form.
func TestShapeOfOneTrack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		h264 := flv.Packet{Codec: flv.CodecH264, Kind: flv.KindConfig, Payload: []byte("avcC")}
		aac := flv.Packet{Codec: flv.CodecAAC, Kind: flv.KindConfig, Payload: []byte("asc")}
		key := flv.Packet{Codec: flv.CodecH264, Kind: flv.KindFrame, Key: true, CompositionTime: 80, Payload: []byte("key")}
		sound := flv.Packet{Codec: flv.CodecAAC, Kind: flv.KindFrame, Payload: []byte("raw")}
		color := flv.Packet{Codec: flv.CodecH264, Kind: flv.KindMetadata, Enhanced: true, Payload: []byte{2, 0, 1, 'c'}}
		end := flv.Packet{Codec: flv.CodecH264, Kind: flv.KindEnd, Enhanced: true}
		var plain, enhanced []flv.Tag
		for _, e := range []bool{false, true} {
			h264.Enhanced, aac.Enhanced, key.Enhanced, sound.Enhanced = e, e, e, e
			tags := []flv.Tag{
				video(0, body(t, flv.TypeVideo, h264)), audio(0, body(t, flv.TypeAudio, aac)),
				video(0, body(t, flv.TypeVideo, key)), audio(0, body(t, flv.TypeAudio, sound)),
			}
			if e {
				enhanced = tags
			} else {
				plain = tags
			}
		}
		p.write(enhanced...)
		p.write(video(0, body(t, flv.TypeVideo, color)))
		all, old := watch(t, h, hub.WatchOptions{}), watch(t, h, hub.WatchOptions{Shape: classic})
		page := watch(t, h, hub.WatchOptions{Shape: browser, FixedCodecs: true})
		assert.Equal(t, enhanced, all.media())
		assert.Equal(t, plain, old.media())
		assert.Equal(t, plain, page.media())

		// What Enhanced RTMP alone has reaches those who understand it.
		p.write(video(40, body(t, flv.TypeVideo, end)), audio(40, enhanced[3].Data))
		got := all.media()
		require.Len(t, got, 3)
		assert.Equal(t, body(t, flv.TypeVideo, color), got[0].Data)
		assert.Equal(t, body(t, flv.TypeVideo, end), got[1].Data)
		assert.Equal(t, []flv.Tag{audio(40, plain[3].Data)}, old.media())
		assert.Equal(t, []flv.Tag{audio(40, plain[3].Data)}, page.media())
	})
}

// The tracks of one body: as sent for one viewer, one of them for others.
func TestShapeOfManyTracks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		const config, frames, key, inter = 0, 1, 0x96, 0xa6 // Ex, multitrack
		sent := []flv.Tag{
			video(0, many(flv.TypeVideo, key, config, flv.CodecVP9, 1, 0, 2)),
			video(0, many(flv.TypeVideo, key, frames, flv.CodecVP9, 1, 0, 2)),
			video(40, many(flv.TypeVideo, inter, frames, flv.CodecVP9, 2, 0, 1)),
		}
		p.write(tag("ac:s"))
		p.write(sent...)
		p.write(tag("A:1@40"))
		single := func(n byte) []flv.Tag {
			vp9 := flv.Packet{Codec: flv.CodecVP9, Enhanced: true, Payload: []byte{'t', n}}
			configured, first, second := vp9, vp9, vp9
			configured.Kind, first.Kind, first.Key, second.Kind = flv.KindConfig, flv.KindFrame, true, flv.KindFrame
			return []flv.Tag{
				video(0, body(t, flv.TypeVideo, configured)), tag("ac:s"), video(0, body(t, flv.TypeVideo, first)),
				video(40, body(t, flv.TypeVideo, second)), tag("A:1@40"),
			}
		}
		all := watch(t, h, hub.WatchOptions{})
		assert.Equal(t, []flv.Tag{sent[0], tag("ac:s"), sent[1], sent[2], tag("A:1@40")}, all.media())
		for n := range byte(3) {
			v := watch(t, h, hub.WatchOptions{Shape: flv.Shape{Form: flv.FormBrowser, Track: n}, FixedCodecs: true})
			assert.Equal(t, single(n), v.media(), n)
		}
		assert.Equal(t, single(0), watch(t, h, hub.WatchOptions{Shape: classic}).media())

		v := newSink(t, h, hub.WatchOptions{Shape: flv.Shape{Form: flv.FormBrowser, Track: 7}})
		assert.Equal(t, hub.ReasonNotFound, reasonOf(t, v.Wait(t.Context())))

		facts := info(t, h)
		require.Len(t, facts.Further, 2)
		assert.Equal(t, uint8(1), facts.Further[0].Number)
		assert.Equal(t, flv.CodecVP9, facts.Further[0].Video.Codec)
		assert.Equal(t, uint8(2), facts.Further[1].Number)

		// A header of one track that comes alone replaces a part of the body of all.
		one := flv.Packet{Codec: flv.CodecVP9, Kind: flv.KindConfig, Enhanced: true, Multitrack: true, Payload: []byte("new")}
		p.write(video(60, body(t, flv.TypeVideo, one)), video(80, sent[1].Data))
		late := watch(t, h, hub.WatchOptions{}).media()
		assert.Equal(t, []flv.Tag{
			sent[0], video(0, body(t, flv.TypeVideo, one)), tag("ac:s"), sent[1],
		}, late[:4])
	})
}

// A track that comes in bodies of its own, as OBS sends them: track 0 is classic.
func TestFurtherTracks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		second := flv.Packet{Codec: flv.CodecAAC, Enhanced: true, Multitrack: true, Track: 1}
		config, frame := second, second
		config.Kind, config.Payload = flv.KindConfig, []byte("asc1")
		frame.Kind, frame.Payload = flv.KindFrame, []byte("raw1")
		p.send("vc:s ac:s")
		p.write(audio(0, body(t, flv.TypeAudio, config)))
		p.send("K:1 A:1")
		p.write(audio(0, body(t, flv.TypeAudio, frame)))
		p.send("P:2@40 A:2@23")
		p.write(audio(23, body(t, flv.TypeAudio, frame)))

		assert.Equal(t, "meta:av@0 vc:s@0 ac:s@0 K:1@0 A:1@0 P:2@40 A:2@23",
			watch(t, h, hub.WatchOptions{Shape: browser}).read())
		assert.Equal(t, "meta:av@0 vc:s@0 ac:asc1@0 K:1@0 A:raw1@0 P:2@40 A:raw1@23",
			watch(t, h, hub.WatchOptions{Shape: flv.Shape{Form: flv.FormBrowser, Track: 1}}).read())
		assert.Len(t, watch(t, h, hub.WatchOptions{}).media(), 9)
		assert.Equal(t, flv.CodecAAC, info(t, h).Further[0].Audio.Codec)
	})
}

// Metadata names codecs as the viewer meets them.
func TestMetadataInShape(t *testing.T) {
	for _, test := range []struct {
		sent  flv.Packet
		shape flv.Shape
		want  float64
	}{
		{flv.Packet{Codec: flv.CodecH264, Enhanced: true}, asSent, float64(flv.CodecH264)},
		{flv.Packet{Codec: flv.CodecH264, Enhanced: true}, classic, 7},
		{flv.Packet{Codec: flv.CodecHEVC, Enhanced: true}, browser, float64(flv.CodecHEVC)},
		{flv.Packet{Codec: flv.CodecHEVC, Enhanced: true}, flv.Shape{Form: flv.FormBrowser, HEVC: flv.HEVCLegacy}, 12},
		{flv.Packet{Codec: flv.CodecHEVC}, asSent, 12},
		{flv.Packet{Codec: flv.CodecHEVC}, flv.Shape{HEVC: flv.HEVCEnhanced}, float64(flv.CodecHEVC)},
		{flv.Packet{Codec: flv.CodecAV1}, browser, float64(flv.CodecAV1)},
		{flv.Packet{Codec: flv.CodecAV1}, asSent, 13},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := newHub(t, hub.Config{})
			p := publish(t, h, client{})
			config, key := test.sent, test.sent
			config.Kind, config.Payload = flv.KindConfig, []byte("header")
			key.Kind, key.Key, key.Payload = flv.KindFrame, true, []byte("key")
			p.send("meta:v")
			p.write(video(0, body(t, flv.TypeVideo, config)), video(0, body(t, flv.TypeVideo, key)))
			_, meta := script(watch(t, h, hub.WatchOptions{Shape: test.shape}).take()[0])
			id, _ := meta.Get("videocodecid")
			assert.Equal(t, test.want, id, "%+v", test)
		})
	}
}

// A further track that changes its codec ends the browsers that show it, and no other.
func TestFurtherTrackChangesCodec(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		further := flv.Packet{Codec: flv.CodecOpus, Kind: flv.KindFrame, Enhanced: true, Multitrack: true, Track: 1}
		p.send("meta:av vc:s ac:s K:1 A:1")
		p.write(audio(0, body(t, flv.TypeAudio, further)))
		second := watch(t, h, hub.WatchOptions{Shape: flv.Shape{Form: flv.FormBrowser, Track: 1}, FixedCodecs: true})
		first := watch(t, h, hub.WatchOptions{Shape: browser, FixedCodecs: true})
		second.read()
		further.Codec = flv.CodecFLAC
		p.write(audio(20, body(t, flv.TypeAudio, further)))
		second.read()
		first.read()
		assert.Equal(t, hub.ReasonCodecChanged, second.end)
		assert.Equal(t, hub.ReasonNone, first.end)
	})
}

// A header that came alone stands behind the body of two tracks of which it replaces a
// part, although nothing else of that body is in force.
func TestHeaderReplacedInPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		both := video(0, many(flv.TypeVideo, 0x96, 0, flv.CodecAV1, 0, 1))
		packet := flv.Packet{Codec: flv.CodecAV1, Kind: flv.KindConfig, Enhanced: true, Payload: []byte("new")}
		one := video(0, body(t, flv.TypeVideo, packet))
		key := video(0, many(flv.TypeVideo, 0x96, 1, flv.CodecAV1, 0, 1))
		p.write(tag("ac:s"), both, one, key, tag("A:1@0"))
		assert.Equal(t, []flv.Tag{both, one, tag("ac:s"), key, tag("A:1@0")}, watch(t, h, hub.WatchOptions{}).media())
	})
}

// What a session said of further tracks and of the picture ends with it.
func TestHeadersEndWithTheirSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		both := many(flv.TypeVideo, 0x96, 0, flv.CodecVP9, 0, 1)
		color := body(t, flv.TypeVideo, flv.Packet{Codec: flv.CodecVP9, Kind: flv.KindMetadata, Enhanced: true, Payload: []byte{5}})
		key := body(t, flv.TypeVideo, flv.Packet{Codec: flv.CodecVP9, Kind: flv.KindFrame, Key: true, Enhanced: true})
		p.send("meta:v")
		p.write(video(0, both), video(0, color), video(0, key))
		assert.Equal(t, []flv.Tag{video(0, both), video(0, color), video(0, key)}, watch(t, h, hub.WatchOptions{}).media())
		p.Close()

		p = publish(t, h, client{})
		one := body(t, flv.TypeVideo, flv.Packet{Codec: flv.CodecVP9, Kind: flv.KindConfig, Enhanced: true, Payload: []byte("new")})
		p.send("meta:v")
		p.write(video(0, one), video(0, key))
		assert.Equal(t, []flv.Tag{video(0, one), video(0, key)}, watch(t, h, hub.WatchOptions{}).media())
		p.Close()

		p = publish(t, h, client{}) // which says the same again
		p.send("meta:v")
		p.write(video(0, one), video(0, key))
		assert.Equal(t, []flv.Tag{video(0, one), video(0, key)}, watch(t, h, hub.WatchOptions{}).media())
	})
}

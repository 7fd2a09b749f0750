package mp4_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/mp4"
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// Codec headers as encoders send them.
var (
	avcC     = unhex("0142c00affe100166742c00ad902c4ec0440000003004000000783c4899201000468cb8f20") // 176x144
	avcCTall = unhex("0142c028ffe100196742c028da01100f1e5f0110000003001000000303c0f1832a")         // 1080x1920
	av1C     = unhex("81000c00")
	vpcC     = unhex("01000000 000a8202020200 0000")
	asc      = unhex("119056e500") // LC, 48 kHz, stereo
	opusHead = unhex("4f707573486561640102380180bb0000000000")
	flacInfo = unhex("664c6143 80000022 120012000004a30005080ac442f0000022745d105ceb212ad5d36e4f5608def3d8b7")
)

// video and audio return tags; they panic for what FLV has no place for.
func video(at uint32, p flv.Packet) flv.Tag {
	b, err := flv.AppendVideo(nil, p)
	if err != nil {
		panic(err)
	}
	return flv.Tag{Type: flv.TypeVideo, Timestamp: at, Data: b}
}

func audio(at uint32, p flv.Packet) flv.Tag {
	b, err := flv.AppendAudio(nil, p)
	if err != nil {
		panic(err)
	}
	return flv.Tag{Type: flv.TypeAudio, Timestamp: at, Data: b}
}

func h264Header() flv.Tag {
	return video(0, flv.Packet{Codec: flv.CodecH264, Kind: flv.KindConfig, Payload: avcC})
}
func aacHeader() flv.Tag {
	return audio(0, flv.Packet{Codec: flv.CodecAAC, Kind: flv.KindConfig, Payload: asc})
}

// picture is a frame of H.264, sound one of AAC, which say what they are.
func picture(at uint32, key bool, composition int32, text string) flv.Tag {
	return video(at, flv.Packet{Codec: flv.CodecH264, Kind: flv.KindFrame, Key: key, CompositionTime: composition, Payload: []byte(text)})
}

func sound(at uint32, text string) flv.Tag {
	return audio(at, flv.Packet{Codec: flv.CodecAAC, Kind: flv.KindFrame, Payload: []byte(text)})
}

// times returns the decoding times of a track in ms, rounded down, and its composition times.
func (t *movieTrack) times() (at, composition []int64) {
	for _, s := range t.samples {
		at = append(at, int64(s.at)*1000/int64(t.timescale))
		composition = append(composition, s.composition)
	}
	return at, composition
}

// Whatever form bodies have, the same samples are found.
func TestForms(t *testing.T) {
	long := strings.Repeat("x", 5000)
	payloads := []string{"first", "2", long, strings.Repeat("y", 60), strings.Repeat("z", 54), "last"}
	for name, form := range map[string]func(*flv.Packet){
		"classic":           func(*flv.Packet) {},
		"enhanced":          func(p *flv.Packet) { p.Enhanced = true },
		"with nanoseconds":  func(p *flv.Packet) { p.Enhanced, p.Nanos = true, 999 },
		"one track":         func(p *flv.Packet) { p.Enhanced, p.Multitrack = true, true },
		"all that there is": func(p *flv.Packet) { p.Enhanced, p.Multitrack, p.Nanos = true, true, 5 },
	} {
		for _, codec := range []struct {
			codec  flv.Codec
			config []byte
			entry  string
			header string // the box in it
			size   [2]uint32
		}{
			{flv.CodecH264, avcC, "avc1", "avcC", [2]uint32{176, 144}},
			{flv.CodecH264, avcCTall, "avc1", "avcC", [2]uint32{1080, 1920}},
			{flv.CodecAV1, av1C, "av01", "av1C", [2]uint32{}},
			{flv.CodecVP9, vpcC, "vp09", "vpcC", [2]uint32{}},
			{flv.CodecAAC, asc, "mp4a", "esds", [2]uint32{}},
			{flv.CodecMP3, nil, "mp4a", "esds", [2]uint32{}},
			{flv.CodecOpus, opusHead, "Opus", "dOps", [2]uint32{}},
			{flv.CodecFLAC, flacInfo, "fLaC", "dfLa", [2]uint32{}},
		} {
			if codec.codec == flv.CodecFLAC && name == "classic" {
				continue // there is none
			}
			t.Run(codec.entry+", "+name, func(t *testing.T) {
				one, skip := audio, 28
				if codec.codec.Video() {
					one, skip = video, 78
				}
				head := ""
				if codec.codec == flv.CodecMP3 {
					head = "\xff\xfb\x90\x64"
				}
				var tags []flv.Tag
				add := func(at uint32, p flv.Packet) {
					p.Codec = codec.codec
					form(&p)
					tags = append(tags, one(at, p))
				}
				if codec.config != nil {
					add(0, flv.Packet{Kind: flv.KindConfig, Payload: codec.config})
				}
				for i, text := range payloads {
					p := flv.Packet{Kind: flv.KindFrame, Key: i == 0 && codec.codec.Video(), Payload: []byte(head + text)}
					if codec.codec == flv.CodecH264 && i > 0 {
						p.CompositionTime = 40
					}
					add(uint32(40*i), p)
				}
				m := unpack(whole(t, file(tags...)))
				require.Len(t, m.tracks, 1)
				tr := m.tracks[0]
				require.Len(t, tr.samples, len(payloads))
				for i, s := range tr.samples {
					assert.Equal(t, head+payloads[i], string(s.data))
					assert.Equal(t, i == 0 || !codec.codec.Video(), s.key)
				}
				require.Len(t, tr.entries, 1)
				assert.Equal(t, codec.entry, tr.entries[0].name)
				assert.NotNil(t, find(tr.entries[0].body[skip:], codec.header), "the codec header has its box")
				assert.Equal(t, codec.size, tr.size)
			})
		}
	}
}

// multitrack is a body with several tracks of H.264 (Enhanced RTMP v2, ManyTracks).
func multitrack(at uint32, tracks ...any) flv.Tag {
	b := []byte{0x96, 0x13, 'a', 'v', 'c', '1'}
	for i := 0; i < len(tracks); i += 2 {
		text := tracks[i+1].(string)
		b = append(b, byte(tracks[i].(int)), 0, byte(len(text)>>8), byte(len(text)))
		b = append(b, text...)
	}
	return flv.Tag{Type: flv.TypeVideo, Timestamp: at, Data: b}
}

// Track 0 is shown, wherever it stands in a body; others are not.
func TestTrackZero(t *testing.T) {
	var want []string
	tags := []flv.Tag{h264Header()}
	for n := range 120 { // so that the head of a body ends everywhere in one track and the other
		text := strings.Repeat("s", n+1)
		want = append(want, text, text, text)
		tags = append(tags,
			multitrack(uint32(3*n), 0, text, 1, "other"), multitrack(uint32(3*n+1), 1, strings.Repeat("o", n), 0, text),
			multitrack(uint32(3*n+2), 2, strings.Repeat("o", 40), 0, text, 1, "other"),
			multitrack(uint32(3*n+2), 1, text))
	}
	m := unpack(whole(t, file(tags...)))
	require.Len(t, m.tracks, 1)
	require.Len(t, m.tracks[0].samples, len(want))
	for i, s := range m.tracks[0].samples {
		require.Equal(t, want[i], string(s.data), i)
	}
}

// What has no place in the tables is passed over.
func TestPassedOver(t *testing.T) {
	b := file(
		flv.Tag{Type: flv.TypeScript, Data: []byte("\x02\x00\x0aonMetaData")},
		picture(0, true, 0, "before its header"), sound(0, "before its header"),
		h264Header(), aacHeader(),
		picture(5, false, 0, "before the first key frame"),
		picture(10, true, 0, "K1"), sound(10, "S1"),
		h264Header(), aacHeader(), // as they were
		picture(50, false, 0, ""), sound(31, ""), flv.Tag{Type: flv.TypeAudio, Timestamp: 40},
		video(60, flv.Packet{Codec: flv.CodecH264, Kind: flv.KindCommand, Payload: []byte{0}}),
		video(60, flv.Packet{Codec: flv.CodecHEVC, Enhanced: true, Kind: flv.KindMetadata, Payload: []byte("colorInfo")}),
		video(60, flv.Packet{Codec: flv.CodecHEVC, Kind: flv.KindFrame, Payload: []byte("another codec")}),
		flv.Tag{Type: flv.TypeVideo, Timestamp: 70, Data: []byte{0x17}},
		flv.Tag{Type: 99, Data: []byte("who knows")},
		flv.Tag{Type: flv.TypeScriptAMF3, Data: []byte("\x00\x02\x00\x00")},
		picture(90, false, 0, "P2"), sound(74, "S2"),
		video(130, flv.Packet{Codec: flv.CodecH264, Kind: flv.KindEnd}),
	)
	x := scan(t, b)
	assert.Equal(t, 5, x.Skipped)
	assert.Equal(t, flv.CodecH264, x.Video)
	assert.Equal(t, flv.CodecAAC, x.Audio)
	assert.Zero(t, x.Rest)
	m := unpack(whole(t, b))
	require.Len(t, m.tracks, 2)
	for i, want := range []string{"K1 P2", "S1 S2"} {
		var got []string
		for _, s := range m.tracks[i].samples {
			got = append(got, string(s.data))
		}
		assert.Equal(t, want, strings.Join(got, " "))
	}
}

// A codec header that changes has an entry of its own, once.
func TestDescriptions(t *testing.T) {
	header := func(config []byte) flv.Tag {
		return video(0, flv.Packet{Codec: flv.CodecH264, Kind: flv.KindConfig, Payload: config})
	}
	b := file(header(avcCTall), header(avcC), picture(0, true, 0, "a"), picture(40, false, 0, "a"),
		header(avcCTall), picture(80, true, 0, "b"), header(avcCTall), picture(120, true, 0, "b"), header(avcC), picture(160, true, 0, "a"))
	assert.Equal(t, 2, scan(t, b).VideoHeaders)
	m := unpack(whole(t, b))
	require.Len(t, m.tracks, 1)
	require.Len(t, m.tracks[0].entries, 2)
	for i, s := range m.tracks[0].samples {
		want := map[string][]byte{"a": avcC, "b": avcCTall}[string(s.data)]
		assert.Equal(t, want, find(m.tracks[0].entries[s.description].body[78:], "avcC"), i)
	}
}

// Timestamps, and what becomes of them.
func TestTimes(t *testing.T) {
	for _, test := range []struct {
		name     string
		tags     []flv.Tag
		at       []int64 // of pictures
		comp     []int64
		sounds   []int64
		delay    int64 // of pictures, negative of sound
		begin    int64
		duration time.Duration
	}{
		{"a steady picture", []flv.Tag{picture(0, true, 0, "a"), picture(40, false, 0, "b"), picture(80, false, 0, "c")},
			[]int64{0, 40, 80}, []int64{0, 0, 0}, nil, 0, 0, 120 * time.Millisecond},
		{"not from 0", []flv.Tag{picture(5000, true, 0, "a"), picture(5033, false, 0, "b")},
			[]int64{0, 33}, []int64{0, 0}, nil, 0, 0, 66 * time.Millisecond},
		{"across 2^32", []flv.Tag{picture(1<<32-40, true, 0, "a"), picture(0, false, 0, "b"), picture(40, false, 0, "c")},
			[]int64{0, 40, 80}, []int64{0, 0, 0}, nil, 0, 0, 120 * time.Millisecond},
		{"one picture", []flv.Tag{picture(7, true, 0, "a")}, []int64{0}, []int64{0}, nil, 0, 0, 40 * time.Millisecond},
		{"B-frames", []flv.Tag{picture(0, true, 80, "a"), picture(40, false, 160, "b"), picture(80, false, 40, "c"), picture(120, false, 0, "d")},
			[]int64{0, 40, 80, 120}, []int64{80, 160, 40, 0}, nil, 0, 80, 160 * time.Millisecond},
		{"presented before it is decoded", []flv.Tag{picture(100, true, -80, "a"), picture(140, false, -40, "b"), picture(180, false, -80, "c")},
			[]int64{0, 40, 80}, []int64{0, 40, 0}, nil, 0, 0, 120 * time.Millisecond},
		{"a signed composition time", []flv.Tag{picture(0, true, 40, "a"), picture(40, false, 40, "b"), picture(80, false, -20, "c")},
			[]int64{0, 40, 80}, []int64{40, 40, -20}, nil, 0, 40, 80 * time.Millisecond},
		{"a gap", []flv.Tag{picture(0, true, 0, "a"), picture(40, false, 0, "b"), picture(60_040, false, 0, "c")},
			[]int64{0, 40, 60_040}, []int64{0, 0, 0}, nil, 0, 0, 60_080 * time.Millisecond},
		{"a step back", []flv.Tag{picture(0, true, 0, "a"), picture(40, false, 0, "b"), picture(30, false, 20, "c"), picture(80, false, 0, "d")},
			[]int64{0, 40, 41, 80}, []int64{0, 0, 9, 0}, nil, 0, 0, 119 * time.Millisecond},
		{"times that begin anew", []flv.Tag{picture(90_000, true, 0, "a"), picture(90_040, false, 0, "b"), picture(0, true, 0, "c"), picture(40, false, 0, "d")},
			[]int64{0, 40, 41, 80}, []int64{0, 0, -1, 0}, nil, 0, 0, 119 * time.Millisecond},
		{"a header with another time", []flv.Tag{picture(9000, true, 0, "a"), h264Header(), picture(9040, false, 0, "b")},
			[]int64{0, 40}, []int64{0, 0}, nil, 0, 0, 80 * time.Millisecond},
		{"sound behind the picture", []flv.Tag{picture(0, true, 40, "a"), picture(40, false, 40, "b"), sound(100, "s")},
			[]int64{0, 40}, []int64{40, 40}, []int64{0}, -60, 40, 82 * time.Millisecond},
		{"the picture behind sound", []flv.Tag{sound(0, "s"), sound(21, "s"), sound(43, "s"), picture(43, true, 40, "a"), picture(83, false, 40, "b")},
			[]int64{0, 40}, []int64{40, 40}, []int64{0, 21, 42}, 83, 40, 163 * time.Millisecond},
		{"sound that lacks a frame", []flv.Tag{sound(0, "s"), sound(21, "s"), sound(64, "s"), sound(85, "s")},
			nil, nil, []int64{0, 21, 64, 85}, 0, 0, 107 * time.Millisecond},
		{"sound in bunches", []flv.Tag{sound(0, "s"), sound(0, "s"), sound(0, "s"), sound(64, "s"), sound(64, "s"), sound(64, "s")},
			nil, nil, []int64{0, 21, 42, 64, 85, 106}, 0, 0, 128 * time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := file(append([]flv.Tag{h264Header(), aacHeader()}, test.tags...)...)
			x, m := scan(t, b), unpack(whole(t, b))
			assert.Equal(t, test.duration, x.Duration.Truncate(time.Millisecond))
			assert.Equal(t, uint64(x.Duration.Milliseconds()), m.duration)
			for _, tr := range m.tracks {
				at, comp := tr.times()
				delay := int64(0)
				if len(tr.edits) > 0 && tr.edits[0].begin == -1 {
					delay = int64(tr.edits[0].duration)
				}
				if tr.handler == "soun" {
					assert.Equal(t, test.sounds, at)
					assert.Equal(t, max(0, -test.delay), delay)
					continue
				}
				assert.Equal(t, test.at, at)
				assert.Equal(t, test.comp, comp)
				assert.Equal(t, max(0, test.delay), delay)
				begin := int64(0)
				if len(tr.edits) > 0 {
					begin = tr.edits[len(tr.edits)-1].begin
				}
				assert.Equal(t, test.begin, begin)
			}
		})
	}
}

// A file that has nothing to show says why; one that has half of it shows that.
func TestRefused(t *testing.T) {
	vp6 := flv.Tag{Type: flv.TypeVideo, Data: []byte{0x14, 0, 1, 2}}
	speex := flv.Tag{Type: flv.TypeAudio, Data: []byte{0xb6, 1, 2}}
	for _, test := range []struct {
		name string
		file []byte
		err  error
		says string
	}{
		{"nothing", nil, flv.ErrFormat, "0 bytes"},
		{"a header", []byte("FLV\x01\x05\x00\x00\x00\x09"), flv.ErrFormat, "9 bytes"},
		{"no FLV file", []byte("ID3 and so on, as in MP3"), flv.ErrFormat, "signature"},
		{"no tags", file(), mp4.ErrNoTracks, ""},
		{"headers alone", file(h264Header(), aacHeader()), mp4.ErrNoTracks, ""},
		{"no headers", file(picture(0, true, 0, "a"), sound(0, "s")), mp4.ErrNoTracks, "2 frames without"},
		{"other codecs", file(vp6, speex, vp6), mp4.ErrUnsupported, "[VP6 Speex]"},
	} {
		t.Run(test.name, func(t *testing.T) {
			x, err := mp4.Scan(context.Background(), bytes.NewReader(test.file), int64(len(test.file)))
			require.ErrorIs(t, err, test.err)
			assert.ErrorContains(t, err, test.says)
			assert.Nil(t, x)
		})
	}
	x := scan(t, file(vp6, aacHeader(), sound(0, "s")))
	assert.Equal(t, []flv.Codec{flv.CodecVP6}, x.Omitted)
	assert.Zero(t, x.Video)
	assert.Equal(t, flv.CodecAAC, x.Audio)
}

// Files that break off, or end in something else, are shown up to there.
func TestDamagedEnd(t *testing.T) {
	b := file(h264Header(), picture(0, true, 0, "first"), picture(40, false, 0, "second"))
	first := len(file(h264Header(), picture(0, true, 0, "first")))
	for n := first; n < len(b); n++ {
		x := scan(t, b[:n])
		assert.Equal(t, 1, x.Samples())
		assert.EqualValues(t, n-first, x.Rest)
	}
	x := scan(t, append(b, make([]byte, 5000)...))
	assert.Equal(t, 2, x.Samples())
	assert.EqualValues(t, 5000, x.Rest)
}

// Reading can fail, become shorter, or be given up.
func TestScanEnds(t *testing.T) {
	b := file(h264Header(), picture(0, true, 0, strings.Repeat("x", 100_000)), picture(40, false, 0, "second"))
	_, err := mp4.Scan(context.Background(), bytes.NewReader(b[:50_000]), int64(len(b)))
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	broken := errors.New("the disk is gone")
	_, err = mp4.Scan(context.Background(), failing{bytes.NewReader(b), 100_000, broken}, int64(len(b)))
	require.ErrorIs(t, err, broken)
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(broken)
	_, err = mp4.Scan(ctx, bytes.NewReader(b), int64(len(b)))
	require.ErrorIs(t, err, broken)
}

// failing fails from a position on.
type failing struct {
	io.ReaderAt
	from int64
	err  error
}

func (f failing) ReadAt(b []byte, pos int64) (int, error) {
	if pos+int64(len(b)) > f.from {
		return 0, f.err
	}
	return f.ReaderAt.ReadAt(b, pos)
}

package main

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/rtmp"
)

// goldenBody is a row of flv/testdata/golden.txt: a body as a publisher sends it, and
// what viewers of each shape are to get.
type goldenBody struct {
	typ    flv.Type
	sent   string            // the bytes
	shapes map[string]string // by "FORM[/1] [HEVC]"; "" is left out
}

// in returns what comes out of the server in a form ("classic"), with one of HEVC ("",
// "legacy"), of track 0 or 1.
func (g *goldenBody) in(form, hevc string, track int) string {
	if form != "sent" && track == 1 {
		form += "/1"
	}
	for _, key := range []string{form + " " + hevc, form + " "} {
		if b, ok := g.shapes[key]; ok {
			return b
		}
	}
	if form == "sent" {
		return g.sent
	}
	return ""
}

// readGolden reads the table; its head says what its lines mean.
func readGolden(t *testing.T) map[string]*goldenBody {
	t.Helper()
	text, err := os.ReadFile("../../flv/testdata/golden.txt")
	require.NoError(t, err)
	rows := map[string]*goldenBody{}
	var g *goldenBody
	for _, line := range strings.Split(string(text), "\n") {
		key, value, _ := strings.Cut(line, ": ")
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			g = &goldenBody{shapes: map[string]string{}}
			rows[strings.Trim(line, "[]")] = g
		case key == "video":
			g.typ, g.sent = flv.TypeVideo, goldenBytes(t, value)
		case key == "audio":
			g.typ, g.sent = flv.TypeAudio, goldenBytes(t, value)
		case key == "says", key == "packs":
		default:
			b := ""
			switch value {
			case "same":
				b = g.sent
			case "out":
			default:
				b = goldenBytes(t, value)
			}
			for _, shape := range strings.Split(key, ",") {
				form, hevc, _ := strings.Cut(strings.TrimSpace(shape), " ")
				g.shapes[form+" "+hevc] = b
			}
		}
	}
	return rows
}

var goldenRepeat = regexp.MustCompile(`([0-9a-f]{2})\*(\d+)`)

func goldenBytes(t *testing.T, s string) string {
	t.Helper()
	s = goldenRepeat.ReplaceAllStringFunc(s, func(s string) string {
		digits, n, _ := strings.Cut(s, "*")
		times, _ := strconv.Atoi(n)
		return strings.Repeat(digits, times)
	})
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	require.NoError(t, err)
	return string(b)
}

// shapeStream is a little stream out of rows of the table.
type shapeStream struct {
	name string
	// Rows to publish: headers and first frames of all tracks, and what follows when
	// the viewers have begun. One with a "-" before it reaches nobody.
	opening, rest []string
	further       bool // it has a track 1
	hevc          bool // it has HEVC, so that asking for its form is worth a try
}

// Both kinds of tracks are in all of them, since the first frames of both end the wait
// for more: further tracks have to come before.
const (
	aacHeader, aacFrame              = "AAC AudioSpecificConfig", "AAC frame"
	h264Header, h264Key, h264Between = "H.264 sequence header", "H.264 key frame", "H.264 frame"
)

// shapeStreams are streams of every FourCC, packet type and multitrack layout of
// Enhanced RTMP, and of the older codecs.
func shapeStreams() []shapeStream {
	streams := []shapeStream{
		{
			name:    "H.264 and AAC",
			opening: []string{h264Header, aacHeader, h264Key, aacFrame},
			rest: []string{h264Between, "H.264 frame, composition time -66", "H.264 disposable frame", "AAC frame, said to be mono",
				"-H.264 end of sequence", "-H.264 end of sequence in two bytes", "-H.264 packet type 3", "-AAC packet type 2", "-command", h264Between},
		},
		{
			name:    "H.263 and MP3",
			opening: []string{"H.263 key frame", "MP3"},
			rest:    []string{"H.263 frame", "MP3", "H.263 disposable frame", "H.263 key frame that a server made"},
		},
		{name: "VP6 and Speex", opening: []string{"VP6 key frame", "Speex"}, rest: []string{"VP6 frame", "Speex"}},
		{name: "VP6 with alpha and A-law", opening: []string{"VP6 with alpha", "A-law"}},
		{name: "Screen Video and mu-law", opening: []string{"Screen Video", "mu-law"}},
		{name: "Screen Video 2 and PCM", opening: []string{"Screen Video 2", "PCM"}},
		{name: "MPEG-4 and native PCM", opening: []string{"MPEG-4", "PCM, native"}},
		{name: "an unknown codec and ADPCM", opening: []string{"video codec id 10", "ADPCM"}},
		{
			name:    "legacy HEVC",
			opening: []string{"legacy HEVC sequence header", aacHeader, "legacy HEVC key frame", aacFrame},
			rest: []string{"legacy HEVC frame, composition time -66", "legacy HEVC frame, composition time 0",
				"-legacy HEVC end of sequence", "-legacy HEVC packet type 3", "-legacy HEVC command", aacFrame},
			hevc: true,
		},
		{
			name:    "legacy Opus",
			opening: []string{h264Header, "legacy Opus header", h264Key, "legacy Opus frame"},
			rest:    []string{"-legacy Opus packet type 2", "legacy Opus frame"},
		},
		{
			name:    "ModEx",
			opening: []string{"ModEx before a sequence start", aacHeader, "ModEx, nanoseconds", aacFrame},
			rest: []string{"ModEx, the most nanoseconds, no composition time", "ModEx, nanoseconds of 0",
				"ModEx, more bytes than nanoseconds need", "ModEx, size of 16 bits, 256 bytes",
				"ModEx, size of 16 bits, 300 bytes of an unknown type", "ModEx, size of 16 bits for 3 bytes", "ModEx, unknown type of 1 byte",
				"ModEx, unknown type, then nanoseconds", "ModEx, nanoseconds twice", "-ModEx before a command", aacFrame},
		},
		{
			name:    "ModEx, HEVC",
			opening: []string{"hvc1, sequence start", aacHeader, "hvc1, key frame, composition time 40", "ModEx before a track", aacFrame},
			rest:    []string{"ModEx, HEVC"},
			further: true, hevc: true,
		},
		{
			name:    "ModEx, AV1",
			opening: []string{"av01, sequence start", "ModEx before metadata", aacHeader, "av01, key frame", aacFrame},
			rest:    []string{"ModEx, AV1"},
		},
		{
			name:    "ModEx, AAC",
			opening: []string{h264Header, "mp4a, sequence start", h264Key, "ModEx before a track, AAC", "ModEx, AAC"},
			rest:    []string{"ModEx, unknown types, AAC"},
			further: true,
		},
		{
			name:    "ModEx, Opus",
			opening: []string{h264Header, "Opus, sequence start", h264Key, "Opus, frame"},
			rest:    []string{"ModEx, size of 16 bits, Opus"},
		},
		{
			name:    "many tracks",
			opening: []string{"many tracks, sequence starts", aacHeader, "many tracks, key frames", aacFrame},
			rest:    []string{"avc1, frame, composition time -66", "avc1, one track, 0", "avc1, one track, 1"},
			further: true,
		},
		{
			name: "many tracks, HEVC",
			opening: []string{"hvc1, sequence start", "many tracks, metadata", aacHeader,
				"hvc1, key frame, composition time 40", "hvc1, one track, 1", aacFrame},
			rest:    []string{"many tracks, without composition time, track 0 last", aacFrame, "many tracks, ends"},
			further: true, hevc: true,
		},
		{
			name:    "many tracks, AV1",
			opening: []string{"av01, sequence start", aacHeader, "av01, key frame", "many tracks, none of them 0", aacFrame},
			rest:    []string{"many tracks, one of them twice", "many tracks, only one there"},
			further: true,
		},
		{
			name:    "many codecs",
			opening: []string{"many codecs, sequence starts", aacHeader, "many codecs, key frames", aacFrame},
			rest:    []string{"avc1, one track, 0", "hvc1, one track, 1"},
			further: true, hevc: true,
		},
		{
			name:    "many codecs, track 0 not first",
			opening: []string{"avc1, sequence start", aacHeader, "avc1, key frame, composition time 40", aacFrame},
			rest:    []string{"many codecs, track 0 not first"},
		},
		{
			name:    "many tracks, AAC",
			opening: []string{h264Header, "many tracks, AAC sequence starts, track 0 last", h264Key, "many tracks, AAC"},
			rest:    []string{"mp4a, one track, 1", "mp4a, one track, 0", "many tracks, audio ends"},
			further: true,
		},
		{
			name:    "many codecs, audio",
			opening: []string{h264Header, "many codecs, audio sequence starts", "many tracks, channel orders", h264Key, "many codecs, audio"},
			rest:    []string{"mp4a, one track, 1", "Opus, one track, 0"},
			further: true,
		},
		{
			name:    "unknown",
			opening: []string{aacHeader, "unknown video FourCC", aacFrame},
			rest: []string{"-unknown video packet type", "-multitrack of an unknown layout", "-multitrack within multitrack",
				"-enhanced command", "-unknown audio packet type", "-audio multitrack of an unknown layout", aacFrame},
		},
		{name: "unknown audio", opening: []string{h264Header, h264Key, "unknown audio FourCC"}, rest: []string{"-silence", h264Between}},
	}
	for _, c := range []string{"avc1", "hvc1", "vvc1"} {
		streams = append(streams, shapeStream{
			name: c,
			opening: []string{c + ", sequence start", c + ", metadata", c + ", MPEG-2 TS sequence start", aacHeader,
				c + ", key frame, composition time 40", c + ", one track, 1", aacFrame},
			rest: []string{c + ", frame, composition time -66", c + ", frame, composition time 0 sent",
				c + ", key frame without composition time", c + ", frame without composition time",
				c + ", one track, 0", c + ", one track, 1", aacFrame, c + ", sequence end"},
			further: true, hevc: c == "hvc1",
		})
	}
	for _, c := range []string{"av01", "vp09", "vp08"} {
		streams = append(streams, shapeStream{
			name: c,
			opening: []string{c + ", sequence start", c + ", metadata, frame type command", c + ", MPEG-2 TS sequence start", aacHeader,
				c + ", key frame", c + ", one track, 1", aacFrame},
			rest: []string{c + ", frame", c + ", frame in a type for composition time 0",
				c + ", one track, 0", c + ", one track, 1", aacFrame, c + ", sequence end"},
			further: true,
		})
	}
	for _, c := range []string{"AV1", "VP8", "VP9"} {
		legacy := "legacy " + c
		streams = append(streams, shapeStream{
			name:    legacy,
			opening: []string{legacy + " sequence header", aacHeader, legacy + " key frame", aacFrame},
			rest:    []string{legacy + " frame", legacy + " frame, composition time 33", "-" + legacy + " end of sequence", aacFrame},
		})
	}
	for _, c := range []string{"mp4a", "Opus", "fLaC", ".mp3", "ac-3", "ec-3"} {
		streams = append(streams, shapeStream{
			name:    c,
			opening: []string{h264Header, c + ", sequence start", c + ", channel order native", h264Key, c + ", one track, 1", c + ", frame"},
			rest: []string{c + ", channel order custom", c + ", frame", c + ", channel order unspecified", c + ", frame",
				c + ", one track, 0", c + ", one track, 1", h264Between, c + ", sequence end"},
			further: true,
		})
	}
	for _, c := range []string{"MP3 at 8 kHz", "Nellymoser", "Nellymoser at 16 kHz", "Nellymoser at 8 kHz", "sound format 12", "sound format 15"} {
		streams = append(streams, shapeStream{name: c, opening: []string{h264Header, h264Key, c}, rest: []string{c, h264Between}})
	}
	return streams
}

// shapeViewer is one who watches, and what that makes of the stream.
type shapeViewer struct {
	recording
	servedStream
	open       func(servedStream, context.Context) (tagSource, error)
	form, hevc string
	track      int
}

// viewers returns viewers of all kinds, with every query that is worth a try.
func (st *shapeStream) viewers(s servedStream) (viewers []*shapeViewer) {
	all := rtmp.AllCapabilities()
	single := rtmp.Capabilities{FourCCs: []string{"*"}, HasCapsEx: true, CapsEx: rtmp.CapsModEx}
	for _, kind := range []struct {
		name, form, ofTrack string // ofTrack is the form with ?track=N
		caps                rtmp.Capabilities
		open                func(servedStream, context.Context) (tagSource, error)
	}{
		{"RTMP that announced all", "sent", "single", all, servedStream.openRTMP},
		{"RTMP that announced single tracks", "single", "single", single, servedStream.openRTMP},
		{"RTMP that announced nothing", "classic", "classic", rtmp.Capabilities{}, servedStream.openRTMP},
		{"HTTP-FLV", "browser", "browser", rtmp.Capabilities{}, servedStream.openHTTP},
		{"WebSocket-FLV", "browser", "browser", rtmp.Capabilities{}, servedStream.openWebSocket},
	} {
		add := func(query, form, hevc string, track int) {
			v := &shapeViewer{servedStream: s, open: kind.open, form: form, hevc: hevc, track: track}
			v.name, v.query, v.caps = kind.name+query, query, kind.caps
			viewers = append(viewers, v)
		}
		add("", kind.form, "", 0)
		add("?track=all", "sent", "", 0)
		if st.hevc {
			add("?hevc=legacy", kind.form, "legacy", 0)
			add("?hevc=enhanced", kind.form, "enhanced", 0)
		}
		if st.further {
			add("?track=1", kind.ofTrack, "", 1)
			add("?track=0", kind.ofTrack, "", 0)
		}
		if st.further && st.hevc {
			add("?track=1&hevc=legacy", kind.ofTrack, "legacy", 1)
		}
	}
	return viewers
}

// shapeTag is a tag of one of the two kinds of media.
type shapeTag struct {
	typ  flv.Type
	body string
}

func (t shapeTag) String() string { return fmt.Sprintf("%v %x", t.typ, t.body) }

// expected returns the media that the viewer is to get. Of a type without a further
// track it gets the main one.
func (v *shapeViewer) expected(rows map[string]*goldenBody, names []string) (tags []string) {
	further := map[flv.Type]bool{}
	for _, name := range names {
		if g := rows[name]; g != nil && g.in("single", "", 1) != "" {
			further[g.typ] = true
		}
	}
	for _, name := range names {
		g := rows[name]
		if g == nil { // with a "-"
			continue
		}
		track := v.track
		if !further[g.typ] {
			track = 0
		}
		if b := g.in(v.form, v.hevc, track); b != "" {
			tags = append(tags, shapeTag{g.typ, b}.String())
		}
	}
	return tags
}

// Every kind of body that Enhanced RTMP and FLV have goes through the server, and comes
// out at every kind of viewer in the bytes that the table has for it.
func TestShapes(t *testing.T) {
	rows := readGolden(t)
	out, _ := start(t, append(operators, "SLUICE_MAX_LAG=2m", "SLUICE_PUBLISHER_GRACE=0", "SLUICE_VIEWER_WAIT=1m")...)
	s := servedStream{
		publish: out.find(t, `rtmp://(127\.0\.0\.1:\d+)/live/NAME\n`)[1],
		watch:   out.find(t, `http://(127\.0\.0\.1:\d+)/ in a browser`)[1],
		viewers: viewersBy(t, out),
	}
	t.Run("all", func(t *testing.T) { // which ends before the server does
		for i, st := range shapeStreams() {
			t.Run(st.name, func(t *testing.T) {
				t.Parallel()
				s := s
				s.key = fmt.Sprintf("shapes/%d", i)
				st.test(t, s, rows)
			})
		}
	})
}

func (st *shapeStream) test(t *testing.T, s servedStream, rows map[string]*goldenBody) {
	viewers := st.viewers(s)
	var running, beginning sync.WaitGroup
	for _, v := range viewers {
		beginning.Add(1)
		running.Go(func() {
			v.run(t.Context(), func(ctx context.Context) (tagSource, error) { return v.open(v.servedStream, ctx) },
				sync.OnceFunc(beginning.Done))
		})
	}
	s.awaitViewers(t, len(viewers))
	names := slices.Concat(st.opening, st.rest)
	st.publishRows(t, s, rows, beginning.Wait)
	running.Wait()
	for _, v := range viewers {
		require.NotEmpty(t, v.tags, "%s: %v", v.name, v.err)
		require.Equal(t, flv.TypeScript, v.tags[0].Type, v.name)
		var got []string
		type track struct {
			typ    flv.Type
			number uint8
		}
		last := map[track]uint32{}
		for _, tag := range v.tags[1:] {
			got = append(got, shapeTag{tag.Type, string(tag.Data)}.String())
			p, err := tag.Packet()
			require.NoError(t, err)
			of := track{tag.Type, p.Track}
			assert.GreaterOrEqual(t, tag.Timestamp, last[of], "%s: %v", v.name, of)
			last[of] = tag.Timestamp
		}
		if assert.Equal(t, v.expected(rows, names), got, v.name) {
			v.checkMetadata(t)
		}
	}
}

// publishRows publishes over RTMP, the rest when all viewers have begun.
func (st *shapeStream) publishRows(t *testing.T, s servedStream, rows map[string]*goldenBody, begun func()) {
	var c rtmp.Client
	p, err := c.Publish(t.Context(), "rtmp://"+s.publish+"/"+s.key)
	require.NoError(t, err)
	defer p.Close()
	write := func(name string, ts uint32) {
		g := rows[strings.TrimPrefix(name, "-")]
		require.NotNil(t, g, name)
		require.NoError(t, p.WriteTag(flv.Tag{Type: g.typ, Timestamp: ts, Data: []byte(g.sent)}))
	}
	for _, name := range st.opening {
		write(name, 0)
	}
	waited := make(chan struct{})
	go func() {
		begun()
		close(waited)
	}()
	select {
	case <-waited:
	case <-time.After(20 * time.Second):
		require.Fail(t, "not all viewers have begun")
	}
	for i, name := range st.rest {
		write(name, uint32(40*(i+1)))
	}
}

// checkMetadata compares the codecs that onMetaData names with the media after it.
func (v *shapeViewer) checkMetadata(t *testing.T) {
	values, err := amf.DecodeAll(v.tags[0].Data, amf.Limits{})
	require.NoError(t, err)
	require.Len(t, values, 2)
	properties, ok := amf.Properties(values[1])
	require.True(t, ok)
	got := map[string]any{}
	for _, p := range properties {
		if strings.HasSuffix(p.Name, "codecid") {
			got[p.Name] = p.Value
		}
	}
	want := map[string]any{}
	for _, tag := range v.tags[1:] {
		name, classic, enhanced := "audiocodecid", tag.Data[0]>>4, tag.Data[0]>>4 == 9
		if tag.Type == flv.TypeVideo {
			name, classic, enhanced = "videocodecid", tag.Data[0]&15, tag.Data[0]&0x80 != 0
		}
		switch {
		case want[name] != nil || v.form == "sent" && enhanced:
			// which of several forms and tracks it names is another matter
		case enhanced:
			want[name] = float64(binary.BigEndian.Uint32(tag.Data[1:]))
		case tag.Type == flv.TypeAudio:
			// Of several ids of one codec the usual one stands for all.
			usual := map[byte]byte{0: 3, 4: 6, 5: 6, 14: 2}
			want[name] = float64(cmp.Or(usual[classic], classic))
		default:
			want[name] = float64(classic)
		}
	}
	for name, id := range want {
		assert.Equal(t, id, got[name], "%s: %s", v.name, name)
	}
}

package flv

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// golden is a row of testdata/golden.txt, which says what its lines mean.
type golden struct {
	name   string
	tag    Tag
	tracks []Packet
	main   int            // which of the tracks Packet tells
	packs  []byte         // nil for what can't be built
	shapes map[Shape]body // those that were written down
}

// body is a body in a shape; ok is false if it is left out.
type body struct {
	data []byte
	ok   bool
}

var (
	goldenForms = map[string]Form{"sent": FormAsSent, "single": FormSingle, "classic": FormClassic, "browser": FormBrowser}
	goldenHEVC  = map[string]HEVC{"": HEVCAsSent, "legacy": HEVCLegacy, "enhanced": HEVCEnhanced}
	goldenKinds = map[string]Kind{
		"unknown": KindUnknown, "frame": KindFrame, "config": KindConfig, "end": KindEnd, "metadata": KindMetadata,
		"command": KindCommand, "multichannel": KindMultichannel, "configTS": KindConfigTS,
	}
)

// shaped returns what the table says of a shape.
func (g *golden) shaped(s Shape) body {
	if s.Form == FormAsSent {
		s.Track = 0 // unused
	}
	hevc := s.HEVC
	for _, s.HEVC = range []HEVC{hevc, HEVCAsSent} {
		if b, ok := g.shapes[s]; ok {
			return b
		}
	}
	if s.Form == FormAsSent {
		return body{g.tag.Data, true}
	}
	return body{}
}

// readGolden reads testdata/golden.txt.
func readGolden(t testing.TB) (rows []*golden) {
	t.Helper()
	text, err := os.ReadFile("testdata/golden.txt")
	require.NoError(t, err)
	var g *golden
	for n, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if line[0] == '[' {
			g = &golden{name: strings.Trim(line, "[]"), shapes: map[Shape]body{}}
			rows = append(rows, g)
			continue
		}
		key, value, ok := strings.Cut(line, ":")
		require.True(t, ok, "line %d", n+1)
		g.take(t, key, strings.TrimSpace(value))
	}
	return rows
}

func (g *golden) take(t testing.TB, key, value string) {
	t.Helper()
	switch key {
	case "video", "audio":
		g.tag = Tag{Type: map[string]Type{"video": TypeVideo, "audio": TypeAudio}[key], Data: goldenBytes(t, value)}
		g.packs = g.tag.Data
	case "says":
		p, main := goldenPacket(t, value)
		if main {
			g.main = len(g.tracks)
		}
		g.tracks = append(g.tracks, p)
	case "packs":
		if g.packs = nil; value != "none" {
			g.packs = goldenBytes(t, value)
		}
	default:
		var b body
		switch value {
		case "same":
			b = body{g.tag.Data, true}
		case "out":
		default:
			b = body{goldenBytes(t, value), true}
		}
		for _, shape := range strings.Split(key, ",") {
			place, hevc, _ := strings.Cut(strings.TrimSpace(shape), " ")
			form, track, _ := strings.Cut(place, "/")
			s := Shape{goldenForms[form], goldenHEVC[hevc], 0}
			if track != "" {
				n, err := strconv.ParseUint(track, 10, 8)
				require.NoError(t, err)
				s.Track = uint8(n)
			}
			require.Contains(t, goldenForms, form)
			require.Contains(t, goldenHEVC, hevc)
			require.NotContains(t, g.shapes, s, g.name)
			g.shapes[s] = b
		}
	}
}

var goldenRepeat = regexp.MustCompile(`([0-9a-f]{2})\*(\d+)`)

// goldenBytes reads hexadecimal digits; "00*253" is 253 zeros. It returns no nil.
func goldenBytes(t testing.TB, s string) []byte {
	t.Helper()
	return append([]byte{}, unhex(t, goldenRepeat.ReplaceAllStringFunc(s, func(s string) string {
		digits, n, _ := strings.Cut(s, "*")
		times, _ := strconv.Atoi(n)
		return strings.Repeat(digits, times)
	}))...)
}

// goldenPacket reads what a row says of a track.
func goldenPacket(t testing.TB, s string) (p Packet, main bool) {
	t.Helper()
	for _, field := range strings.Fields(s) {
		key, value, _ := strings.Cut(field, "=")
		n, _ := strconv.ParseInt(value, 10, 32)
		switch key {
		case "main":
			main = true
		case "codec":
			p.Codec = goldenCodec(value)
		case "kind":
			require.Contains(t, goldenKinds, value)
			p.Kind = goldenKinds[value]
		case "key":
			p.Key = true
		case "enhanced":
			p.Enhanced = true
		case "frame":
			p.Frame = FrameType(n)
		case "time":
			p.CompositionTime = int32(n)
		case "nanos":
			p.Nanos = uint32(n)
		case "track":
			p.Multitrack, p.Track = true, uint8(n)
		case "sound":
			p.Sound = unhex(t, value)[0]
		case "payload":
			p.Payload = unhex(t, value)
		default:
			require.Fail(t, "what is "+field)
		}
	}
	return p, main
}

// goldenCodec reads a FourCC, #N for a number, or none.
func goldenCodec(s string) (c Codec) {
	if s == "none" {
		return 0
	}
	if number, ok := strings.CutPrefix(s, "#"); ok {
		n, _ := strconv.Atoi(number)
		return Codec(n)
	}
	for _, b := range []byte(s) {
		c = c<<8 | Codec(b)
	}
	return c
}

// requirePacket compares packets; an empty payload may be nil.
func requirePacket(t *testing.T, want, got Packet) {
	t.Helper()
	require.Equal(t, string(want.Payload), string(got.Payload))
	want.Payload, got.Payload = nil, nil
	require.Equal(t, want, got)
}

// allShapes are all that differ, for two tracks.
func allShapes() (all []Shape) {
	for _, form := range []Form{FormAsSent, FormSingle, FormClassic, FormBrowser} {
		for _, hevc := range []HEVC{HEVCAsSent, HEVCLegacy, HEVCEnhanced} {
			for track := range uint8(2) {
				all = append(all, Shape{form, hevc, track})
			}
		}
	}
	return all
}

func TestGolden(t *testing.T) {
	names := map[string]bool{}
	for _, g := range readGolden(t) {
		require.False(t, names[g.name], g.name)
		names[g.name] = true
		t.Run(g.name, func(t *testing.T) {
			g.testParse(t)
			g.testAppend(t)
			for _, s := range allShapes() {
				g.testShape(t, s)
			}
		})
	}
}

func (g *golden) testParse(t *testing.T) {
	got, err := g.tag.Packet()
	require.NoError(t, err)
	requirePacket(t, g.tracks[g.main], got)
	all, err := g.tag.AppendPackets(nil)
	require.NoError(t, err)
	require.Len(t, all, len(g.tracks))
	for i, p := range all {
		requirePacket(t, g.tracks[i], p)
	}
	require.Zero(t, testing.AllocsPerRun(10, func() {
		_, _ = g.tag.Packet()
		_, _ = g.tag.AppendPackets(all[:0])
	}))
}

func (g *golden) testAppend(t *testing.T) {
	appendTo := AppendAudio
	if g.tag.Type == TypeVideo {
		appendTo = AppendVideo
	}
	got, err := appendTo([]byte("before"), g.tracks[g.main])
	if g.packs == nil {
		require.ErrorIs(t, err, ErrInexpressible)
		require.Equal(t, "before", string(got))
		return
	}
	require.NoError(t, err)
	require.Equal(t, "before"+string(g.packs), string(got))
}

func (g *golden) testShape(t *testing.T, s Shape) {
	at := fmt.Sprintf("%s in %+v", g.name, s)
	want := g.shaped(s)
	scratch := append(make([]byte, 0, 64), "before"...)
	got, ok := s.Apply(g.tag, &scratch)
	require.Equal(t, want.ok, ok, at)
	require.Equal(t, fmt.Sprintf("%x", want.data), fmt.Sprintf("%x", got), at)
	require.Equal(t, "before", string(scratch[:6]), at)
	if !ok {
		require.Len(t, scratch, 6, at)
		return
	}
	same := len(scratch) == 6
	require.Equal(t, same, string(got) == string(g.tag.Data), at)
	if same {
		require.Zero(t, testing.AllocsPerRun(10, func() { s.Apply(g.tag, &scratch) }), at)
	}
	if s.Track == 0 && g.tracks[g.main].Plain() {
		require.True(t, same, at)
	}
	requireStable(t, s, Tag{Type: g.tag.Type, Data: got})
}

// requireStable: what a shape made stays as it is in the same shape.
func requireStable(t *testing.T, s Shape, made Tag) {
	t.Helper()
	if s.Form != FormAsSent {
		s.Track = 0
	}
	var scratch []byte
	again, ok := s.Apply(made, &scratch)
	require.True(t, ok, "%+v", s)
	require.Equal(t, made.Data, again, "%+v", s)
	require.Empty(t, scratch, "%+v", s)
}

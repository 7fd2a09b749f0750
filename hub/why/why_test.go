package why

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
)

var now = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// ago returns a moment so many seconds before now.
func ago(seconds float64) time.Time { return now.Add(-time.Duration(seconds * float64(time.Second))) }

var (
	h264 = hub.ViewerTrack{Type: flv.TypeVideo, Codec: flv.CodecH264}
	hevc = hub.ViewerTrack{Type: flv.TypeVideo, Codec: flv.CodecHEVC}
	aac  = hub.ViewerTrack{Type: flv.TypeAudio, Codec: flv.CodecAAC}
	opus = hub.ViewerTrack{Type: flv.TypeAudio, Codec: flv.CodecOpus, Number: 2}
)

const (
	oldFirefox = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
	chrome     = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36"
	oldFFmpeg  = "Lavf/59.27.100"
)

// waits returns a viewer that waits for something.
func waits(for_ hub.Lack, change func(*hub.ViewerInfo)) Known {
	k := Known{Now: now, Protocol: "http-flv", State: hub.SessionWaiting, Since: ago(4), Viewer: hub.ViewerInfo{
		At: now, Stream: "live", Lacks: for_, Published: ago(3), LastWrite: ago(0.1),
	}}
	change(&k.Viewer)
	return k
}

// runs returns a viewer with which all is well, but for a change.
func runs(change func(*Known, *hub.ViewerInfo)) Known {
	k := Known{Now: now, Protocol: "ws-flv", Agent: chrome, State: hub.SessionRunning, Since: ago(60), Viewer: hub.ViewerInfo{
		At: now, Stream: "live", Started: true, Begun: true, Published: ago(300), LastWrite: ago(0.1),
		KeyFrame: ago(0.8), KeyInterval: 2 * time.Second,
		Told: []hub.ViewerTrack{h264, aac}, Gets: []hub.ViewerTrack{h264, aac}, Lag: 100 * time.Millisecond,
		Served: true, Delivery: hub.Delivery{Written: ago(0.1), Acknowledged: ago(0.1)},
	}}
	change(&k, &k.Viewer)
	return k
}

var cases = []struct {
	name string
	code Code
	k    Known
}{
	{"asks", WaitsPermission, Known{Now: now, State: hub.SessionAsking, Since: ago(3.2)}},
	{"asks for a recording", WaitsPermission, Known{Now: now, State: hub.SessionAsking, Since: ago(200), Plays: true}},
	{"plays a recording", Recording, Known{Now: now, State: hub.SessionRunning, Since: ago(7500), Plays: true}},
	{"nobody publishes", WaitsPublisher, waits(hub.LacksPublisher, func(v *hub.ViewerInfo) {
		v.Stream, v.Published, v.LastWrite = "waiting", time.Time{}, time.Time{}
	})},
	{"the publisher left before a picture", WaitsPublisher, waits(hub.LacksPublisher, func(v *hub.ViewerInfo) {
		v.Stream, v.Published, v.LastWrite = "grace", time.Time{}, time.Time{}
		v.Left, v.Grace = ago(2.1), 8*time.Second
	})},
	{"no frame yet", WaitsTrack, waits(hub.LacksTracks, func(v *hub.ViewerInfo) { v.Awaits = []hub.ViewerTrack{{Type: flv.TypeVideo}, {Type: flv.TypeAudio}} })},
	{"no frame at all", WaitsTrack, waits(hub.LacksTracks, func(v *hub.ViewerInfo) { v.LastWrite = ago(2.9) })},
	{"announced track", WaitsTrack, waits(hub.LacksTracks, func(v *hub.ViewerInfo) {
		v.Awaits, v.Decided = []hub.ViewerTrack{h264}, now.Add(2400*time.Millisecond)
	})},
	{"track that may come", WaitsTrack, waits(hub.LacksTracks, func(v *hub.ViewerInfo) {
		v.Awaits, v.Decided = []hub.ViewerTrack{{Type: flv.TypeAudio}}, now.Add(600*time.Millisecond)
	})},
	{"no codec header", WaitsCodecHeader, waits(hub.LacksCodecHeader, func(v *hub.ViewerInfo) { v.Awaits = []hub.ViewerTrack{h264, aac} })},
	{"first key frame", WaitsKeyFrame, waits(hub.LacksKeyFrame, func(v *hub.ViewerInfo) {})},
	{"key frame is due", WaitsKeyFrame, waits(hub.LacksKeyFrame, func(v *hub.ViewerInfo) { v.KeyFrame, v.KeyInterval = ago(2.8), 4*time.Second })},
	{"key frame is overdue", WaitsKeyFrame, waits(hub.LacksKeyFrame, func(v *hub.ViewerInfo) {
		v.KeyFrame, v.KeyInterval, v.LastWrite = ago(7), 4*time.Second, ago(5)
	})},
	{"GOP was cut", WaitsKeyFrame, waits(hub.LacksKeyFrame, func(v *hub.ViewerInfo) { v.KeyLost = true })},
	{"GOP was cut, and the interval is known", WaitsKeyFrame, waits(hub.LacksKeyFrame, func(v *hub.ViewerInfo) {
		v.KeyLost, v.KeyFrame, v.KeyInterval = true, ago(70), 80*time.Second
	})},
	{"rewinds", Rewinding, runs(func(k *Known, v *hub.ViewerInfo) { v.Begun, v.Gets, v.Delivery.Rewinding = false, nil, true })},
	{"paused", Paused, runs(func(k *Known, v *hub.ViewerInfo) { v.Paused, v.Gets, v.Lag = true, nil, time.Minute })},
	{"only audio", OnlyAudio, runs(func(k *Known, v *hub.ViewerInfo) { v.NoVideo, v.Told, v.Gets = true, v.Told[1:], v.Gets[1:] })},
	{"video off", VideoOff, runs(func(k *Known, v *hub.ViewerInfo) { v.VideoOff, v.NeedsKey, v.Gets = true, true, v.Gets[1:] })},
	{"no video", NoVideo, runs(func(k *Known, v *hub.ViewerInfo) { v.Told, v.Gets = v.Told[1:], v.Gets[1:] })},
	{"told of nothing", NoVideo, runs(func(k *Known, v *hub.ViewerInfo) { v.Told, v.Gets = nil, nil })},
	{"HEVC in Firefox", UnplayableCodec, runs(func(k *Known, v *hub.ViewerInfo) { k.Agent, v.Told[0], v.Gets[0] = oldFirefox, hevc, hevc })},
	{"VP9 in any browser", UnplayableCodec, runs(func(k *Known, v *hub.ViewerInfo) { v.Told[0].Codec = flv.CodecVP9 })},
	{"HEVC in an old ffmpeg", UnplayableCodec, runs(func(k *Known, v *hub.ViewerInfo) { k.Agent, v.Told[0] = oldFFmpeg, hevc })},
	{"ended", Ended, runs(func(k *Known, v *hub.ViewerInfo) { v.Stream = "ended" })},
	{"the publisher left", PublisherLeft, runs(func(k *Known, v *hub.ViewerInfo) {
		v.Stream, v.Published, v.LastWrite, v.Left, v.Grace = "grace", time.Time{}, time.Time{}, ago(2.1), 8*time.Second
	})},
	{"the publisher is silent", PublisherSilent, runs(func(k *Known, v *hub.ViewerInfo) { v.LastWrite = ago(200) })},
	{"congested", Congested, runs(func(k *Known, v *hub.ViewerInfo) {
		v.Lag, v.Delivery.Congested, v.Delivery.Unwritten, v.Delivery.Unacknowledged = 4100*time.Millisecond, ago(12.3), 8192, 240_499
	})},
	{"congested by a player that does not read", Congested, runs(func(k *Known, v *hub.ViewerInfo) {
		v.Lag, v.Delivery.Congested, v.Delivery.Unwritten, v.Delivery.Unacknowledged, v.Delivery.Closed = time.Second, ago(1), 512, 1_240_000, true
	})},
	{"congested, and nothing is read at all", Congested, runs(func(k *Known, v *hub.ViewerInfo) {
		v.Lag, v.Delivery.Congested, v.Delivery.Written = 800*time.Millisecond, ago(25), ago(25.2)
		v.Delivery.Unwritten, v.Delivery.Unacknowledged, v.Delivery.Closed, v.Delivery.Asked = 229, 149_153, true, 7
	})},
	{"congested where the system tells nothing", Congested, runs(func(k *Known, v *hub.ViewerInfo) {
		v.Lag, v.Delivery = 4*time.Second, hub.Delivery{Congested: ago(5), Unwritten: 8192, Unacknowledged: -1}
	})},
	{"congested by a host that is gone", Congested, runs(func(k *Known, v *hub.ViewerInfo) {
		v.Lag, v.Delivery.Congested, v.Delivery.Unacknowledged, v.Delivery.Unanswered = 4*time.Second, ago(5), 90_000, 4
	})},
	{"congested time and again", Congested, runs(func(k *Known, v *hub.ViewerInfo) {
		k.Dropped, v.Lag, v.Delivery.Congested, v.Delivery.Unwritten, v.Delivery.Unacknowledged = 411, 1400*time.Millisecond, ago(1.4), 3000, 131_000
	})},
	{"full for a moment", OK, runs(func(k *Known, v *hub.ViewerInfo) { v.Delivery.Congested = ago(0.9) })},
	{"nothing is acknowledged", Unacknowledged, runs(func(k *Known, v *hub.ViewerInfo) {
		v.Delivery.Acknowledged, v.Delivery.Unacknowledged, v.Delivery.Unanswered = ago(4), 84_000, 3
	})},
	{"nothing is read", Unacknowledged, runs(func(k *Known, v *hub.ViewerInfo) {
		v.Delivery.Unacknowledged, v.Delivery.Closed, v.Delivery.Asked = 84_000, true, 4
	})},
	{"a full player reads now and then", OK, runs(func(k *Known, v *hub.ViewerInfo) {
		v.Delivery.Unacknowledged, v.Delivery.Closed, v.Delivery.Asked, v.Delivery.Acknowledged = 59_180, true, 3, ago(0.2)
	})},
	{"an old acknowledgement, and nothing is under way", OK, runs(func(k *Known, v *hub.ViewerInfo) { v.Delivery.Acknowledged = ago(60) })},
	{"too slow", SkippedToKeyFrame, runs(func(k *Known, v *hub.ViewerInfo) { k.Dropped, v.NeedsKey, v.Evicted = 132, true, true })},
	{"too slow for one packet", SkippedToKeyFrame, runs(func(k *Known, v *hub.ViewerInfo) { k.Dropped, v.NeedsKey, v.Evicted = 1, true, true })},
	{"video is on again", SkippedToKeyFrame, runs(func(k *Known, v *hub.ViewerInfo) { v.NeedsKey = true })},
	{"late", Behind, runs(func(k *Known, v *hub.ViewerInfo) { v.Lag = 2400 * time.Millisecond })},
	{"just let in", Starting, runs(func(k *Known, v *hub.ViewerInfo) { k.Since, v.Begun, v.NeedsKey, v.Gets = ago(0.1), false, true, nil })},
	{"gone meanwhile", Starting, Known{Now: now, State: hub.SessionRunning, Since: ago(1)}},
	{"about to start", Starting, waits(hub.LacksNothing, func(v *hub.ViewerInfo) {})},
	{"well", OK, runs(func(k *Known, v *hub.ViewerInfo) {})},
	{"well again", OK, runs(func(k *Known, v *hub.ViewerInfo) { k.Dropped = 3838 })},
	{"well, with everything", OK, runs(func(k *Known, v *hub.ViewerInfo) {
		k.Agent = ""
		v.Told, v.Gets = append(v.Told, opus), append(v.Gets, opus)
	})},
	{"HEVC in Chrome", OK, runs(func(k *Known, v *hub.ViewerInfo) { v.Told[0], v.Gets[0] = hevc, hevc })},
	{"10 bits in Chrome", OK, runs(func(k *Known, v *hub.ViewerInfo) { v.Told[0].Profile = "High 10" })},
	{"HEVC over RTMP", OK, runs(func(k *Known, v *hub.ViewerInfo) {
		k.Protocol, k.Agent, v.Told[0], v.Gets[0] = "rtmp", "LNX 9,0,124,2", hevc, hevc
	})},
}

var update = flag.Bool("update", false, "write the golden file")

// Each answer has its code, and its sentence and times stand in testdata/answers.txt.
func TestOf(t *testing.T) {
	var b strings.Builder
	seen := map[Code]bool{}
	at := func(t time.Time) string {
		if t.IsZero() {
			return "-"
		}
		return fmt.Sprintf("%+.1f s", t.Sub(now).Seconds())
	}
	for _, c := range cases {
		a := Of(c.k)
		assert.Equal(t, c.code, a.Code, c.name)
		assert.Regexp(t, `^[A-Z].*\.$`, a.Sentence, c.name)
		assert.NotContains(t, a.Sentence, "  ", c.name)
		assert.Equal(t, a.Code == UnplayableCodec, a.Codec != 0, c.name)
		seen[a.Code] = true
		fmt.Fprintf(&b, "%s\n  %s, since %s, expected %s, %q\n  %s\n", c.name, a.Code, at(a.Since), at(a.Expected), Codec(a.Codec), a.Sentence)
	}
	for _, code := range Codes() {
		assert.True(t, seen[code], "no case for %s", code)
	}
	const golden = "testdata/answers.txt"
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(b.String()), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	assert.Equal(t, string(want), b.String(), "go test ./hub/why -update writes it")
}

func TestCodesAreDistinct(t *testing.T) {
	codes := Codes()
	slices.Sort(codes)
	assert.Len(t, slices.Compact(codes), len(Codes()))
}

// What a client says of itself is never repeated, and makes no sentence long.
func FuzzAgent(f *testing.F) {
	for _, c := range cases {
		f.Add(c.k.Agent, c.k.Protocol)
	}
	f.Add("Firefox/99999999999999999999", "http-flv")
	f.Add("Mark Chrome/<script>", "http-flv")
	f.Fuzz(func(t *testing.T, agent, protocol string) {
		for _, codec := range []flv.Codec{flv.CodecH264, flv.CodecHEVC, flv.CodecVP9, flv.Codec(0x3c3c3c3c)} {
			a := Of(runs(func(k *Known, v *hub.ViewerInfo) {
				k.Agent, k.Protocol, v.Told[0].Codec, v.Gets[0].Codec = agent, protocol, codec, codec
			}))
			assert.Less(t, len(a.Sentence), 250)
			assert.NotContains(t, a.Sentence, "script")
			assert.Regexp(t, `^[a-z0-9]*$`, Codec(a.Codec))
		}
	})
}

func TestWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0.0 s", 0: "0.0 s", 40 * time.Millisecond: "0.0 s", 1249 * time.Millisecond: "1.2 s",
		59940 * time.Millisecond: "59.9 s", 59960 * time.Millisecond: "1 min 0 s", 200 * time.Second: "3 min 20 s",
		time.Hour - time.Second: "59 min 59 s", 125 * time.Minute: "2 h 5 min",
	} {
		assert.Equal(t, want, span(d), d)
	}
	for n, want := range map[int]string{0: "0 bytes", 999: "999 bytes", 1499: "1 kB", 84_000: "84 kB", 1_250_001: "1.3 MB"} {
		assert.Equal(t, want, size(n))
	}
	assert.Equal(t, "video h264", Track(h264))
	assert.Equal(t, "audio opus 2", Track(opus))
	assert.Equal(t, "no track", words(nil))
	assert.Equal(t, "H.264 video, AAC audio and Opus audio (track 2)", words([]hub.ViewerTrack{h264, aac, opus}))
	assert.Equal(t, "video", words([]hub.ViewerTrack{{Type: flv.TypeVideo}}))
	assert.Empty(t, Codec(0))
	assert.Equal(t, "g711alaw", Codec(flv.CodecALaw))
}

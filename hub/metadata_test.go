package hub_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/hub"
)

// forwarded publishes metadata with a stream of both tracks and returns what a
// viewer gets of it.
func forwarded(t *testing.T, opts hub.WatchOptions, values ...any) (props []amf.Property) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		require.NoError(t, p.Write(flv.Tag{
			Type: flv.TypeScript, Timestamp: 777, Data: amf.AppendAMF0(nil, append([]any{"onMetaData"}, values...)...),
		}))
		p.send("vc:s ac:c K:1@1000 A:1@1000")
		tags := watch(t, h, opts).take()
		require.Equal(t, flv.TypeScript, tags[0].Type)
		assert.Zero(t, tags[0].Timestamp)
		got, err := amf.DecodeAll(tags[0].Data, amf.Limits{})
		require.NoError(t, err)
		require.Len(t, got, 2)
		assert.Equal(t, "onMetaData", got[0])
		require.IsType(t, amf.ECMAArray{}, got[1])
		props = got[1].(amf.ECMAArray)
	})
	return props
}

// What viewers always get, in an empty publisher's stead.
var truth = []amf.Property{
	{Name: "videocodecid", Value: 7.0},
	{Name: "audiocodecid", Value: 10.0},
	{Name: "hasAudio", Value: true},
	{Name: "hasVideo", Value: true},
}

// Each property is one that players can take, or left out.
func TestMetadataProperties(t *testing.T) {
	long := strings.Repeat("k", 127)
	for _, test := range []struct {
		name  string
		value any
		kept  bool
	}{
		{"width", 1920.0, true},
		{"encoder", "obs-output module", true},
		{"stereo", true, true},
		{"x", math.Inf(1), false},
		{"x", math.Inf(-1), false},
		{"x", math.NaN(), false},
		{"x", nil, false},
		{"x", amf.Undefined{}, false},
		{"x", amf.Unsupported{}, false},
		{"x", amf.Object{{Name: "y", Value: 1.0}}, false},
		{"x", amf.ECMAArray{{Name: "y", Value: 1.0}}, false},
		{"x", amf.StrictArray{1.0}, false},
		{"x", amf.Date{}, false},
		{"x", amf.XML("<x/>"), false},
		{"x", "a\x00b", false},
		{"x", strings.Repeat("v", 1024), true},
		{"x", strings.Repeat("v", 1025), false},
		{long, 1.0, true},
		{long + "k", 1.0, false},
		{"", 1.0, false},
		{"duration", 0.0, false},
		{"Duration", 12.5, false},
		{"filesize", 1e6, false},
		{"fileSize", 1e6, false},
		{"lasttimestamp", 1.0, false},
		{"hasKeyframes", true, false},
		{"canSeekToEnd", true, false},
		{"hasAudio", false, false},
		{"hasVideo", false, false},
		{"HASVIDEO", false, false},
	} {
		t.Run(fmt.Sprintf("%.20s=%.20v", test.name, test.value), func(t *testing.T) {
			p := amf.Property{Name: test.name, Value: test.value}
			want := truth
			if test.kept {
				want = append([]amf.Property{p}, truth...)
			}
			assert.Equal(t, want, forwarded(t, hub.WatchOptions{}, amf.ECMAArray{p}))
			assert.Equal(t, want, forwarded(t, hub.WatchOptions{}, amf.Object{p}))
		})
	}
}

func TestMetadataShapes(t *testing.T) {
	x := amf.Property{Name: "x", Value: 1.0}
	y := amf.Property{Name: "y", Value: 2.0}
	for name, test := range map[string]struct {
		values []any
		want   []amf.Property
	}{
		"in order":                {[]any{amf.Object{y, x}}, []amf.Property{y, x}},
		"the last of equal names": {[]any{amf.Object{{Name: "x", Value: 5.0}, y, x}}, []amf.Property{x, y}},
		"behind something else":   {[]any{nil, "x", amf.ECMAArray{x}}, []amf.Property{x}},
		"two objects: the first":  {[]any{amf.Object{x}, amf.Object{y}}, []amf.Property{x}},
		"empty":                   {[]any{amf.Object{}}, nil},
		"none":                    {nil, nil},
		"no object":               {[]any{1.0}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, append(test.want, truth...), forwarded(t, hub.WatchOptions{}, test.values...))
		})
	}
}

// The number of properties is bounded.
func TestMetadataNumber(t *testing.T) {
	var many amf.Object
	for i := range 500 {
		many = append(many, amf.Property{Name: fmt.Sprint("p", i), Value: float64(i)})
	}
	got := forwarded(t, hub.WatchOptions{}, many)
	assert.Len(t, got, 128+len(truth))
	assert.Equal(t, many[127], got[127])
}

// A viewer is told of the tracks that it gets, and of no other.
func TestMetadataForOneTrack(t *testing.T) {
	published := amf.ECMAArray{
		{Name: "width", Value: 1280.0}, {Name: "height", Value: 720.0}, {Name: "videocodecid", Value: "avc1"},
		{Name: "videodatarate", Value: 2500.0}, {Name: "framerate", Value: 30.0},
		{Name: "audiocodecid", Value: "mp4a"}, {Name: "audiodatarate", Value: 160.0},
		{Name: "audiosamplerate", Value: 48000.0}, {Name: "audiosamplesize", Value: 16.0}, {Name: "stereo", Value: true},
		{Name: "encoder", Value: "e"}, {Name: "hasVideo", Value: true},
	}
	names := func(opts hub.WatchOptions) string {
		var words []string
		for _, p := range forwarded(t, opts, published) {
			words = append(words, fmt.Sprintf("%s=%v", p.Name, p.Value))
		}
		return strings.Join(words, " ")
	}
	assert.Equal(t, "width=1280 height=720 videocodecid=7 videodatarate=2500 framerate=30 "+
		"audiocodecid=10 audiodatarate=160 audiosamplerate=48000 audiosamplesize=16 stereo=true "+
		"encoder=e hasAudio=true hasVideo=true", names(hub.WatchOptions{}))
	assert.Equal(t, "width=1280 height=720 videocodecid=7 videodatarate=2500 framerate=30 "+
		"encoder=e hasAudio=false hasVideo=true", names(hub.WatchOptions{NoAudio: true}))
	assert.Equal(t, "audiocodecid=10 audiodatarate=160 audiosamplerate=48000 audiosamplesize=16 stereo=true "+
		"encoder=e hasAudio=true hasVideo=false", names(hub.WatchOptions{NoVideo: true}))
}

// Where the publisher names no codecs, the stream's own stand in.
func TestMetadataCodecs(t *testing.T) {
	for sent, want := range map[string][2]float64{
		"vc:s ac:c K:1 A:1":  {7, 10},
		"hc:s ac:c HK:1 A:1": {12, 10},
		"vc:s K:1 M:1":       {7, 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := newHub(t, hub.Config{})
			publish(t, h, client{}).send(sent)
			_, meta := script(watch(t, h, hub.WatchOptions{}).take()[0])
			video, _ := meta.Get("videocodecid")
			audio, _ := meta.Get("audiocodecid")
			assert.Equal(t, [2]any{want[0], want[1]}, [2]any{video, audio}, sent)
		})
	}
}

// Metadata that changes reaches those who want script data, once, and no other.
func TestMetadataChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.send(av)
		flvViewer := watch(t, h, hub.WatchOptions{})
		rtmpViewer := watch(t, h, hub.WatchOptions{ScriptData: true})
		flvViewer.read()
		rtmpViewer.read()
		p.send("meta:av P:2@40 meta:av P:3@80")
		assert.Equal(t, "P:2@40 P:3@80", flvViewer.read())
		assert.Equal(t, "P:2@40 P:3@80", rtmpViewer.read())
		p.send("meta:a P:4@120")
		assert.Equal(t, "P:4@120", flvViewer.read())
		assert.Equal(t, "meta:av@0 P:4@120", rtmpViewer.read())
	})
}

// The metadata of a file that is published in a loop has an index of its key frames;
// what is known and in bounds stays, what is too much is left out and counted.
func TestMetadataTooLarge(t *testing.T) {
	index := make(amf.StrictArray, 6000)
	for i := range index {
		index[i] = float64(i)
	}
	width, height := amf.Property{Name: "width", Value: 1920.0}, amf.Property{Name: "height", Value: 1080.0}
	keyframes := amf.Property{Name: "keyframes", Value: amf.Object{{Name: "times", Value: index}, {Name: "filepositions", Value: index}}}
	long := amf.Property{Name: "comment", Value: strings.Repeat("x", 100<<10)}
	deep := any(nil)
	for range 14 {
		deep = amf.Object{{Name: "x", Value: deep}}
	}
	several := amf.ECMAArray{width, keyframes, long, {Name: strings.Repeat("n", 128), Value: 1.0}, {Name: "deep", Value: deep}, height}
	for i := range 200 {
		several = append(several, amf.Property{Name: fmt.Sprint("p", i), Value: true})
	}
	for name, test := range map[string]struct {
		object any
		kept   []amf.Property
		excess uint64
	}{
		"an index before":     {amf.ECMAArray{keyframes, width, height}, []amf.Property{width, height}, 1},
		"an index behind":     {amf.ECMAArray{width, height, keyframes}, []amf.Property{width, height}, 1},
		"an index, object":    {amf.Object{width, keyframes, height}, []amf.Property{width, height}, 1},
		"much of everything":  {several, []amf.Property{width, height}, 1 + 1 + 1 + 200 - 126},
		"nothing but too big": {amf.Object{long}, []amf.Property{}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, hub.Config{})
				p := publish(t, h, client{})
				require.NoError(t, p.Write(flv.Tag{Type: flv.TypeScript, Data: amf.AppendAMF0(nil, "onMetaData", test.object)}))
				p.send("vc:s ac:c K:1@0 A:1@0")
				_, got := script(watch(t, h, hub.WatchOptions{}).take()[0])
				require.GreaterOrEqual(t, len(got), len(test.kept))
				assert.Equal(t, test.kept, []amf.Property(got[:len(test.kept)]))
				assert.Equal(t, map[string]uint64{"excess metadata": test.excess}, info(t, h).Skipped)
			})
		})
	}
}

// What can't be read any more spoils nothing that came before it.
func TestMetadataCutShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		body := amf.AppendAMF0(nil, "onMetaData", amf.Object{{Name: "width", Value: 640.0}, {Name: "x", Value: "cut"}})
		require.NoError(t, p.Write(flv.Tag{Type: flv.TypeScript, Data: body[:len(body)-5]}))
		require.NoError(t, p.Write(flv.Tag{Type: flv.TypeScript, Data: amf.AppendAMF0(nil, "onMetaData", strings.Repeat("x", 1<<20))}))
		p.send("vc:s ac:c K:1@0 A:1@0")
		_, got := script(watch(t, h, hub.WatchOptions{}).take()[0])
		assert.Equal(t, amf.Property{Name: "width", Value: 640.0}, got[0])
		assert.Equal(t, map[string]uint64{"excess metadata": 1, "unsafe script": 1}, info(t, h).Skipped)
	})
}

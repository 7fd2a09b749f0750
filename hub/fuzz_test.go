package hub_test

import (
	"bytes"
	"errors"
	"math"
	"net/url"
	"strings"
	"testing"
	"time"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/hub"
)

// fuzzViewers are the viewers of FuzzWrite: every shape, track and start, and what
// else decides on what a viewer gets.
var fuzzViewers = []hub.WatchOptions{
	{ScriptData: true},
	{Shape: flv.Shape{Form: flv.FormBrowser}, FixedCodecs: true},
	{Shape: flv.Shape{Form: flv.FormClassic}, ScriptData: true},
	{Shape: flv.Shape{Form: flv.FormBrowser, Track: 1}, FixedCodecs: true},
	{Shape: flv.Shape{Form: flv.FormSingle, HEVC: flv.HEVCLegacy}},
	{Shape: flv.Shape{Form: flv.FormSingle, Track: 2}, ScriptData: true},
	{Shape: flv.Shape{Form: flv.FormBrowser, HEVC: flv.HEVCEnhanced}, Start: hub.StartLive, FixedCodecs: true},
	{Shape: flv.Shape{HEVC: flv.HEVCLegacy}, Start: hub.StartLive},
	{Shape: flv.Shape{Form: flv.FormClassic, Track: 1}, Start: hub.StartLive},
	{Shape: flv.Shape{Form: flv.FormClassic}, Back: time.Minute},
	{Back: 2 * time.Second, FixedCodecs: true},
	{Shape: flv.Shape{Form: flv.FormBrowser}, NoAudio: true},
	{NoVideo: true, Start: hub.StartLive},
	{Shape: flv.Shape{Form: flv.FormSingle}, NoVideo: true, Back: time.Second},
}

// Bytes in the place of a tag's type with which FuzzWrite does something else.
const (
	fuzzRepublish = 0xe0 // the publisher leaves and comes back
	fuzzPause     = 0xe1 // and what follows: everybody does that
	fuzzResume    = 0xe2
	fuzzVideoOff  = 0xe3
	fuzzVideoOn   = 0xe4
)

// FuzzWrite publishes whatever there is: tags of any body at any time. Nothing
// panics, the session goes on, memory is bounded, and each viewer gets what players
// of its shape understand: metadata first, bodies of its form that parse, and time
// that does not run backwards on any track. In what portions it takes that makes no
// difference.
func FuzzWrite(f *testing.F) {
	add := func(words ...string) {
		var b []byte
		for _, w := range words {
			t := tag(w)
			b = append(b, byte(t.Type), byte(t.Timestamp>>8), byte(t.Timestamp), byte(len(t.Data)))
			b = append(b, t.Data...)
		}
		f.Add(b)
	}
	add("meta:av", "vc:s", "ac:c", "K:1@0", "A:1@0", "P:2@40", "A:2@23")
	add("meta:a", "ac:c", "A:1@0", "text:x@10", "A:2@23", "silence@40")
	add("vc:s", "K:1@0", "A:2@0", "hc:h", "HK:1@40", "M:1@60", "ve:@80", "vs:@80")
	f.Add([]byte{9, 0, 0, 14, 0x96, 0x00, 'h', 'v', 'c', '1', 3, 1, 2, 3, 4, 5, 6, 7})
	f.Add([]byte{9, 0, 0, 7, 0x94, 'h', 'v', 'c', '1', 2, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		const bound = 4 << 10
		h := hub.New(hub.Config{PublisherGrace: time.Hour, ViewerWait: -1, GOPMaxBytes: bound, LogDuration: time.Minute})
		p, err := h.Publish(publisher(h, key), hub.PublishOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var viewers []*fuzzViewer
		for n := 0; len(b) >= 4; n++ {
			size := min(int(b[3]), len(b)-4)
			body := b[4 : 4+size]
			switch b[0] {
			case fuzzRepublish:
				p.Close()
				if p, err = h.Publish(publisher(h, key), hub.PublishOptions{}); err != nil {
					t.Fatal(err)
				}
			case fuzzPause, fuzzResume, fuzzVideoOff, fuzzVideoOn:
				for _, v := range viewers {
					v.command(b[0])
				}
			default:
				err := p.Write(flv.Tag{Type: flv.Type(b[0]), Timestamp: uint32(b[1])<<24 | uint32(b[2])<<3, Data: body})
				if err != nil {
					t.Fatal(err)
				}
			}
			b = b[4+size:]
			if n%2 == 0 && len(viewers) < len(fuzzViewers) {
				if v := newFuzzViewer(t, h, fuzzViewers[(n/2+len(viewers))%len(fuzzViewers)]); v != nil {
					viewers = append(viewers, v)
				}
			}
			for i, v := range viewers {
				if (n+i)%3 == 0 {
					v.pass()
				}
			}
			if err := h.Check(); err != nil {
				t.Fatal(err)
			}
			if held := h.Held(key); held > bound/16 {
				t.Fatalf("%d packets in a log of %d bytes", held, bound)
			}
		}
		p.Close()
		if err := h.Shutdown(endedContext()); len(viewers) == 0 && err != nil {
			t.Error(err)
		}
		for _, v := range viewers {
			v.judge()
		}
		if n := len(h.Streams()); n != 0 {
			t.Errorf("%d streams are left", n)
		}
	})
}

// fuzzViewer is a viewer three times: one takes little at a time, one much, both
// whenever there is something; and one takes a little now and then.
type fuzzViewer struct {
	hub.WatchOptions
	t                  *testing.T
	small, large, slow *sink
}

// newFuzzViewer adds a viewer, if there is anything to be watched.
func newFuzzViewer(t *testing.T, h *hub.Hub, opts hub.WatchOptions) *fuzzViewer {
	open := func(limit int) *sink {
		v, err := h.Watch(viewer(h, key), opts)
		if err != nil {
			t.Fatal(err)
		}
		if err := v.Wait(endedContext()); err != nil {
			var refusal *hub.Refusal
			if !errors.As(err, &refusal) && !errors.Is(err, endedContext().Err()) {
				t.Error(err)
			}
			v.Close()
			return nil
		}
		return &sink{Viewer: v, t: t, limit: limit, script: opts.ScriptData}
	}
	v := &fuzzViewer{opts, t, open(1), open(1 << 20), open(300)}
	if v.small == nil {
		return nil
	}
	return v
}

func (v *fuzzViewer) all() []*sink { return []*sink{v.small, v.large, v.slow} }

func (v *fuzzViewer) command(what byte) {
	for _, s := range v.all() {
		switch what {
		case fuzzPause, fuzzResume:
			s.Pause(what == fuzzPause)
		case fuzzVideoOff, fuzzVideoOn:
			s.ReceiveVideo(what == fuzzVideoOn)
		}
	}
	v.pass()
}

// pass lets the first two take everything, and the third something.
func (v *fuzzViewer) pass() {
	for v.small.pass() {
	}
	for v.large.pass() {
	}
	v.slow.pass()
}

// judge reads the rest and looks at everything.
func (v *fuzzViewer) judge() {
	for _, s := range v.all() {
		for s.pass() {
		}
		if s.end == hub.ReasonNone {
			v.t.Error("no end")
		}
		s.Close()
		v.judgeTags(s.tags)
	}
	if len(v.small.tags) != len(v.large.tags) || v.small.end != v.large.end {
		v.t.Fatalf("%d tags and %v in small portions, %d and %v in large ones",
			len(v.small.tags), v.small.end, len(v.large.tags), v.large.end)
	}
	for i, small := range v.small.tags {
		large := v.large.tags[i]
		if small.Type != large.Type || small.Timestamp != large.Timestamp || !bytes.Equal(small.Data, large.Data) {
			v.t.Fatalf("tag %d is %v at %d in small portions, %v at %d in large ones",
				i, small.Type, small.Timestamp, large.Type, large.Timestamp)
		}
	}
}

func (v *fuzzViewer) judgeTags(tags []flv.Tag) {
	type track struct {
		typ    flv.Type
		number uint8
	}
	last := map[track]uint32{}
	for i, tag := range tags {
		if tag.Type == flv.TypeScript {
			if i > 0 && !v.ScriptData || i == 0 && tag.Timestamp != 0 {
				v.t.Errorf("script tag %d at %d", i, tag.Timestamp)
			}
			continue
		}
		if i == 0 {
			v.t.Errorf("begins with %v", tag.Type)
		}
		packets, err := tag.AppendPackets(nil)
		for _, p := range packets {
			at := track{tag.Type, p.Track}
			if tag.Timestamp < last[at] {
				v.t.Errorf("from %d back to %d", last[at], tag.Timestamp)
			}
			last[at] = tag.Timestamp
			v.judgePacket(p)
		}
		if err != nil {
			v.t.Errorf("tag %d: %v", i, err)
		}
		if v.Shape.Track == 0 { // whose bodies name no other track
			if again, ok := v.Shape.Apply(tag, new([]byte)); !ok || !bytes.Equal(again, tag.Data) {
				v.t.Errorf("tag %d is not in its shape: %x becomes %x", i, tag.Data, again)
			}
		}
	}
}

// judgePacket says whether a body has the viewer's form.
func (v *fuzzViewer) judgePacket(p flv.Packet) {
	form := v.Shape.Form
	classic := p.Codec == flv.CodecH264 || p.Codec == flv.CodecAAC || p.Codec == flv.CodecMP3
	switch {
	case form == flv.FormAsSent:
	case p.Multitrack, p.Nanos != 0,
		form >= flv.FormClassic && classic && p.Enhanced,
		form == flv.FormBrowser && p.Kind != flv.KindFrame && p.Kind != flv.KindConfig:
		v.t.Errorf("%v %v for form %d: %+v", p.Codec, p.Kind, form, p)
	}
}

// FuzzMetadata publishes any script data. What viewers are sent as metadata is what
// no player chokes on, of bounded size, and true to the tracks that there are.
func FuzzMetadata(f *testing.F) {
	f.Add(tag("meta:av").Data)
	f.Add(tag("text:x").Data)
	f.Add(amf.AppendAMF0(nil, "onMetaData", amf.Object{
		{Name: "width", Value: math.NaN()}, {Name: "hasVideo", Value: false}, {Name: "Duration", Value: 3.0},
		{Name: "audiocodecid", Value: "mp4a"}, {Name: "list", Value: amf.StrictArray{1.0}}, {Name: "none", Value: nil},
		{Name: strings.Repeat("n", 200), Value: 1.0}, {Name: "long", Value: strings.Repeat("t", 2000)},
	}))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, frames := range []string{"vc:s ac:c K:1@0 A:1@0", "vc:s K:1@0", "ac:c A:1@0", "hc:h HK:1@0 M:1@0"} {
			h := hub.New(hub.Config{PublisherGrace: -1, ViewerWait: -1})
			p, err := h.Publish(publisher(h, key), hub.PublishOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for _, data := range [][]byte{tag("meta:" + declared(frames)).Data, b} {
				if err := p.Write(flv.Tag{Type: flv.TypeScript, Data: data}); err != nil {
					t.Fatal(err)
				}
			}
			for w := range strings.FieldsSeq(frames) {
				if err := p.Write(tag(w)); err != nil {
					t.Fatal(err)
				}
			}
			for _, opts := range fuzzViewers[:4] {
				v, err := h.Watch(viewer(h, key), opts)
				if err != nil {
					t.Fatal(err)
				}
				if v.Wait(endedContext()) == nil {
					s := &sink{Viewer: v, t: t, limit: 1 << 20}
					judgeMetadata(t, s.take()[0], v)
				}
				v.Close()
			}
			p.Close()
		}
	})
}

// declared returns what metadata says of frames, so that nobody waits for more.
func declared(frames string) (tracks string) {
	if strings.Contains(frames, "A:") || strings.Contains(frames, "M:") {
		tracks += "a"
	}
	if strings.Contains(frames, "K:") {
		tracks += "v"
	}
	return tracks
}

// judgeMetadata judges the first tag that a viewer gets.
func judgeMetadata(t *testing.T, first flv.Tag, v *hub.Viewer) {
	const maxNames, maxName, maxText = 128 + 4, 127, 1024
	values, err := amf.DecodeAll(first.Data, amf.Limits{})
	if err != nil || first.Type != flv.TypeScript || first.Timestamp != 0 || len(values) != 2 || values[0] != "onMetaData" {
		t.Fatalf("first tag: %v at %d: %v (%v)", first.Type, first.Timestamp, values, err)
	}
	object, ok := values[1].(amf.ECMAArray)
	if !ok || len(object) > maxNames {
		t.Fatalf("%T of %d", values[1], len(object))
	}
	audio, video := v.Tracks()
	seen := map[string]bool{}
	for _, p := range object {
		if p.Name == "" || len(p.Name) > maxName || seen[p.Name] {
			t.Errorf("name %q", p.Name)
		}
		seen[p.Name] = true
		switch value := p.Value.(type) {
		case float64:
			if math.IsNaN(value) || math.IsInf(value, 0) {
				t.Errorf("%s is %v", p.Name, value)
			}
		case bool:
			if p.Name == "hasAudio" && value != audio || p.Name == "hasVideo" && value != video {
				t.Errorf("%s is %v", p.Name, value)
			}
		case string:
			if len(value) > maxText || strings.ContainsRune(value, 0) {
				t.Errorf("%s is %q", p.Name, value)
			}
		default:
			t.Errorf("%s is a %T", p.Name, value)
		}
		switch strings.ToLower(p.Name) {
		case "duration", "filesize", "keyframes":
			t.Errorf("%s", p.Name)
		}
	}
	if !seen["hasAudio"] || !seen["hasVideo"] {
		t.Error("tracks are not told")
	}
}

// FuzzReadQuery reads any query of a viewer's URL: it is refused as a bad request, or
// is within bounds.
func FuzzReadQuery(f *testing.F) {
	for _, query := range []string{
		"onlyaudio=1", "onlyvideo=true&start=live", "back=12.5&start=gop", "track=7&hevc=legacy", "track=all&hevc=enhanced",
		"back=NaN", "back=-0", "back=1e300", "track=256", "track=+1", "start=live&back=1", "onlyaudio=1&onlyvideo=1", "token=x&start=&back=",
	} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, text string) {
		query, err := url.ParseQuery(text)
		if err != nil {
			return // which no server gets further with
		}
		for _, form := range []flv.Form{flv.FormAsSent, flv.FormSingle, flv.FormClassic, flv.FormBrowser} {
			opts := hub.WatchOptions{Shape: flv.Shape{Form: form}}
			if err := opts.ReadQuery(query); err != nil {
				if reason := reasonOf(t, err); reason != hub.ReasonBadRequest {
					t.Errorf("%q: %v", text, err)
				}
				continue
			}
			if opts.Back < 0 || opts.Back > time.Hour || opts.Start == hub.StartLive && opts.Back > 0 ||
				opts.NoAudio && opts.NoVideo || opts.Shape.Form > flv.FormBrowser || opts.Shape.HEVC > flv.HEVCEnhanced ||
				opts.Shape.Form == flv.FormAsSent && opts.Shape.Track != 0 {
				t.Errorf("%q means %+v", text, opts)
			}
			again := hub.WatchOptions{Shape: flv.Shape{Form: form}}
			if err := again.ReadQuery(query); err != nil || again != opts {
				t.Errorf("%q means %+v, and then %+v (%v)", text, opts, again, err)
			}
		}
	})
}

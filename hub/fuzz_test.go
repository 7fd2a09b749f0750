package hub_test

import (
	"errors"
	"testing"

	"sluice/flv"
	"sluice/hub"
)

// FuzzWrite publishes whatever there is: tags of any body at any time. Nothing
// panics, the session goes on, and viewers get metadata first and time that does
// not run backwards.
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
		h := hub.New(hub.Config{PublisherGrace: -1, ViewerWait: -1, GOPMaxBytes: 4 << 10})
		p, err := h.Publish(key, hub.PublishOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var viewers []*sink
		for n := 0; len(b) >= 4; n++ {
			size := min(int(b[3]), len(b)-4)
			if err := p.Write(flv.Tag{
				Type:      flv.Type(b[0]),
				Timestamp: uint32(b[1])<<24 | uint32(b[2])<<3,
				Data:      b[4 : 4+size],
			}); err != nil {
				t.Fatal(err)
			}
			b = b[4+size:]
			if n%4 == 0 && len(viewers) < 6 {
				viewers = fuzzViewer(t, h, viewers)
			}
			for i, v := range viewers {
				if (n+i)%3 == 0 {
					v.pass()
				}
			}
			if err := h.Check(); err != nil {
				t.Fatal(err)
			}
		}
		p.Close()
		for _, v := range viewers {
			for v.pass() {
			}
			if v.end == hub.ReasonNone {
				t.Error("no end")
			}
			v.Close()
			last := map[flv.Type]uint32{}
			for i, tag := range v.tags {
				if (i == 0) != (tag.Type == flv.TypeScript) && !v.script {
					t.Errorf("tag %d of type %d", i, tag.Type)
				}
				if tag.Type != flv.TypeScript && tag.Timestamp < last[tag.Type] {
					t.Errorf("from %d back to %d", last[tag.Type], tag.Timestamp)
				}
				last[tag.Type] = tag.Timestamp
			}
		}
		if n := len(h.Streams()); n != 0 {
			t.Errorf("%d streams are left", n)
		}
	})
}

// fuzzViewer adds a viewer, if there is anything to be watched.
func fuzzViewer(t *testing.T, h *hub.Hub, viewers []*sink) []*sink {
	n := len(viewers)
	opts := hub.WatchOptions{FixedCodecs: n%2 == 0, ScriptData: n%3 == 1, NoAudio: n == 2, NoVideo: n == 3}
	v, err := h.Watch(key, opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Wait(endedContext()); err != nil {
		var refusal *hub.Refusal
		if !errors.As(err, &refusal) && !errors.Is(err, endedContext().Err()) {
			t.Error(err)
		}
		v.Close()
		return viewers
	}
	return append(viewers, &sink{Viewer: v, t: t, limit: 300, script: opts.ScriptData})
}

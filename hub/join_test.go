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

func TestJoin(t *testing.T) {
	const av = "meta:av vc:s ac:c "
	for _, test := range []struct {
		name string
		opts hub.WatchOptions
		sent string
		want string
	}{
		{
			name: "metadata, video header, audio header, GOP",
			sent: av + "K:1@0 A:2@0 P:3@40 A:4@23",
			want: "meta:av@0 vc:s@0 ac:c@0 K:1@0 A:2@0 P:3@40 A:4@23",
		},
		{
			name: "audio header first",
			sent: "meta:av ac:c vc:s K:1@0 A:2@0",
			want: "meta:av@0 vc:s@0 ac:c@0 K:1@0 A:2@0",
		},
		{
			name: "no metadata",
			sent: "vc:s ac:c K:1@0 A:2@0",
			want: "meta:av@0 vc:s@0 ac:c@0 K:1@0 A:2@0",
		},
		{
			name: "no headers",
			sent: "K:1@0 A:2@0",
			want: "meta:av@0 K:1@0 A:2@0",
		},
		{
			name: "from the newest key frame, from 0",
			sent: av + "K:1@1000 A:2@1000 P:3@1040 A:4@1030 K:5@1080 A:6@1085 P:7@1120",
			want: "meta:av@0 vc:s@0 ac:c@0 K:5@0 A:6@5 P:7@40",
		},
		{
			name: "a key frame that is shown before it is sent",
			sent: av + "early:1@1000 A:2@1000 P:3@1040",
			want: "meta:av@0 vc:s@40 ac:c@40 early:1@40 A:2@40 P:3@80",
		},
		{
			name: "nothing from before its start",
			sent: av + "K:1@500 A:2@500 K:3@600 A:4@570 A:5@599 A:6@600",
			want: "meta:av@0 vc:s@0 ac:c@0 K:3@0 A:6@0",
		},
		{
			name: "sound from before the picture, at the session's start",
			sent: av + "K:1@1000 A:2@940 A:3@980 A:4@1020",
			want: "meta:av@0 vc:s@0 ac:c@0 K:1@0 A:4@20",
		},
		{
			name: "headers that differ from those before",
			sent: av + "K:1@0 A:2@0 vc:new K:3@40 A:4@40",
			want: "meta:av@0 vc:new@0 ac:c@0 K:3@0 A:4@0",
		},
		{
			name: "headers of the newest GOP, though they changed within it",
			sent: av + "K:1@0 A:2@0 ac:new A:3@23",
			want: "meta:av@0 vc:s@0 ac:c@0 K:1@0 A:2@0 ac:new@23 A:3@23",
		},
		{
			name: "audio header behind the key frame",
			sent: "meta:av vc:s K:1@0 P:2@40 ac:c A:3@30",
			want: "meta:av@0 vc:s@0 ac:c@0 K:1@0 P:2@40 A:3@30",
		},
		{
			name: "without audio",
			opts: hub.WatchOptions{NoAudio: true},
			sent: av + "K:1@100 A:2@100 P:3@140",
			want: "meta:v@0 vc:s@0 K:1@0 P:3@40",
		},
		{
			name: "without video: starts at 0 too",
			opts: hub.WatchOptions{NoVideo: true},
			sent: av + "K:1@100 A:2@110 P:3@140 A:4@133",
			want: "meta:a@0 ac:c@0 A:2@0 A:4@23",
		},
		{
			name: "script data for those who want it",
			opts: hub.WatchOptions{ScriptData: true},
			sent: av + "K:1@0 A:2@0 text:hello@20 P:3@40",
			want: "meta:av@0 vc:s@0 ac:c@0 K:1@0 A:2@0 text:hello@0 P:3@40",
		},
		{
			name: "no script data for the others",
			sent: av + "K:1@0 A:2@0 text:hello@20 P:3@40",
			want: "meta:av@0 vc:s@0 ac:c@0 K:1@0 A:2@0 P:3@40",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, hub.Config{})
				publish(t, h, client{}).send(test.sent)
				v := watch(t, h, test.opts)
				assert.Equal(t, test.want, v.read())
				assert.Equal(t, hub.ReasonNone, v.end)
				assert.Zero(t, v.Dropped())
			})
		})
	}
}

// What comes after the start reaches the viewer as it was published, tag by tag.
func TestJoinedViewerGetsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.send("meta:av vc:s ac:c K:0@0 A:0@0")
		v := watch(t, h, hub.WatchOptions{})
		assert.Equal(t, "meta:av@0 vc:s@0 ac:c@0 K:0@0 A:0@0", v.read())
		for _, w := range []string{"P:1@40", "A:1@46", "K:2@80", "A:2@69", "ac:c@80", "vc:s@80", "P:3@120"} {
			p.send(w)
			want := w
			if w == "ac:c@80" || w == "vc:s@80" {
				want = "" // the header that is in force already
			}
			assert.Equal(t, want, v.read())
		}
	})
}

// The bytes are those that were published, whatever their number.
func TestBytesAreEqual(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.send("meta:av vc:s ac:c K:0@0 A:0@0")
		v := watch(t, h, hub.WatchOptions{})
		v.read()
		for i, n := range []int{0, 1, 100, 2047, 2048, 2049, 8191, 8192, 8193, 1 << 20} {
			sent := flv.Tag{Type: flv.TypeVideo, Timestamp: uint32(40 * i), Data: make([]byte, 5+n)}
			copy(sent.Data, []byte{0x27, 1, 0, 0, 40})
			for j := range n {
				sent.Data[5+j] = byte(i + j*7)
			}
			require.NoError(t, p.Write(sent))
			want := append([]byte(nil), sent.Data...)
			clear(sent.Data) // the hub has its own copy
			got := v.take()
			require.Len(t, got, 1)
			assert.Equal(t, want, got[0].Data)
			assert.Equal(t, sent.Timestamp, got[0].Timestamp)
		}
	})
}

// Fill keeps to its limit, but gives at least one tag, and never loses one.
func TestFillLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		publish(t, h, client{}).send("meta:av vc:s ac:c K:1@0 A:2@0 P:3@40 A:4@23")
		v := watch(t, h, hub.WatchOptions{})
		v.limit = 1
		var got []string
		for {
			more := v.pass()
			require.NotEmpty(t, v.tags)
			for _, tag := range v.tags {
				got = append(got, word(tag))
			}
			v.tags = nil
			if !more {
				break
			}
		}
		assert.Equal(t, []string{"meta:av@0", "vc:s@0", "ac:c@0", "K:1@0", "A:2@0", "P:3@40", "A:4@23"}, got)
		assert.False(t, v.pass())
		assert.Empty(t, v.tags)
	})
}

// A viewer joins a stream that has been live for a while without the publisher's
// having to do anything.
func TestJoinLongAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.send("meta:av vc:s ac:c K:0@0 A:0@0")
		ts := 40
		for range 1000 { // GOPs of 400 ms
			p.send("K:k@" + itoa(ts))
			ts = p.sendEvery("P", ts+40, 40, 9)
		}
		time.Sleep(time.Hour)
		v := watch(t, h, hub.WatchOptions{})
		got := v.take()
		require.Len(t, got, 3+10)
		assert.Equal(t, "K:k@0", word(got[3]))
		assert.Equal(t, uint32(360), got[12].Timestamp)
	})
}

// A viewer with a duration is complete after that much of the stream, wherever it
// began, and is given nothing behind it.
func TestDuration(t *testing.T) {
	for _, opts := range []hub.WatchOptions{
		{Duration: time.Second},
		{Duration: time.Second, FixedCodecs: true, Shape: browser},
		{Duration: time.Second, Start: hub.StartLive},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := newHub(t, hub.Config{})
			p := publish(t, h, client{})
			p.send("meta:av vc:s ac:c K:0@0 A:0@0 P:1@40")
			v, other := watch(t, h, opts), watch(t, h, hub.WatchOptions{})
			p.sendEvery("P", 80, 40, 23) // up to 960
			assert.Len(t, v.take(), 3+3+23)
			assert.Equal(t, hub.ReasonNone, v.end)
			p.send("A:2@999 P:3@1000 A:4@1022 K:5@1040")
			assert.Equal(t, "A:2@999", v.read())
			assert.Equal(t, hub.ReasonComplete, v.end)
			p.send("A:6@1060")
			assert.Empty(t, v.read())
			assert.Equal(t, hub.ReasonComplete, v.end)
			assert.Len(t, other.take(), 3+3+23+5)
		})
	}
}

package gateway

import (
	"bytes"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/hub/archive"
	"sluice/hub/archive/flvfile"
	"sluice/rtmp"
)

// Players get recordings in the form that they understand, as live streams.
func TestRecordingForPlayersOfDifferentForms(t *testing.T) {
	a := newArchive(t)
	var tags []flv.Tag
	for i, body := range []string{
		"\x90avc1\x01\x64\x00\x1f\xff\xe1\x00\x00\x01\x00\x00", // codec header
		"\x93avc1\x00\x00\x00\x01\x65",                         // key frame
		"\xa6\x03avc1\x01\x00\x00\x00\x01\x41",                 // of another track
		"\xa3avc1\x00\x00\x00\x01\x41",                         // and one after it
	} {
		tags = append(tags, flv.Tag{Type: flv.TypeVideo, Timestamp: uint32(max(i-1, 0) * 40), Data: []byte(body)})
	}
	id := recordTags(t, a, tags)
	h := newRig(t, func(c *configs) { c.archive = a })
	url := strings.Replace(h.url, "/live/", "/rec/live/camera/", 1)
	bodies := func(caps rtmp.Capabilities) (got []string) {
		c := rtmp.Client{Capabilities: caps, Dial: h.client.Dial}
		p, err := c.Play(t.Context(), url+id)
		require.NoError(t, err)
		defer p.Close()
		for {
			tag, err := p.ReadTag()
			if err != nil {
				return got
			}
			if tag.Type == flv.TypeVideo {
				got = append(got, string(tag.Data))
			}
		}
	}
	assert.Equal(t, []string{
		"\x17\x00\x00\x00\x00\x01\x64\x00\x1f\xff\xe1\x00\x00\x01\x00\x00",
		"\x17\x01\x00\x00\x00\x00\x00\x00\x01\x65", "\x27\x01\x00\x00\x00\x00\x00\x00\x01\x41",
	}, bodies(rtmp.Capabilities{}))
	var sent []string
	for _, tag := range tags {
		sent = append(sent, string(tag.Data))
	}
	assert.Equal(t, sent, bodies(rtmp.AllCapabilities()))
}

// Frames of megabytes go out whole, with a session's answers between them, in and
// outside of TCP.
func TestRecordingWithLargeFrames(t *testing.T) {
	a := newArchive(t)
	w := begin(t, a, recorded, headersAt(0))
	var want []string
	for at := range 5 {
		tag := tag("K")
		tag.Timestamp, tag.Data = uint32(at*1000), append(tag.Data, bytes.Repeat([]byte{byte(at)}, 3<<20)...)
		write(t, w, []flvfile.Packet{{Tag: tag, Time: int64(at) * 1000, Key: true}})
		want = append(want, word(tag))
	}
	r, err := w.Finish(archive.StateFinished)
	require.NoError(t, err)
	for _, tt := range []struct {
		rig  func(testing.TB, ...func(*configs)) *rig
		dial func(*rig, string) *peer
	}{{newRig, (*rig).dial}, {newPipeRig, (*rig).dialPipe}} {
		h := tt.rig(t, func(c *configs) { c.archive, c.server.MaxCommands = a, 1_000_000 })
		p := tt.dial(h, "rec/live/camera")
		p.playRecording(r.ID)
		p.expect(saidBegin, "meta@0", headersAt(0))
		var got []string
		for len(got) < len(want) {
			p.command(0, "anything", 9.0, nil)
			if w := p.word(); w != "_result" {
				got = append(got, w)
			}
		}
		assert.Equal(t, want, got)
		p.Close()
	}
}

// A player costs a goroutine and little memory, at whichever place it is and however large
// frames are.
func TestRecordingPlayersAreCheap(t *testing.T) {
	const players = 100
	h, id := newRecordings(t, 100_000)
	memory := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	peers := make([]*peer, players)
	for i := range peers {
		peers[i] = h.dial("rec/live/camera")
		peers[i].command(0, "anything", 9.0, nil)
		peers[i].result(9)
	}
	goroutines, before := runtime.NumGoroutine(), memory()
	for i, p := range peers {
		stream := p.stream()
		p.command(stream, "play", 0.0, nil, id, float64(i*1000))
		for p.word() != "meta@0" {
		}
	}
	assert.Less(t, int(memory()-before)/players, 90<<10, "bytes each, both ends") // the race detector's included
	assert.LessOrEqual(t, runtime.NumGoroutine()-goroutines, players+20)
	t.Logf("%d bytes, %.1f goroutines each", int(memory()-before)/players, float64(runtime.NumGoroutine()-goroutines)/players)
}

// Metadata that says no last timestamp, or makes no sense, stays as it is.
func TestEndsWithLastPacket(t *testing.T) {
	metadata := func(properties ...any) string {
		array := amf.ECMAArray{}
		for i := 0; i < len(properties); i += 2 {
			array = append(array, amf.Property{Name: properties[i].(string), Value: properties[i+1]})
		}
		return string(amf.AppendAMF0(nil, "onMetaData", array))
	}
	for body, want := range map[string]string{
		metadata("a", "b", "duration", 5.0, "lasttimestamp", 4.96): metadata("a", "b", "duration", 4.96, "lasttimestamp", 4.96),
		metadata("duration", 4.96, "lasttimestamp", 5.0):           metadata("duration", 4.96, "lasttimestamp", 5.0),
		metadata("duration", 5.0):                                  metadata("duration", 5.0),
		metadata("duration", "5", "lasttimestamp", 4.0):            metadata("duration", "5", "lasttimestamp", 4.0),
		metadata("duration", 5.0, "lasttimestamp", "x"):            metadata("duration", 5.0, "lasttimestamp", "x"),
		"":                       "",
		"\x02\x00\x0aonMetaData": "\x02\x00\x0aonMetaData",
		"\x02\x00\xffonMetaData": "\x02\x00\xffonMetaData",
	} {
		assert.Equal(t, want, string(endsWithLastPacket([]byte(body))))
	}
}

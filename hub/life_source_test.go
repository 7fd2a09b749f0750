package hub_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
)

// lifeSource is a source whose headers are real ones, written by the names of
// lifeFormats: "vc:360p", "ac:44k". A "'" behind the name stands for the other bytes
// that say the same. It can send frames at their pace, and then lets viewers look.
type lifeSource struct {
	*source
	viewers  []*lifeViewer
	pictures bool // the last thing it sent at its pace had pictures
}

func publishLife(t *testing.T, h *hub.Hub, words ...string) *lifeSource {
	t.Helper()
	s := &lifeSource{source: publish(t, h, client{})}
	s.send(words...)
	return s
}

func (s *lifeSource) send(words ...string) {
	s.t.Helper()
	for _, w := range strings.Fields(strings.Join(words, " ")) {
		kind, rest, _ := strings.Cut(w, ":")
		name, _, _ := strings.Cut(rest, "@")
		header, ok := lifeHeader(name)
		if t := tag(w); ok && strings.HasSuffix(kind, "c") {
			t.Data = append(t.Data[:len(t.Data)-len(name)], header...)
			require.NoError(s.t, s.Write(t), w)
			continue
		}
		s.source.send(w)
	}
}

// lifeHeader returns the header of a name.
func lifeHeader(name string) (header []byte, ok bool) {
	name, equal := strings.CutSuffix(name, "'")
	for _, f := range lifeFormats {
		if f.name == name && f.header != nil {
			if equal {
				return f.equal, true
			}
			return f.header, true
		}
	}
	return nil, false
}

// sendLive publishes for a time, at its pace, on a clock that goes on: a picture ("V")
// each 40 ms, with a key frame each second, and sound ("A" or "M") as it comes at 48 kHz.
// The payload of each frame is its timestamp.
func (s *lifeSource) sendLive(kinds string, long time.Duration) {
	s.t.Helper()
	sound := strings.Trim(kinds, "V")
	for until := s.clock + uint32(long.Milliseconds()); s.clock < until; s.clock += 20 {
		if strings.Contains(kinds, "V") && s.clock%40 == 0 {
			kind := "P"
			if s.clock%1000 == 0 || !s.pictures {
				kind = "K"
			}
			s.source.send(fmt.Sprintf("%s:%d@%d", kind, s.clock, s.clock))
			s.pictures = true
		}
		for n := (s.clock*3 + 63) / 64; n*64/3 < s.clock+20; n++ {
			if ts := n * 64 / 3; sound != "" && ts >= s.clock {
				s.source.send(fmt.Sprintf("%s:%d@%d", sound, ts, ts))
			}
		}
		time.Sleep(20 * time.Millisecond)
		for _, v := range s.viewers {
			v.look()
		}
	}
	s.pictures = strings.Contains(kinds, "V")
}

// lifeViewer is a sink that keeps what it got.
type lifeViewer struct {
	*sink
	opts   hub.WatchOptions
	source *lifeSource
	got    []flv.Tag
}

// watch makes a viewer that starts at once, and looks whenever sendLive lets it.
func (s *lifeSource) watch(h *hub.Hub, opts hub.WatchOptions) *lifeViewer {
	s.t.Helper()
	v := &lifeViewer{sink: watch(s.t, h, opts), opts: opts, source: s}
	v.look()
	s.viewers = append(s.viewers, v)
	return v
}

func (v *lifeViewer) look() { v.got = append(v.got, v.take()...) }

// told returns the tracks of which a viewer is told, by Tracks and by metadata alike.
func (v *lifeViewer) told() string {
	v.t.Helper()
	audio, video := v.Tracks()
	require.NotEmpty(v.t, v.got)
	_, object := script(v.got[0])
	told := ""
	for _, track := range []struct {
		there         bool
		name, has, id string
	}{{audio, "a", "hasAudio", "audiocodecid"}, {video, "v", "hasVideo", "videocodecid"}} {
		has, _ := object.Get(track.has)
		_, named := object.Get(track.id)
		assert.Equal(v.t, track.there, has, track.has)
		assert.Equal(v.t, track.there, named, track.id)
		if track.there {
			told += track.name
		}
	}
	return told
}

// silent requires that a viewer got silence in the place of sound for so long, or up to
// the second more that it takes until that begins, and that it keeps to the picture.
func (v *lifeViewer) silent(long time.Duration) {
	v.t.Helper()
	var sound, picture flv.Tag
	filled := uint32(0)
	for _, t := range v.got {
		switch {
		case t.Type == flv.TypeVideo:
			picture = t
		case t.Type == flv.TypeAudio && filling(t):
			step := t.Timestamp - sound.Timestamp
			if filled += step; filling(sound) {
				assert.InDelta(v.t, 22, step, 3, "from %d to %d", sound.Timestamp, t.Timestamp)
			}
			fallthrough
		case t.Type == flv.TypeAudio:
			sound = t
		}
	}
	if long == 0 {
		assert.Zero(v.t, filled)
		return
	}
	assert.InDelta(v.t, long.Milliseconds()+600, filled, 850)
	assert.InDelta(v.t, picture.Timestamp, sound.Timestamp, 450, "sound beside the picture")
}

// real requires that a viewer got everything that was sent in the last so many
// milliseconds, in sync; sound in the place of which it had silence may be missing.
func (v *lifeViewer) real(long time.Duration) {
	v.t.Helper()
	begin := int64(v.source.clock) - long.Milliseconds()
	last := map[flv.Type]int64{}
	deltas := map[int64]int{}
	spared := false
	for _, t := range v.got {
		_, name, _ := strings.Cut(word(t), ":")
		name, _, _ = strings.Cut(name, "@")
		sent, err := strconv.ParseInt(name, 10, 64)
		if err != nil || sent < begin {
			spared = spared || filling(t)
			continue
		}
		step := map[flv.Type]int64{flv.TypeVideo: 40, flv.TypeAudio: 22}[t.Type]
		if before, ok := last[t.Type]; ok {
			assert.LessOrEqual(v.t, sent-before, step, "%v behind %d", word(t), before)
		} else if spared && t.Type == flv.TypeAudio {
			assert.LessOrEqual(v.t, sent, begin+600)
		} else {
			assert.Less(v.t, sent, begin+step, "the first of %v", t.Type)
		}
		last[t.Type] = sent
		if sent > begin+1000 {
			deltas[int64(t.Timestamp)-sent]++
		}
	}
	assert.Len(v.t, last, 2, "tracks")
	for typ, sent := range last {
		assert.Greater(v.t, sent, int64(v.source.clock)-45, "the last of %v", typ)
	}
	assert.Len(v.t, deltas, 1, "sound and picture are as far apart as they were sent")
}

// lifeWords is words with the names of headers, and "fill" for a frame of sound that
// the publisher did not send.
func lifeWords(tags []flv.Tag) string {
	var all []string
	for _, t := range tags {
		w := word(t)
		if filling(t) {
			w = fmt.Sprintf("fill@%d", t.Timestamp)
		}
		for _, f := range lifeFormats {
			for _, name := range []string{f.name, f.name + "'"} {
				header, _ := lifeHeader(name)
				if want := f.config(header); header != nil && t.Type == want.Type && string(t.Data) == string(want.Data) {
					kind, _, _ := strings.Cut(w, ":")
					w = fmt.Sprintf("%s:%s@%d", kind, name, t.Timestamp)
				}
			}
		}
		all = append(all, w)
	}
	return strings.Join(all, " ")
}

// filling reports whether a tag is a frame of silence: an AAC channel element, of one
// channel or two, in the place of the payloads of tests.
func filling(t flv.Tag) bool {
	p, err := t.Packet()
	if err != nil || p.Codec != flv.CodecAAC || p.Kind != flv.KindFrame || len(p.Payload) == 0 {
		return false
	}
	first := p.Payload[0]
	return first>>5 <= 1 && (first < '0' || first > '9')
}

package check

import (
	"bytes"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
)

func mustClip(t testing.TB) *clip {
	t.Helper()
	c, err := newClip()
	require.NoError(t, err)
	return c
}

// The clip has a key frame each second, and no frame twice.
func TestClip(t *testing.T) {
	c, other := mustClip(t), mustClip(t)
	seen := make(map[string]bool)
	for n := range 1000 {
		for track, kind := range map[int]flv.Type{trackVideo: flv.TypeVideo, trackAudio: flv.TypeAudio} {
			tag := c.frame(track, n)
			require.Equal(t, kind, tag.Type)
			require.False(t, seen[string(tag.Data)], "frame %d of track %d twice", n, track)
			seen[string(tag.Data)] = true
			require.NotEqual(t, tag.Data, other.frame(track, n).Data, "of another test")
			p, err := tag.Packet()
			require.NoError(t, err)
			require.Equal(t, flv.KindFrame, p.Kind)
			if track == trackVideo {
				require.Equal(t, n%25 == 0, p.Key)
				require.Equal(t, uint32(40*n), tag.Timestamp)
			}
		}
	}
	assert.Equal(t, uint32(21), c.frame(trackAudio, 1).Timestamp)
	assert.Equal(t, uint32(1024_000/48), c.frame(trackAudio, 1000).Timestamp)
	require.Len(t, c.header, 3)
}

// A decoder takes the clip without a word.
func TestClipDecodes(t *testing.T) {
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("no ffmpeg: apt-get install ffmpeg")
	}
	c := mustClip(t)
	var file bytes.Buffer
	w := flv.NewWriter(&file, true, true)
	for _, tag := range c.header {
		require.NoError(t, w.WriteTag(tag))
	}
	for n := range 150 { // once around the pictures, and on
		require.NoError(t, w.WriteTag(c.frame(trackVideo, n)))
		require.NoError(t, w.WriteTag(c.frame(trackAudio, n)))
	}
	path := t.TempDir() + "/clip.flv"
	require.NoError(t, os.WriteFile(path, file.Bytes(), 0o600))
	out, err := exec.CommandContext(t.Context(), ffmpeg, "-v", "warning", "-xerror", "-err_detect", "explode",
		"-i", path, "-f", "null", "-").CombinedOutput()
	require.NoError(t, err, string(out))
	assert.Empty(t, string(out))
}

// sentFrames are what was sent.
type sentFrames struct {
	clip *clip
	all  map[string]sent
}

func newSent(t *testing.T, at time.Time) *sentFrames {
	s := &sentFrames{mustClip(t), make(map[string]sent)}
	for n := range 100 {
		for track := range bothTracks {
			tag := s.clip.frame(track, n)
			s.all[string(tag.Data)] = sent{track, n, tag.Timestamp, at.Add(due(tag))}
		}
	}
	return s
}

// What a comparison finds of frames that came.
func TestComparison(t *testing.T) {
	began := time.Now()
	s := newSent(t, began)
	for _, c := range []struct {
		name  string
		video []int
		move  func(n int, timestamp uint32) uint32
		want  map[finding]int
	}{
		{"all", []int{0, 1, 2, 3, 4}, nil, nil},
		{"from a later one on", []int{25, 26, 27}, nil, nil},
		{"moved as a whole", []int{0, 1, 2, 3}, func(_ int, ts uint32) uint32 { return ts - 1000 }, nil},
		{"over the end of 32 bits", []int{0, 1, 2, 3}, func(_ int, ts uint32) uint32 { return ts - 60 }, nil},
		{"rounded", []int{0, 1, 2, 3}, func(n int, ts uint32) uint32 { return ts + uint32(n%2) }, nil},
		{"a jump of the clock", []int{0, 1, 2, 3}, func(n int, ts uint32) uint32 { return ts + uint32(n/2*10) }, map[finding]int{findTime: 1}},
		{"three missing", []int{0, 1, 5, 6}, nil, map[finding]int{findMissing: 3}},
		{"twice", []int{0, 1, 1, 2, 0}, nil, map[finding]int{findTwice: 2}},
		{"out of order", []int{0, 2, 1, 3}, nil, map[finding]int{findMissing: 1, findOrder: 1}},
	} {
		tr := &trace{began: began}
		cmp := &comparison{header: s.clip.header, trace: tr, joined: began.Add(50 * time.Millisecond)}
		cmp.find = func(body []byte) (sent, bool) { f, ok := s.all[string(body)]; return f, ok }
		for _, header := range s.clip.header {
			cmp.take(header, began)
		}
		for i, n := range c.video {
			tag := s.clip.frame(trackVideo, n)
			at := began.Add(due(tag) + 7*time.Millisecond)
			if c.move != nil {
				tag.Timestamp = c.move(i, tag.Timestamp)
			}
			cmp.take(tag, at)
		}
		cmp.finish()
		for kind := range findingKinds {
			assert.Equal(t, c.want[kind], cmp.findings[kind].count, "%s: %s", c.name, findingWords[kind])
		}
		assert.False(t, tr.picture.IsZero(), c.name)
		median, longest := cmp.delay()
		assert.Equal(t, 7*time.Millisecond, median, c.name)
		assert.Equal(t, 7*time.Millisecond, longest, c.name)
	}
}

// A server that begins at the live edge is told, and is none that fails.
func TestLiveEdge(t *testing.T) {
	began := time.Now()
	s := newSent(t, began)
	tr := &trace{began: began}
	c := &comparison{header: s.clip.header, trace: tr}
	c.find = func(body []byte) (sent, bool) { f, ok := s.all[string(body)]; return f, ok }
	for _, header := range s.clip.header {
		c.take(header, began)
	}
	for n := 20; n < 30; n++ {
		c.take(s.clip.frame(trackVideo, n), began)
		c.take(s.clip.frame(trackAudio, 2*n), began)
	}
	var r row
	r.compared(c)
	require.Len(t, r.Notes, 1)
	assert.Contains(t, r.Notes[0], "keeps no GOP")
	tst := &tester{options: options{times: testTimes}}
	assert.Equal(t, "missing", tst.framesFault(c).Word, "every other frame of sound")
}

// What a server may send costs no more than that, and is no panic.
func FuzzComparison(f *testing.F) {
	c := mustClip(f)
	for _, tag := range append(c.header, c.frame(trackVideo, 0), c.frame(trackAudio, 0)) {
		f.Add(byte(tag.Type), tag.Timestamp, tag.Data)
	}
	f.Fuzz(func(t *testing.T, kind byte, timestamp uint32, data []byte) {
		cmp := &comparison{header: c.header, trace: &trace{}}
		cmp.find = func(body []byte) (sent, bool) { return sent{track: trackVideo, number: len(body)}, len(body)%2 == 0 }
		cmp.take(flv.Tag{Type: flv.Type(kind), Timestamp: timestamp, Data: data}, time.Now())
		cmp.take(flv.Tag{Type: flv.Type(kind), Timestamp: timestamp + 1, Data: data}, time.Now())
		cmp.finish()
	})
}

// FuzzWords: what a server says is printed on one line, whatever it is.
func FuzzWords(f *testing.F) {
	f.Add("no \x1b[31m\nway sign=abc", "key")
	f.Add("\xff\xfe long "+string(bytes.Repeat([]byte("ä"), 300)), "ä")
	f.Fuzz(func(t *testing.T, text, key string) {
		o := options{publishKey: key}
		said := (&tester{options: o}).clean(text)
		assert.LessOrEqual(t, len(said), maxSaid+len("…"))
		assert.NotContains(t, said, "\n")
		assert.NotContains(t, said, "\x1b")
		reasonIn([]byte(text))
	})
}

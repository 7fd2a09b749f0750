package bench

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"sluice/flv"
)

// stand is a checker with a publication that has sent some frames.
type stand struct {
	*checker
	at time.Time
}

// newStand returns a checker of a stream of which the first frames were sent, one
// each ms.
func newStand(t testing.TB, sent int64) *stand {
	l := builtIn(t)
	p := &publication{loop: l, times: new(sendTimes), start: time.Now()}
	s := &stand{checker: &checker{loop: l, from: p, measuring: func() bool { return true }}, at: p.start}
	s.send(sent)
	return s
}

// send sends n frames more.
func (s *stand) send(n int64) {
	for range n {
		n := s.from.sent.Load()
		s.at = s.at.Add(time.Millisecond)
		s.from.times[n%int64(len(s.from.times))].Store(moment(s.at))
		s.from.sent.Store(n + 1)
	}
}

// headers gives the codec headers to the checker.
func (s *stand) headers() {
	for _, tag := range s.loop.header {
		s.tag(tag, s.at)
	}
}

// frames gives frames of the stream to the checker, with timestamps from 0.
func (s *stand) frames(from, to int64, change ...func(n int64, tag *flv.Tag) bool) {
	for n := from; n < to; n++ {
		tag := s.loop.tag(n)
		keep := true
		for _, f := range change {
			keep = keep && f(n, &tag)
		}
		if keep {
			s.tag(tag, s.at)
		}
	}
}

// interFrame is the number of a frame somewhere in a GOP.
const interFrame = 300

func TestCheckerAcceptsWhatWasPublished(t *testing.T) {
	lap := int64(575)
	for _, first := range []int64{0, lap, 7 * lap, 100 * lap} {
		s := newStand(t, first+200)
		s.headers()
		s.frames(first, first+200, func(n int64, tag *flv.Tag) bool {
			tag.Timestamp -= s.loop.tag(first).Timestamp // its time begins at 0
			return true
		})
		s.send(3 * lap)
		s.frames(first+200, first+200+3*lap, func(n int64, tag *flv.Tag) bool {
			tag.Timestamp -= s.loop.tag(first).Timestamp
			return true
		})
		assert.Zero(t, s.bad(), s.first)
		assert.Equal(t, 200+3*lap, s.Frames)
		assert.Equal(t, first+200+3*lap-1, s.newest)
		assert.Zero(t, s.gaps)
		assert.False(t, s.picture.IsZero())
	}
}

func TestCheckerFindsWhatIsWrong(t *testing.T) {
	video := func(n int64, l *loop) bool { return l.tag(n).Type == flv.TypeVideo }
	for name, c := range map[string]struct {
		stream func(s *stand)
		want   findings
		first  string
	}{
		"a lost video frame": {func(s *stand) {
			s.headers()
			s.frames(0, 575, func(n int64, _ *flv.Tag) bool { return n != nextOf(s.loop, videoTrack, interFrame) })
		}, findings{Frames: 574, Lost: 1}, "1 video frames"},
		"lost audio frames": {func(s *stand) {
			s.headers()
			s.frames(0, 575, func(n int64, tag *flv.Tag) bool { return n < 200 || n >= 260 || tag.Type == flv.TypeVideo })
		}, findings{Frames: 575 - 39, Lost: 39}, "39 audio frames"},
		"a lost lap": {func(s *stand) {
			s.headers()
			s.frames(0, 100)
			s.send(1000)
			s.frames(675, 800)
		}, findings{Frames: 225, Lost: 575}, "frames before"},
		"an unequal frame": {func(s *stand) {
			s.headers()
			s.frames(0, 575, func(n int64, tag *flv.Tag) bool {
				if n == interFrame {
					tag.Data = bytes.Clone(tag.Data)
					tag.Data[len(tag.Data)-1] ^= 1
				}
				return true
			})
		}, findings{Frames: 575, Unequal: 1}, "not what was published"},
		"a cut frame": {func(s *stand) {
			s.headers()
			s.frames(0, 575, func(n int64, tag *flv.Tag) bool {
				if n == interFrame {
					tag.Data = tag.Data[:len(tag.Data)-1]
				}
				return true
			})
		}, findings{Frames: 575, Unequal: 1}, "not what was published"},
		"frames in another order": {func(s *stand) {
			s.headers()
			a := nextOf(s.loop, videoTrack, interFrame)
			b := nextOf(s.loop, videoTrack, a+1)
			s.frames(0, a)
			s.frames(a, b+1, func(n int64, tag *flv.Tag) bool {
				if video(n, s.loop) {
					*tag = s.loop.tag(a + b - n)
				}
				return true
			})
			s.frames(b+1, 575)
		}, findings{Frames: 575, Reordered: 1}, "came after a later one"},
		"a frame twice": {func(s *stand) {
			s.headers()
			s.frames(0, interFrame)
			s.frames(interFrame-1, 575)
		}, findings{Frames: 576, Reordered: 1}, "after a later one"},
		"audio before video": {func(s *stand) { // is none of anybody's business
			s.headers()
			s.frames(0, 575, func(_ int64, tag *flv.Tag) bool { return tag.Type == flv.TypeAudio })
			s.frames(0, 575, func(_ int64, tag *flv.Tag) bool { return tag.Type == flv.TypeVideo })
		}, findings{Frames: 575}, ""},
		"a wrong timestamp": {func(s *stand) {
			s.headers()
			s.frames(0, 575, func(n int64, tag *flv.Tag) bool {
				if n >= interFrame { // from there on
					tag.Timestamp += 7
				}
				return true
			})
		}, findings{Frames: 575, BadTime: 2}, "ms"},
		"audio moved against video": {func(s *stand) {
			s.headers()
			s.frames(0, 575, func(n int64, tag *flv.Tag) bool {
				if tag.Type == flv.TypeAudio {
					tag.Timestamp += 200
				}
				return true
			})
		}, findings{Frames: 575, BadTime: 1}, "moved against each other"},
		"no key frame first": {func(s *stand) {
			s.headers()
			s.frames(1, 575)
		}, findings{Frames: 574, WrongStart: 1}, "without a key frame"},
		"no codec headers": {func(s *stand) {
			s.frames(0, 575)
		}, findings{Frames: 575, WrongStart: 2}, "without a codec header"},
		"another codec header": {func(s *stand) {
			s.headers()
			s.tag(flv.Tag{Type: flv.TypeVideo, Data: []byte("\x17\x00\x00\x00\x00\x01\x4d\x40\x28\xff")}, s.at)
			s.frames(0, 575)
		}, findings{Frames: 575, Unequal: 1}, "codec header differs"},
		"a malformed frame": {func(s *stand) {
			s.headers()
			s.frames(0, 10)
			s.tag(flv.Tag{Type: flv.TypeVideo, Timestamp: 500}, s.at)
			s.frames(10, 575)
		}, findings{Frames: 575, Malformed: 1}, "malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t, 575)
			c.stream(s)
			got := s.findings
			got.first = ""
			assert.Equal(t, c.want, got)
			if c.first == "" {
				assert.Empty(t, s.first)
			} else {
				assert.Contains(t, s.first, c.first)
			}
		})
	}
}

// nextOf returns the first frame of a track from frame n on.
func nextOf(l *loop, id trackID, n int64) int64 { return l.of(id, l.ordered(id, n)+1) }

// When the same piece has been sent many times, what comes first is the newest, for
// a viewer that reads at once, or what was sent before it joined.
func TestCheckerResolvesTheLap(t *testing.T) {
	s := newStand(t, 10*575+100)
	s.headers()
	s.frames(10*575, 10*575+100)
	assert.EqualValues(t, 10*575+99, s.newest)

	s = newStand(t, 10*575+100)
	s.early = 5*575 + 100
	s.headers()
	s.frames(5*575, 5*575+300)
	assert.EqualValues(t, 5*575+299, s.newest)
	assert.Zero(t, s.bad(), s.first)
}

func TestCheckerMeasuresLatency(t *testing.T) {
	s := newStand(t, 100)
	s.joined = moment(s.at)
	s.headers()
	s.frames(0, 100)
	assert.Zero(t, s.latency.count, "what was sent before it joined does not count")
	s.send(1)
	s.at = s.at.Add(20 * time.Millisecond)
	s.frames(100, 101)
	assert.EqualValues(t, 1, s.latency.count)
	assert.Equal(t, 20*time.Millisecond, s.latency.most)
	s.measuring = func() bool { return false }
	s.send(1)
	s.frames(101, 102)
	assert.EqualValues(t, 1, s.latency.count)
}

func TestGaps(t *testing.T) {
	s := newStand(t, 100)
	s.headers()
	s.frames(0, 100)
	s.send(1900)
	s.frames(575, 700)
	assert.Equal(t, 1, s.gaps)
	assert.Zero(t, s.rough)
	s.frames(900, 1000)
	assert.Equal(t, 2, s.gaps)
	assert.EqualValues(t, 1, s.rough, "not at a key frame")
	assert.Contains(t, s.broken, "without a key frame")
}

func TestCheckerOfAForeignStream(t *testing.T) {
	s := newStand(t, 575)
	l := s.loop
	s.checker = &checker{}
	s.loop = nil
	feed := func(from, to int64) {
		for n := from; n < to; n++ {
			s.tag(l.tag(n), s.at)
		}
	}
	feed(0, 575)
	assert.Zero(t, s.bad(), s.first)
	feed(1150, 1200)
	assert.Zero(t, s.bad(), s.first)
	assert.Equal(t, 1, s.gaps)
	assert.Zero(t, s.rough)
	feed(600, 601)
	assert.EqualValues(t, 1, s.BadTime)
	assert.Contains(t, s.first, "went back")
	feed(400, 500)
	assert.EqualValues(t, 1+2, s.BadTime)

	s.checker = &checker{}
	feed(1, 10)
	assert.EqualValues(t, 1, s.WrongStart)
}

package hub_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"sluice/flv"
	"sluice/hub"
)

// pace lets a publisher go on: what says, each 20 ms, what it sends.
func (s *lifeSource) pace(d time.Duration, what func(ms uint32) string) {
	for until := s.clock + uint32(d.Milliseconds()); s.clock < until; s.clock += 20 {
		s.send(what(s.clock))
		time.Sleep(20 * time.Millisecond)
		for _, v := range s.viewers {
			v.look()
		}
	}
}

// shots are a picture each step ms, a key frame each gop ms; "" between.
func shots(ms, step, gop uint32) string {
	switch {
	case ms%step != 0:
		return ""
	case ms%gop == 0:
		return fmt.Sprintf("K:%d@%d ", ms, ms)
	}
	return fmt.Sprintf("P:%d@%d ", ms, ms)
}

func tone(kind string, ms uint32) string { return fmt.Sprintf("%s:%d@%d ", kind, ms, ms) }

// inALife has do done with a publisher that has sent the words.
func inALife(t *testing.T, words string, do func(t *testing.T, h *hub.Hub, p *lifeSource)) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		do(t, h, publishLife(t, h, words))
	})
}

// Pictures that come in fits, as of a screen that is shared or an encoder that leaves out
// what its line can't take, end a player a few times at the most, until that is known.
func TestPicturesInFits(t *testing.T) {
	for name, on := range map[string]func(ms uint32) bool{
		"screen: 1 s of pictures, 6 s of none":       func(ms uint32) bool { return ms%7000 < 1000 },
		"OBS drops what is left of each GOP of 10 s": func(ms uint32) bool { return ms%10000 < 6000 },
	} {
		inALife(t, "vc:360p ac:48k", func(t *testing.T, h *hub.Hub, p *lifeSource) {
			gop := map[bool]uint32{true: 7000, false: 10000}[name[0] == 's']
			ends := 0
			for range 120 {
				p.pace(time.Second, func(ms uint32) string {
					if on(ms) {
						return shots(ms, 40, gop) + tone("A", ms)
					}
					return tone("A", ms)
				})
				if len(p.viewers) > 0 && p.viewers[0].end == hub.ReasonNone {
					continue
				}
				ends += len(p.viewers)
				p.viewers = nil
				p.watch(h, fixedPlayer)
			}
			assert.LessOrEqual(t, ends, 4, "%s: ended in 2 minutes", name)
		})
	}
}

// A sound header in the middle of a long GOP keeps nobody from the picture that is there.
func TestSoundHeaderInLongGOP(t *testing.T) {
	for _, c := range [][2]string{{"vc:360p", "ac:48k"}, {"vc:360p ac:48k", "ac:mono"}} {
		inALife(t, c[0], func(t *testing.T, h *hub.Hub, p *lifeSource) {
			all := func(ms uint32) string { return shots(ms, 40, 10000) + tone("A", ms) }
			p.pace(2*time.Second, all)
			p.send(c[1])
			for _, o := range []hub.WatchOptions{fixedPlayer, onlyVideo, rtmpPlayer} {
				_, done := waiting(t, h, o)
				begin := time.Now()
				go func() { <-done; assert.Less(t, time.Since(begin), 2*time.Second, "%+v", o) }()
			}
			p.pace(9*time.Second, all)
		})
	}
}

// A viewer of sound alone starts at the live edge while the sound is filled, too.
func TestOnlyAudioWhileMuted(t *testing.T) {
	inALife(t, "vc:360p ac:48k", func(t *testing.T, h *hub.Hub, p *lifeSource) {
		p.pace(10*time.Second, func(ms uint32) string { return shots(ms, 40, 10000) + tone("A", ms) })
		p.pace(9*time.Second, func(ms uint32) string { return shots(ms, 40, 10000) })
		v := p.watch(h, onlyAudio)
		assert.InDelta(t, 400, v.got[len(v.got)-1].Timestamp, 150, "behind the live edge")
	})
}

// Sound whose clock stood while it was muted is in step with the picture again, which
// does not move.
func TestSoundInStepAfterItsClockStood(t *testing.T) {
	for _, stand := range []uint32{1500, 2000, 3000, 9000} {
		inALife(t, "meta:av vc:360p ac:48k", func(t *testing.T, h *hub.Hub, p *lifeSource) {
			p.pace(5*time.Second, func(ms uint32) string { return shots(ms, 40, 2000) + tone("A", ms) })
			v := p.watch(h, fixedPlayer)
			p.pace(time.Duration(stand)*time.Millisecond, func(ms uint32) string { return shots(ms, 40, 2000) })
			p.pace(30*time.Second, func(ms uint32) string {
				return shots(ms, 40, 2000) + fmt.Sprintf("A:%d@%d", ms, ms-stand)
			})
			last := map[flv.Type]int64{}
			for _, g := range v.got {
				if g.Type == flv.TypeVideo && last[g.Type] > 0 {
					assert.LessOrEqual(t, int64(g.Timestamp)-last[g.Type], int64(60), "the picture leaps")
				}
				last[g.Type] = int64(g.Timestamp)
			}
			assert.InDelta(t, last[flv.TypeVideo], last[flv.TypeAudio], 250, "stood for %d ms", stand)
		})
	}
}

// Sound that can't be filled is gone in time beside pictures that are seconds apart.
func TestMuteBesideSparsePictures(t *testing.T) {
	for _, step := range []uint32{1000, 5000} {
		inALife(t, "vc:360p", func(t *testing.T, h *hub.Hub, p *lifeSource) {
			p.pace(15500*time.Millisecond, func(ms uint32) string { return shots(ms, step, step) + tone("M", ms) })
			v := p.watch(h, fixedPlayer)
			p.pace(time.Duration(max(4000, 2*step))*time.Millisecond, func(ms uint32) string { return shots(ms, step, step) })
			assert.Equal(t, hub.ReasonCodecChanged, v.end, "a picture each %d ms", step)
		})
	}
}

// One frame of sound that can't be filled makes nobody wait for another one.
func TestOneFrameOfSound(t *testing.T) {
	inALife(t, "vc:360p", func(t *testing.T, h *hub.Hub, p *lifeSource) {
		p.pace(200*time.Millisecond, func(ms uint32) string { return shots(ms, 40, 2000) })
		p.send("M:0@200")
		v := p.watch(h, fixedPlayer)
		p.pace(5200*time.Millisecond, func(ms uint32) string { return shots(ms, 40, 2000) })
		assert.Equal(t, hub.ReasonCodecChanged, v.end, "told of sound that does not come")
	})
}

package gateway

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Nothing of the old position follows a seek's notification, and nothing is left out
// or sent twice, in any order of seeks and pauses.
func TestStormOfSeeksAndPauses(t *testing.T) {
	const length = 60_000
	h, id := newRecordings(t, length, func(c *configs) { c.server.MaxCommands = 10_000 })
	random := randomly(t)
	p := h.dial("rec/live/camera")
	stream := p.stream()
	p.setBuffer(stream, 2000)
	p.command(stream, "play", 0.0, nil, id)
	p.expect(saidBegin, "meta@0", headersAt(0))
	storm := storm{p: p, paused: false, next: 0}
	for range 200 {
		switch random.IntN(4) {
		case 0:
			p.command(stream, "pause", 0.0, nil, true, float64(storm.last()))
			storm.asked = append(storm.asked, "Pause.Notify")
		case 1:
			p.command(stream, "pause", 0.0, nil, false, float64(storm.last()))
			storm.asked = append(storm.asked, "Unpause.Notify")
		default:
			to := random.IntN(length - 10_000)
			p.command(stream, "seek", 0.0, nil, float64(to))
			storm.asked = append(storm.asked, fmt.Sprint(to))
		}
		for range random.IntN(40) {
			if !storm.read(false) {
				break
			}
		}
	}
	for len(storm.asked) > 0 {
		storm.read(true)
	}
	p.command(stream, "pause", 0.0, nil, false, 0.0)
	p.setBuffer(stream, downloads)
	storm.asked = append(storm.asked, "Unpause.Notify")
	for storm.next < length {
		storm.read(true)
	}
	p.expect(saidWhole)
}

// storm checks what a player is sent that seeks and pauses at random.
type storm struct {
	p       *peer
	asked   []string // and not answered yet
	paused  bool
	picture bool // one is due although paused
	headers bool // are due
	next    int  // time of the next packet
}

// last is the time of the packet that was read last.
func (s *storm) last() int { return max(s.next-frameTime/2, 0) }

// read reads and checks one message; it returns false if none may come before something is
// asked, and wait is not set.
func (s *storm) read(wait bool) bool {
	if !wait && len(s.asked) == 0 && (s.paused && !s.picture || s.next > s.next/gop*gop+gop/2) {
		return false
	}
	p := s.p
	word := p.word()
	switch word {
	case "Pause.Notify", "Unpause.Notify":
		require.Equal(p.t, s.asked[0], word)
		pause := word == "Pause.Notify"
		s.picture = s.picture && s.paused && pause
		s.asked, s.paused = s.asked[1:], pause
		return true
	case "1:1":
		p.expect("Seek.Notify 0:1")
		to := 0
		fmt.Sscan(s.asked[0], &to)
		s.asked = s.asked[1:]
		s.next, s.headers, s.picture = to/gop*gop, true, s.paused
		return true
	}
	require.False(p.t, s.paused && !s.picture, "%s while paused", word)
	if s.headers {
		require.Equal(p.t, strings.Fields(headersAt(s.next))[0], word)
		p.expect(strings.Fields(headersAt(s.next))[1])
		s.headers = false
		return true
	}
	want := fmt.Sprintf("P:%d@%[1]d", s.next)
	switch {
	case s.next%gop == 0:
		want = fmt.Sprintf("K:%d@%[1]d", s.next)
	case s.next%frameTime != 0:
		want = fmt.Sprintf("A:%d@%[1]d", s.next)
	}
	require.Equal(p.t, want, word)
	s.next += frameTime / 2
	s.picture = false
	return true
}

// Media comes as far ahead as the player buffers, and a second more, and then in real time.
func TestRecordingIsPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newArchive(t)
		id := record(t, a, recorded, headersAt(0), film(0, 100_000))
		h := newPipeRig(t, func(c *configs) { c.archive = a })
		p := h.dialPipe("rec/live/camera")
		stream := p.stream()
		words := make(chan string, 10_000)
		go func() {
			defer close(words)
			for {
				m, err := p.read()
				if err != nil {
					return
				}
				if w := p.wordOfAny(m); w != "" {
					words <- w
				}
			}
		}()
		// sent returns the time of the newest packet that has come, and looks at the rest.
		newest := -1
		sent := func() int {
			synctest.Wait()
			for len(words) > 0 {
				at := 0
				if w := <-words; strings.ContainsAny(w[:1], "KPA") && strings.Contains(w, ":") {
					_, text, _ := strings.Cut(w, ":")
					fmt.Sscan(text, &at)
					newest = at
				}
			}
			return newest
		}
		within := func(at int) {
			t.Helper()
			got := sent()
			assert.LessOrEqual(t, got, at)
			assert.Greater(t, got, at-frameTime/2-int(merge.Milliseconds()))
		}
		p.command(stream, "play", 0.0, nil, id)
		within(4000) // 3 s, of which nothing was said
		time.Sleep(2 * time.Second)
		within(6000)
		p.setBuffer(stream, 10_000)
		within(13_000)
		time.Sleep(time.Second)
		within(14_000)
		p.setBuffer(stream, 1000) // nothing until that is shown
		within(14_000)
		time.Sleep(5 * time.Second)
		within(14_000)
		time.Sleep(5 * time.Second)
		within(15_000)
		p.command(stream, "pause", 0.0, nil, true, 10_000.0)
		time.Sleep(time.Hour)
		within(15_000)
		p.command(stream, "seek", 0.0, nil, 51_000.0)
		assert.Equal(t, 50_000, sent())
		time.Sleep(time.Hour)
		assert.Equal(t, 50_000, sent())
		p.command(stream, "pause", 0.0, nil, false, 50_000.0)
		within(52_000)
		time.Sleep(3 * time.Second)
		within(55_000)
		p.setBuffer(stream, downloads)
		assert.Equal(t, 99_900, sent())
		// It may still seek for a while.
		time.Sleep(seekableFor + maxSeekable - time.Second)
		p.command(stream, "seek", 0.0, nil, 99_000.0)
		assert.Equal(t, 99_900, sent())
		time.Sleep(seekableFor + maxSeekable + time.Second)
		synctest.Wait()
		_, open := <-words
		for open {
			_, open = <-words
		}
		p.Close()
	})
}

// What is newer than the player says follows a pause, and nothing twice.
func TestRecordingPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newArchive(t)
		id := record(t, a, recorded, headersAt(0), film(0, 60_000))
		h := newPipeRig(t, func(c *configs) { c.archive = a })
		p := h.dialPipe("rec/live/camera")
		stream := p.stream()
		p.setBuffer(stream, 1000) // which makes 2 s
		pause := func(on bool, at float64) { p.command(stream, "pause", 0.0, nil, on, at) }
		p.command(stream, "play", 0.0, nil, id)
		p.expect(saidBegin, "meta@0", headersAt(0), film(0, 1400))
		pause(true, 1000)
		at := 1400
		for w := p.word(); w != "Pause.Notify"; w = p.word() {
			fmt.Sscan(w[strings.IndexByte(w, ':')+1:], &at) // what was under way
			at += frameTime / 2
		}
		pause(true, 1000) // once more
		p.expect("Pause.Notify")
		pause(false, 1000)
		p.expect("Unpause.Notify", filmFrom(at, at+1000))
		pause(false, 0) // as it is
		for w := p.word(); w != "Unpause.Notify"; w = p.word() {
		}

		// A seek while it pauses shows a picture; where it was before means nothing then.
		pause(true, 0)
		for w := p.word(); w != "Pause.Notify"; w = p.word() {
		}
		p.command(stream, "seek", 0.0, nil, 7000.0)
		p.command(stream, "seek", 0.0, nil, 5000.0)
		p.command(stream, "seek", 0.0, nil, 1e9) // there is no such place
		var words []string
		for len(words) == 0 || words[len(words)-1] != "Play.Stop" {
			words = append(words, p.word())
		}
		all := strings.Join(words, " ")
		assert.Contains(t, all, "Seek.InvalidTime "+strings.TrimSpace(saidWhole))
		p.command(stream, "seek", 0.0, nil, 5000.0)
		p.expect(saidSeek, headersAt(4000), "K:4000@4000")
		pause(false, 50_800) // where it was before
		p.expect("Unpause.Notify", filmFrom(4100, 5000))
		p.Close()
	})
}

// filmFrom is film from any packet on.
func filmFrom(from, to int) string {
	words := strings.Fields(film(from/gop*gop, to))
	return strings.Join(words[(from-from/gop*gop)/(frameTime/2):], " ")
}

package web

import (
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"

	"sluice/flv"
)

// videoOnly and audioOnly are what a publisher sends whose other track has stopped.
func videoOnly(tag flv.Tag, _, _ int) bool { return tag.Type == flv.TypeVideo }
func audioOnly(tag flv.Tag, _, _ int) bool { return tag.Type == flv.TypeAudio }

// standstill is for how long data comes and nothing moves before the page acts.
const standstill = 3 * time.Second

// passes waits for some time of the page's.
func passes(p *page, some time.Duration) {
	p.t.Helper()
	p.until(fmt.Sprintf("performance.now() > %f", eval[float64](p, "performance.now()")+float64(some.Milliseconds())))
}

// A track that is promised and does not come, from the beginning: the browser waits
// for it and shows nothing, until the page opens the stream anew.
func TestPageReopensWhatStaysBlack(t *testing.T) {
	for name, sends := range map[string]func(flv.Tag, int, int) bool{"video only": videoOnly, "audio only": audioOnly} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, p := newSource(t, true), browser(t)
			s.sendOnly(sends)
			p.open(s.URL + "/?stream=live/demo")
			p.until(state("reconnecting"))
			assert.Contains(t, eval[string](p, "document.getElementById('detail').textContent"), "No picture came although data did.")
			joins := s.joins(t, 2)
			assert.Greater(t, joins[1].Sub(joins[0]), standstill+240*time.Millisecond) // the least pause
			// The new attempt has data, and the page still says what is the matter.
			passes(p, time.Second)
			assert.Equal(t, 2, eval[int](p, "sluice.figures.sessions"))
			assert.Equal(t, "reconnecting", eval[string](p, "sluice.state"))
			s.sendOnly(nil)
			p.until("sluice.state === 'playing' && sluice.figures.framesDecoded > 30")
			assert.Positive(t, eval[int](p, "sluice.figures.frozen"))
			assert.Empty(t, eval[string](p, "sluice.reason"))
		})
	}
}

// A track that stops while the other one goes on freezes the picture.
func TestPageReopensWhatFreezes(t *testing.T) {
	for name, sends := range map[string]func(flv.Tag, int, int) bool{"sound stops": videoOnly, "picture stops": audioOnly} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, p := newSource(t, true), browser(t)
			p.open(s.URL + "/?stream=live/demo")
			p.until("sluice.state === 'playing' && sluice.figures.framesDecoded > 30")
			s.sendOnly(sends)
			p.until(state("buffering"))
			p.until(state("reconnecting"))
			assert.Contains(t, eval[string](p, "document.getElementById('detail').textContent"), "The picture stood still although data came.")
			assert.False(t, eval[bool](p, "document.getElementById('frozen').hidden"), "the last picture stands")
			s.sendOnly(nil)
			p.until("sluice.state === 'playing' && document.getElementById('frozen').hidden")
			assert.Equal(t, 1, eval[int](p, "sluice.figures.frozen"))
			assert.Equal(t, 2, eval[int](p, "sluice.figures.sessions"))
		})
	}
}

// Each attempt shows a moment and freezes again: the pauses grow all the same.
func TestPageReopensLessAndLessOften(t *testing.T) {
	s, p := newSource(t, true), browser(t)
	s.sendOnly(func(tag flv.Tag, _, since int) bool { return tag.Type == flv.TypeVideo || since < 700 })
	p.open(s.URL + "/?stream=live/demo")
	for i, pause := range []time.Duration{240, 480, 960, 1920} { // the first one, growing, and at random a fifth less
		joins := s.joins(t, i+2)
		assert.Greater(t, joins[i+1].Sub(joins[i]), standstill+pause*time.Millisecond)
	}
	assert.Equal(t, 4, eval[int](p, "sluice.figures.frozen"))
	assert.Equal(t, 5, eval[int](p, "sluice.figures.sessions"))
	assert.Positive(t, eval[int](p, "sluice.figures.framesDecoded"))
}

// What stands for a good reason, or does not stand, is left alone.
func TestPageLeavesAloneWhatHasReasonToStand(t *testing.T) {
	const long = standstill + 2*time.Second
	untouched := func(t *testing.T, p *page) {
		t.Helper()
		assert.Equal(t, 0, eval[int](p, "sluice.figures.frozen"))
		assert.Equal(t, 1, eval[int](p, "sluice.figures.sessions"))
	}
	t.Run("sound without picture", func(t *testing.T) {
		t.Parallel()
		s, p := newSource(t, true), browser(t)
		s.announce(flv.TypeAudio)
		s.sendOnly(audioOnly)
		p.open(s.URL + "/?stream=live/demo")
		p.until(state("playing"))
		p.until("sluice.time > 6")
		untouched(t, p)
		assert.Equal(t, 0, eval[int](p, "sluice.figures.framesDecoded"))
	})

	t.Run("a picture every 4 s", func(t *testing.T) {
		t.Parallel()
		s, p := newSource(t, true), browser(t)
		s.announce(flv.TypeVideo)
		s.sendOnly(func(tag flv.Tag, at, _ int) bool { return tag.Type == flv.TypeVideo && at%4000 == 0 })
		p.open(s.URL + "/?stream=live/demo")
		passes(p, 3*long) // the decoder wants some pictures before it gives one
		p.until("sluice.figures.framesDecoded > 0")
		passes(p, long)
		untouched(t, p)
	})

	t.Run("paused by hand", func(t *testing.T) {
		t.Parallel()
		s, p := newSource(t, true), browser(t)
		p.open(s.URL + "/?stream=live/demo")
		p.until(state("playing"))
		p.click("#pause")
		p.until(state("paused"))
		passes(p, long)
		untouched(t, p)
		assert.Equal(t, "paused", eval[string](p, "sluice.state"))
	})

	t.Run("hidden", func(t *testing.T) {
		t.Parallel()
		s, p := newSource(t, true), browser(t)
		p.open(s.URL + "/?stream=live/demo")
		p.until(state("playing"))
		p.run(chromedp.Evaluate[chromedp.Void]("void Object.defineProperty(document, 'hidden', { value: true, configurable: true })"))
		s.sendOnly(videoOnly)
		passes(p, long)
		untouched(t, p)
		p.run(chromedp.Evaluate[chromedp.Void]("void delete document.hidden"))
		p.until(state("reconnecting"))
	})

	t.Run("the publisher is gone", func(t *testing.T) {
		t.Parallel()
		s, p := newSource(t, true), browser(t)
		p.open(s.URL + "/?stream=live/demo")
		p.until(state("playing"))
		gone := demo()
		gone.State = "grace"
		s.set(gone)
		p.until("sluice.streams[0].state === 'grace'")
		s.sendOnly(videoOnly)
		p.until(state("waiting"))
		passes(p, long)
		untouched(t, p)
		s.set(demo())
		p.until(state("reconnecting"))
	})
}

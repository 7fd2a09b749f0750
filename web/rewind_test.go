package web

import (
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
)

// behind is the text that says how far behind live the picture is.
const behindText = "document.getElementById('lag').textContent"

// rewound opens the stream, of which some 43 s are recorded, and goes to a place in it.
func rewound(t *testing.T, s *source, place float64) *page {
	p := browser(t)
	s.recordIt("now")
	p.open(s.URL + "/?stream=live/demo")
	p.until("sluice.state === 'playing' && sluice.lag < sluice.target + 0.7")
	p.until("!document.getElementById('bar').hidden")
	assert.True(t, eval[bool](p, "document.getElementById('live').hidden"))
	assert.Equal(t, "Live", eval[string](p, "document.getElementById('seek').getAttribute('aria-valuetext')"))
	drag(p, place)
	p.until(fmt.Sprintf("sluice.state === 'playing' && sluice.lag > %f", 40*(1-place)))
	return p
}

// A live stream that is recorded goes back and forward, whether the server sends what
// lies between at once or as time goes.
func TestPageRewinds(t *testing.T) {
	t.Parallel()
	for name, paced := range map[string]bool{"at once": false, "paced": true} {
		t.Run(name, func(t *testing.T) {
			s := newSource(t, true)
			s.paced = paced
			p := rewound(t, s, 0.5)
			at := eval[float64](p, "sluice.lag")
			p.until("!document.getElementById('live').hidden")
			assert.Regexp(t, `^\d\d s behind live$`, eval[string](p, behindText))

			// It stays there; nothing brings it back to live.
			shown := eval[int](p, "sluice.figures.framesDecoded")
			for range 5 {
				passes(p, 1e9)
				assert.Greater(t, eval[float64](p, "sluice.lag"), at-1)
			}
			assert.Greater(t, eval[int](p, "sluice.figures.framesDecoded"), shown)
			assert.Equal(t, 2, eval[int](p, "sluice.figures.sessions"))
			assert.Equal(t, 0, eval[int](p, "sluice.figures.reconnects"))

			// After a pause it goes on where it was.
			press(p, "k")
			p.until(state("paused"))
			passes(p, 3e9)
			press(p, "k")
			p.until(state("playing"))
			assert.Greater(t, eval[float64](p, "sluice.lag"), at+2)

			p.click("#live")
			p.until("sluice.state === 'playing' && sluice.lag < sluice.target + 0.7 && document.getElementById('live').hidden")
			assert.False(t, eval[bool](p, "sluice.rewound"))
			p.until("sluice.rate === 1")
		})
	}
}

// Steps of the keys add up, and go where they led once.
func TestPageRewindsByKeys(t *testing.T) {
	s, p := newSource(t, true), browser(t)
	s.recordIt("now")
	p.open(s.URL + "/?stream=live/demo")
	p.until("sluice.state === 'playing' && !document.getElementById('bar').hidden")
	press(p, "j", "j", "ArrowLeft", "ArrowLeft", "l")
	assert.Regexp(t, `^2\d s behind live$`, eval[string](p, behindText), "what is meant shows at once")
	p.until("sluice.state === 'playing' && sluice.lag > 19 && sluice.lag < 23")
	assert.Equal(t, 2, eval[int](p, "sluice.figures.sessions"))
	p.until("sluice.buffered > 15")
	press(p, "ArrowRight")
	p.until("sluice.state === 'playing' && sluice.lag > 14 && sluice.lag < 18")
	assert.Equal(t, 2, eval[int](p, "sluice.figures.sessions"), "what is buffered needs no connection")
	press(p, "Home")
	p.until("sluice.state === 'playing' && sluice.lag > 38")
	press(p, "End")
	p.until("sluice.state === 'playing' && sluice.lag < sluice.target + 0.7")
}

// Over HTTP the server sends as fast as the page takes it, which takes no more than it
// needs for a while.
func TestPageTakesNoMoreThanItNeeds(t *testing.T) {
	s, p := newSource(t, true), browser(t)
	s.began = s.began.Add(-time.Minute)
	s.recordIt("now")
	p.open(s.URL + "/?stream=live/demo&over=http")
	p.until("sluice.state === 'playing' && !document.getElementById('bar').hidden")
	press(p, "Home")
	p.until("sluice.state === 'playing' && sluice.lag > 98 && sluice.buffered > 25")
	for range 3 {
		passes(p, 1e9)
		assert.Less(t, eval[float64](p, "sluice.buffered"), 60.0)
	}
	press(p, "End")
	p.until("sluice.state === 'playing' && sluice.lag < sluice.target + 0.7")
}

// A connection that is lost costs a viewer who has gone back nothing of the stream.
func TestPageReconnectsWhereItWasRewoundTo(t *testing.T) {
	for name, paced := range map[string]bool{"at once": false, "paced": true} {
		t.Run(name, func(t *testing.T) {
			s := newSource(t, true)
			s.paced = paced
			p := rewound(t, s, 0.5)
			at := eval[float64](p, "sluice.lag")
			s.end(abrupt, "")
			p.until("sluice.figures.reconnects === 1 && sluice.state === 'playing'")
			assert.Greater(t, eval[float64](p, "sluice.lag"), at-1)
			assert.True(t, eval[bool](p, "sluice.rewound"))
		})
	}
}

// What a link asks for is kept when live is gone back in, but for where to begin.
func TestPageRewindsWithWishes(t *testing.T) {
	s, p := newSource(t, true), browser(t)
	s.recordIt("now")
	p.open(s.URL + "/?stream=live/demo&start=live&track=1")
	p.until("sluice.state === 'playing' && !document.getElementById('bar').hidden")
	drag(p, 0)
	p.until("sluice.state === 'playing' && sluice.lag > 38")
	assert.Regexp(t, `^track=1&back=\d+\.\d$`, s.lastAsked())
	drag(p, 1)
	p.until("sluice.state === 'playing' && sluice.lag < sluice.target + 0.7")
	press(p, "j", "j")
	p.until("sluice.state === 'playing' && sluice.lag > 18")
	p.run(chromedp.Evaluate[chromedp.Void]("document.querySelector('input[name=over][value=http]').click()"))
	p.until("sluice.over === 'http' && sluice.state === 'playing'")
	assert.Regexp(t, `^track=1&back=\d+\.\d$`, s.lastAsked())
}

// A stream that is over is shown to its end to who is behind.
func TestPageShowsWhatIsLeftToWhoIsBehind(t *testing.T) {
	t.Parallel()
	s := newSource(t, true)
	p := rewound(t, s, 0.75)
	p.until("sluice.buffered > 6")
	s.unpublish()
	passes(p, 3e9)
	assert.Equal(t, "playing", eval[string](p, "sluice.state"))
	p.until(state("ended"))
	assert.False(t, eval[bool](p, "sluice.rewound"))
}

// A stream that is recorded in several files can be rewound through those that follow one
// another, and no further.
func TestPageRewindsOverFiles(t *testing.T) {
	s, p := newSource(t, true), browser(t)
	before := func(id string, seconds, end float64, height int) {
		s.recorded.record(&fakeRecording{
			ID: id, Stream: "live/demo", State: "finished", Duration: seconds,
			Begin: s.began.UTC().Add(-time.Duration((end + seconds) * float64(time.Second))),
			Video: map[string]any{"codec": "H.264", "width": 640, "height": height}, Audio: map[string]any{"codec": "AAC"},
		})
	}
	before("another picture", 500, 300, 480)
	before("the first", 200, 100, 360)
	before("the second", 100, 0, 360)
	s.recordIt("now")
	p.open(s.URL + "/?stream=live/demo")
	p.until("!document.getElementById('bar').hidden")
	p.until("Number(document.getElementById('seek').max) > 330")
	assert.Less(t, eval[float64](p, "Number(document.getElementById('seek').max)"), 500.0)
}

// A stream that is not recorded can be rewound as far as the server's log of it reaches.
func TestPageRewindsInTheLog(t *testing.T) {
	s, p := newSource(t, true), browser(t)
	logged := demo()
	logged.BackMS = 2000 // the newest GOP
	s.set(logged)
	p.open(s.URL + "/?stream=live/demo")
	p.until("sluice.state === 'playing' && sluice.answers > 1")
	assert.True(t, eval[bool](p, "document.getElementById('bar').hidden"))
	logged.BackMS = 30000
	s.set(logged)
	p.until("!document.getElementById('bar').hidden")
	assert.Equal(t, "30.00", eval[string](p, "document.getElementById('seek').max"))
	drag(p, 0.5)
	p.until("sluice.state === 'playing' && sluice.lag > 14")
	assert.Regexp(t, `^back=1\d\.\d$`, s.lastAsked())
	p.click("#live")
	p.until("sluice.state === 'playing' && sluice.lag < sluice.target + 0.7")
}

package web

import (
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
)

const target = "sluice.target"

// chosen is the value of one of the page's choices.
func chosen(p *page, name string) string {
	return eval[string](p, "document.querySelector('input[name="+name+"]:checked').value")
}

// The delay that was chosen is remembered, the way is not, and what is watched is in the address.
func TestPageHasChoices(t *testing.T) {
	s, p := newSource(t, true), browser(t)
	p.open(s.URL)
	p.run(chromedp.Evaluate[chromedp.Void]("void localStorage.setItem('sluice.over', 'http')")) // of an older page
	p.open(s.URL + "/?stream=live/demo")
	p.until(state("playing"))
	assert.Equal(t, []string{"low", "ws", ""}, []string{chosen(p, "mode"), chosen(p, "over"), chosen(p, "onlyaudio")})
	assert.Less(t, eval[float64](p, target), 1.0)
	assert.Nil(t, eval[*string](p, "localStorage.getItem('sluice.over')"))

	p.click("input[value=smooth] + span")
	p.until(target + " >= 1")
	assert.Equal(t, 1, eval[int](p, "sluice.figures.sessions"), "nothing is opened anew")
	p.click("input[value=http] + span")
	p.until("sluice.over === 'http' && sluice.state === 'playing'")
	p.until("sluice.buffered > 0.6")

	p.open(s.URL + "/?stream=live/demo")
	p.until(state("playing"))
	assert.Equal(t, []string{"smooth", "ws"}, []string{chosen(p, "mode"), chosen(p, "over")})
	assert.GreaterOrEqual(t, eval[float64](p, target), 1.0)
	p.open(s.URL + "/?stream=live/demo&mode=low")
	p.until(state("playing"))
	assert.Equal(t, "low", chosen(p, "mode"), "the link decides, for this time")

	several := demo()
	several.Tracks = []Track{
		{Number: 1, Video: &Video{Codec: "AV1", Profile: "Main", Width: 320, Height: 180, FPS: 25}},
		{Number: 1, Audio: &Audio{Codec: "Opus", SampleRate: 48000, Channels: 2}},
		{Number: 2, Audio: &Audio{Codec: "AAC", SampleRate: 48000, Channels: 1}},
	}
	assert.True(t, eval[bool](p, "document.querySelector('#choices select').parentElement.hidden"))
	s.set(several)
	p.until("!document.querySelector('#choices select').parentElement.hidden")
	assert.Equal(t, []string{
		"H.264 Main, 640×360, 30 fps, AAC, 48 kHz stereo", "1: AV1 Main, 320×180, 25 fps, Opus, 48 kHz stereo", "2: AAC, 48 kHz mono",
	}, eval[[]string](p, "[...document.querySelectorAll('#choices option')].map((o) => o.textContent)"))
	p.run(chromedp.Evaluate[chromedp.Void](`{ const select = document.querySelector('#choices select');
		select.value = '1'; void select.dispatchEvent(new Event('change')) }`))
	p.until("sluice.figures.sessions === 2 && sluice.state === 'playing'")
	assert.Equal(t, "track=1", s.lastAsked())
	p.click("input[name=onlyaudio][value='1'] + span")
	p.until("sluice.figures.sessions === 3 && sluice.figures.bytes > 0 && new URLSearchParams(location.search).get('onlyaudio') === '1'")
	p.until("sluice.state === 'playing'")
	assert.Equal(t, "track=1&onlyaudio=1", s.lastAsked())
	p.screenshot("choices")
	p.click("input[name=onlyaudio][value=''] + span")
	p.until("sluice.figures.sessions === 4 && sluice.state === 'playing'")
	assert.Equal(t, "track=1", s.lastAsked())
	assert.Equal(t, 0, eval[int](p, "sluice.figures.reconnects"), "who chooses loses no connection")
}

// A browser opens six connections to one server. Where all of them are in use, the page does
// not wait for a seventh.
func TestPageFallsBackToWebSocket(t *testing.T) {
	t.Parallel()
	s, p := newSource(t, true), browser(t)
	p.open(s.URL + "/?stream=live/demo")
	p.until(state("playing"))
	p.run(chromedp.Evaluate[chromedp.Void]("void (window.held = Array.from({ length: 8 }, () => fetch('/live/demo.flv?n=' + Math.random(), { cache: 'no-store' })))"))
	p.click("input[value=http] + span")
	p.until("sluice.over === 'http' && sluice.state === 'connecting'")
	p.until("sluice.over === 'ws' && sluice.state === 'playing'")
	assert.Contains(t, eval[string](p, "document.getElementById('choices').innerText"), "HTTP did not get through")
	assert.Equal(t, "ws", chosen(p, "over"))
	p.screenshot("fallback")
}

// Where all of them play over HTTP, nothing else comes through, not even another tab's page. They
// notice that, and go over to WebSocket.
func TestPageLeavesConnections(t *testing.T) {
	t.Parallel()
	s, p := newSource(t, true), browser(t)
	p.open(s.URL + "/?stream=live/demo&over=http")
	p.until(state("playing"))
	p.run(chromedp.Evaluate[chromedp.Void]("void (window.held = Array.from({ length: 8 }, () => fetch('/live/demo.flv?n=' + Math.random(), { cache: 'no-store' })))"))
	p.until("sluice.over === 'ws' && sluice.state === 'playing'")
	assert.Contains(t, eval[string](p, "document.getElementById('choices').innerText"), "HTTP did not get through")
}

// Without Media Source Extensions nothing that is tried again helps.
func TestPageWithoutMediaSource(t *testing.T) {
	s, p := newSource(t, true), browser(t)
	p.open(s.URL)
	p.until(state("streams"))
	p.run(chromedp.Evaluate[chromedp.Void]("void (delete window.MediaSource, delete window.ManagedMediaSource)"))
	p.click(".card h2 a")
	p.until(state("failed"))
	assert.Contains(t, eval[string](p, "document.getElementById('detail').textContent"), "another browser can")
	assert.True(t, eval[bool](p, "document.getElementById('again').hidden"))
}

package web

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"

	"sluice/httpflv/answer"
)

// offered are what the buttons of the dialog copy, by their labels.
func offered(p *page) map[string]string {
	p.t.Helper()
	return copies(p, "dialog.sharing")
}

// What is shared is the link of what is watched, also as it is watched now, with its
// permission, of which the dialog warns.
func TestShare(t *testing.T) {
	s, p := newSourceOf(t, true, Config{Embed: answer.Ancestors{"https://a.example"}}), browser(t)
	p.open(s.URL + "/?stream=live/demo&onlyaudio=1&" + signature)
	p.until(state("playing"))
	p.click("#share button")
	p.until("!!document.querySelector('dialog.sharing')?.open")
	assert.True(t, eval[bool](p, "document.querySelector('dialog.sharing').contains(document.activeElement)"), "the focus is in it")
	assert.Contains(t, content(p, "dialog.sharing"), "The link holds your permission")
	assert.Contains(t, content(p, "dialog.sharing"), "the sites that this server lets show it")
	unseen(p)
	link := s.URL + "/?stream=live/demo&"
	frame := func(title, address string) string {
		return fmt.Sprintf(`<iframe src="%s" title="%s" width="640" height="360" allow="autoplay; fullscreen; picture-in-picture" style="border:0"></iframe>`, address, title)
	}
	lines := frame("live/demo", s.URL+"/embed/live/demo?"+strings.ReplaceAll(signature, "&", "&amp;"))
	assert.Equal(t, map[string]string{"Link": link + signature, "Lines for a page": lines}, offered(p))
	p.click(".share-now input")
	assert.Contains(t, content(p, ".share-now"), "sound only")
	assert.Equal(t, link+"onlyaudio=1&"+signature, offered(p)["Link"])

	// The QR code is made when somebody asks for it, and is that of the link.
	assert.Zero(t, eval[int](p, "performance.getEntriesByName(new URL(document.documentElement.dataset.qr, location).href).length"))
	p.click("dialog.sharing [aria-expanded]")
	p.until("document.querySelector('.share-code canvas')?.width > 30")
	p.run(chromedp.Evaluate[chromedp.Void]("void document.getAnimations().forEach((a) => a.finish())"))
	p.screenshot("share")
	p.run(chromedp.Evaluate[chromedp.Void]("void document.querySelector('.share-close').click()"))
	p.until("!document.querySelector('dialog.sharing')")
	assert.True(t, eval[bool](p, "document.activeElement.matches('#share button')"), "the focus goes back")
}

// Without a permission there is no warning, and without sites that may frame it no lines,
// but a word on how that changes.
func TestShareTellsHowToAllowFrames(t *testing.T) {
	s, p := newSource(t, true), browser(t)
	p.run(chromedp.EmulateViewport(390, 844))
	p.open(s.URL + "/?stream=live/demo")
	p.click("#share button")
	p.until("!!document.querySelector('dialog.sharing')?.open")
	assert.NotContains(t, content(p, "dialog.sharing"), "permission")
	assert.Contains(t, content(p, "dialog.sharing"), "SLUICE_EMBED_ORIGINS lists the sites that may")
	assert.Equal(t, map[string]string{"Link": s.URL + "/?stream=live/demo"}, offered(p))
	assert.False(t, eval[bool](p, "!!document.querySelector('.share-now')"), "it is as the link")
	p.screenshot("share-phone")
	// Where the view ends, so does the dialog.
	p.run(chromedp.Evaluate[chromedp.Void]("void document.querySelector('.under .back').click()"))
	p.until("sluice.view === 'list' && !document.querySelector('dialog.sharing')")
}

// On a phone, what it has itself for sharing comes first.
func TestShareOnPhone(t *testing.T) {
	s, p := newSource(t, true), browser(t)
	p.run(chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile, chromedp.EmulateTouch))
	p.open(s.URL + "/assets/icon.svg") // of the same origin
	p.open(s.URL + "/?wall=live/a&wall=live/b")
	p.until(playing(2))
	coarse := eval[bool](p, "matchMedia('(pointer: coarse)').matches")
	assert.True(t, coarse)
	p.run(chromedp.Evaluate[chromedp.Void](`void (() => {
		window.sent = [];
		navigator.share = (what) => { window.sent.push(what); return Promise.reject(new DOMException('', 'AbortError')); };
	})()`))
	p.run(chromedp.Evaluate[chromedp.Void](`void (async () => {
		const { share } = await import(document.querySelector('script[type=module]').src.replace('app.js', 'share.js'));
		const root = document.createElement('div');
		root.id = 'here';
		document.body.append(root);
		share(root, { signal: new AbortController().signal, title: 'live/a', link: () => location.href });
	})()`))
	p.until("document.querySelectorAll('#here button').length === 2")
	p.run(chromedp.Evaluate[chromedp.Void]("void document.querySelector('#here button').click()"))
	var sent []map[string]string
	assert.NoError(t, json.Unmarshal([]byte(eval[string](p, "JSON.stringify(window.sent)")), &sent))
	assert.Equal(t, []map[string]string{{"title": "live/a", "url": s.URL + "/?wall=live/a&wall=live/b"}}, sent)
}

// The link of a recording leads to the place that is shown, which is where it begins then.
func TestShareOfARecordingHasItsPlace(t *testing.T) {
	s, p := newSource(t, false), browser(t)
	const id = "20261128T170500.000Z"
	s.recorded.record(film(t, s, id))
	for _, way := range []struct{ begin, end float64 }{{0, 20}, {30, 36}} {
		at := s.URL + "/?recording=live/demo/" + id + "&" + signature
		if way.begin > 0 {
			at += fmt.Sprintf("&t=%v", way.begin)
		}
		p.open(at)
		p.until("sluice.state === 'playing'")
		p.until(fmt.Sprintf("sluice.time > %v", way.begin+1))
		assert.Less(t, eval[float64](p, "sluice.time"), way.end)
		p.click("#share button")
		p.until("!!document.querySelector('dialog.sharing')?.open")
		link := s.URL + "/?recording=live/demo/" + id + "&" + signature
		assert.Equal(t, map[string]string{"Link": link}, offered(p), "a recording is not framed")
		p.click(".share-now input")
		assert.Regexp(t, `^`+regexp.QuoteMeta(link)+`&t=\d+$`, offered(p)["Link"])
	}
	p.open(s.URL + "/?recording=live/demo/" + id + "&t=1e9")
	p.until("sluice.state === 'playing' && sluice.time > 0 && sluice.time < 10")
}

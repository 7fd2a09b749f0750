package web

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"

	"sluice/flv"
)

// before runs a script in each page that is opened from now on, before those of the page.
func (p *page) before(script string) {
	p.t.Helper()
	p.run(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, cdppage.AddScriptToEvaluateOnNewDocument, cdppage.AddScriptToEvaluateOnNewDocumentParams{Source: script})
		return err
	}))
}

// mouse clicks on a place of the picture where no button is.
func (p *page) mouse() {
	p.t.Helper()
	at := eval[[]float64](p, "(({left, top}) => [left + 60, top + 60])(document.getElementById('screen').getBoundingClientRect())")
	p.run(chromedp.MouseClickXY(at[0], at[1]))
}

// A click on the picture plays and pauses, with a real mouse, whatever lies over it. Two
// within a moment are for full screen, without a pause between them, and select no text. By a
// finger they bring the controls.
func TestPictureHearsTheMouse(t *testing.T) {
	s, p := newSource(t, true), browser(t)
	p.open(s.URL + "/?stream=live/demo")
	p.until(state("playing"))
	for range 2 {
		p.mouse()
		p.until(state("paused"))
		p.mouse()
		p.until(state("playing"))
	}
	// A pause holds although its event comes late, after the player has looked at the video.
	p.run(chromedp.Evaluate[chromedp.Void](`
		window.late = (e) => { e.stopImmediatePropagation(); };
		window.addEventListener('pause', late, true);
		document.getElementById('pause').click();
		window.then = performance.now();`))
	p.until("performance.now() - then > 600")
	assert.Equal(t, "paused", eval[string](p, "sluice.state"))
	assert.True(t, eval[bool](p, "document.getElementById('video').paused"))
	p.run(chromedp.Evaluate[chromedp.Void]("window.removeEventListener('pause', late, true); document.getElementById('pause').click()"))
	p.until(state("playing"))

	p.run(chromedp.Evaluate[chromedp.Void](`
		window.heard = [];
		for (const type of ['pause', 'play']) document.getElementById('video').addEventListener(type, () => heard.push(type));
		document.getElementById('screen').requestFullscreen = async () => { heard.push('full') };
		window.clicks = (pointerType, ...details) => {
			const at = document.getElementById('video');
			for (const detail of details) {
				at.dispatchEvent(new PointerEvent('pointerdown', { bubbles: true, pointerType }));
				const down = new MouseEvent('mousedown', { bubbles: true, cancelable: true, detail });
				at.dispatchEvent(down);
				if (down.defaultPrevented !== detail > 1) heard.push('selects');
				at.dispatchEvent(new MouseEvent('click', { bubbles: true, detail }));
			}
		};
		clicks('mouse', 1, 2);
	`))
	p.until("heard.includes('full')")
	p.run(chromedp.Evaluate[chromedp.Void]("window.then = performance.now()"))
	p.until("performance.now() - then > 1100") // longer than any double click
	assert.Equal(t, []string{"full"}, eval[[]string](p, "heard"))
	p.run(chromedp.Evaluate[chromedp.Void]("heard.length = 0; clicks('mouse', 2); document.getElementById('video').dispatchEvent(new MouseEvent('dblclick', { bubbles: true }))"))
	assert.Equal(t, []string{"full"}, eval[[]string](p, "heard"), "as slow as the system takes it for one")
	p.run(chromedp.Evaluate[chromedp.Void]("clicks('mouse', 1)"))
	p.until(state("paused"))
	p.run(chromedp.Evaluate[chromedp.Void]("document.getElementById('overlay').click()")) // by a program
	p.until(state("playing"))

	p.run(chromedp.Evaluate[chromedp.Void]("heard.length = 0; document.getElementById('screen').classList.remove('awake'); clicks('touch', 1)"))
	assert.True(t, eval[bool](p, "document.getElementById('screen').classList.contains('awake')"))
	p.run(chromedp.Evaluate[chromedp.Void]("clicks('touch', 1)"))
	assert.False(t, eval[bool](p, "document.getElementById('screen').classList.contains('awake')"))
	assert.Empty(t, eval[[]string](p, "heard"))
}

// All that the keys do, the list of keys tells; letters are none where somebody types, nor
// where the visitor wants none.
func TestScreenHearsKeys(t *testing.T) {
	s, p := newSource(t, true), browser(t)
	p.before(`
		HTMLVideoElement.prototype.requestPictureInPicture = async () => { window.pip = true };
		Object.defineProperty(Document.prototype, 'pictureInPictureEnabled', { get: () => true });
		Element.prototype.requestFullscreen = async () => { window.full = true };
		HTMLAnchorElement.prototype.click = function () { window.saved = this.download };
		const url = URL.createObjectURL;
		URL.createObjectURL = (of) => {
			if (of.type === 'image/png') createImageBitmap(of).then((picture) => { window.picture = picture });
			return url(of);
		};
	`)
	p.window(1280, 800)
	p.open(s.URL + "/?stream=live/demo")
	p.until(state("playing"))
	p.until("document.getElementById('video').videoWidth === 640")
	for _, key := range []string{"k", " ", "K"} { // with Caps Lock, too
		press(p, key)
		p.until(state("paused"))
		press(p, key)
		p.until(state("playing"))
	}
	press(p, "p", "f")
	p.until("window.pip && window.full")
	press(p, "s")
	p.until("!!window.saved")
	assert.Regexp(t, `^live-demo-20\d\d-\d\d-\d\d-\d{6}\.png$`, eval[string](p, "saved"))
	p.until("window.picture?.width === 640 && picture.height === 360")
	p.until("document.querySelector('.told').textContent.startsWith('Saved as live-demo-')")

	press(p, "t")
	p.until("document.body.classList.contains('theatre')")
	assert.Equal(t, "true", eval[string](p, "document.getElementById('theatre').getAttribute('aria-pressed')"))
	p.open(s.URL + "/?stream=live/demo")
	p.until("document.body.classList.contains('theatre')") // it is remembered
	p.until(state("playing"))
	press(p, "Escape")
	p.until("!document.body.classList.contains('theatre')")

	// Up and down scroll the page, and with the focus on the picture they are for the sound.
	volume := "document.getElementById('video').volume.toFixed(2) + sluice.muted"
	press(p, "ArrowUp")
	assert.Equal(t, "1.00true", eval[string](p, volume))
	p.mouse()
	p.until(state("paused"))
	p.run(chromedp.KeyEvent(kb.ArrowUp), chromedp.KeyEvent(kb.ArrowUp), chromedp.KeyEvent(kb.ArrowUp), chromedp.KeyEvent(kb.ArrowDown))
	assert.Equal(t, "0.10false", eval[string](p, volume))
	assert.Equal(t, "Volume 10 %", content(p, ".told"))
	press(p, "k", "m")
	p.until(state("playing"))
	assert.Equal(t, "0.10true", eval[string](p, volume))

	p.run(chromedp.KeyEvent("?"))
	p.until("document.querySelector('dialog.shortcuts')?.open")
	for _, key := range []string{"Space", "K", "M", "F", "P", "T", "I", "S", "?", "←", "↑", "Esc"} {
		assert.Contains(t, eval[[]string](p, "[...document.querySelectorAll('dialog kbd')].map((k) => k.textContent)"), key)
	}
	p.run(chromedp.KeyEvent("m")) // not while it is open
	p.click("dialog input")
	p.run(chromedp.KeyEvent(kb.Escape))
	p.until("!document.querySelector('dialog')")
	press(p, "m", "t", "k")
	assert.Equal(t, "0.10true", eval[string](p, volume))
	press(p, " ")
	p.until(state("paused"))
	assert.False(t, eval[bool](p, "document.body.classList.contains('theatre')"))
}

// Figures over the picture, with graphs of the last minute, copied as text.
func TestFiguresOverThePicture(t *testing.T) {
	s, p := newSource(t, true), browser(t)
	s.recorded.record(film(t, s, "a"))
	p.open(s.URL + "/?stream=live/demo")
	p.until(state("playing"))
	press(p, "i")
	figures := "Object.fromEntries([...document.querySelectorAll('.gauges dl > div:not([hidden])')].map((d) => [d.firstChild.textContent, d.children[1].textContent]))"
	p.until("document.querySelectorAll('.gauges').length === 1")
	p.until("sluice.figures.framesDecoded > 120")
	p.until(`/^\d+\.\d fps$/.test(` + figures + `['Frame rate'])`)
	told := eval[map[string]string](p, figures)
	assert.Equal(t, "640×360", told["Picture"])
	assert.Regexp(t, `^\d[.\d]* [kM]bit/s$`, told["Bitrate"])
	assert.Regexp(t, `^\d\.\d\d s$`, told["Behind live"])
	assert.Regexp(t, `^\d\.\d\d s$`, told["Buffer"])
	assert.Regexp(t, `^\d+ of \d+$`, told["Dropped"])
	assert.Equal(t, "0", told["Reconnects"])
	p.until("document.querySelectorAll('.gauges path')[2].getAttribute('d').split('L').length > 4")

	p.run(chromedp.Evaluate[chromedp.Void]("Object.defineProperty(navigator, 'clipboard', {value: {writeText: async (words) => { window.copied = words }}})"))
	p.click(".gauges button")
	p.until("!!window.copied")
	assert.Regexp(t, `(?s)^live/demo\n20.*\nPicture: 640×360\n.*\nBehind live: \d\.\d\d s \(\d\.\d\d s to \d\.\d\d s\)\n`, eval[string](p, "copied"))
	press(p, "Escape")
	p.until("!document.querySelector('.gauges')")
	assert.Equal(t, "info", eval[string](p, "document.activeElement.id"), "the focus goes where they came from")

	press(p, "i")
	p.until("!!document.querySelector('.gauges')")
	p.run(chromedp.Evaluate[chromedp.Void]("document.querySelector('.under .back').click()"))
	p.until("sluice.view === 'list' && !document.querySelector('.gauges')")
	assert.Equal(t, "false", eval[string](p, "document.getElementById('info').getAttribute('aria-pressed')"), "they are not those of the next view")

	p.open(s.URL + "/?recording=live/demo/a")
	p.until(state("playing"))
	p.click("#info")
	p.until("!!document.querySelector('.gauges')")
	p.until("'Buffer' in " + figures)
	assert.NotContains(t, eval[map[string]string](p, figures), "Behind live")
}

// Sound is off at first, and then as it was left; where the browser wants a click for it, it
// plays without, and what was chosen stays so.
func TestSoundIsRemembered(t *testing.T) {
	s, p := newSource(t, true), browser(t)
	p.open(s.URL + "/?stream=live/demo")
	p.until(state("playing"))
	assert.True(t, eval[bool](p, "sluice.muted"))
	assert.Equal(t, "Turn the sound on", content(p, "#unmute"))
	assert.Equal(t, "Turn the sound on", eval[string](p, "document.getElementById('mute').getAttribute('aria-label')"))
	assert.False(t, eval[bool](p, "document.getElementById('screen').contains(document.getElementById('unmute'))"), "beside the picture")
	p.click("#unmute")
	p.run(chromedp.Evaluate[chromedp.Void](`void (() => { const v = document.getElementById('volume'); v.value = 0.4; v.dispatchEvent(new Event('input')); })()`))
	p.until("!sluice.muted && document.getElementById('unmute').hidden")

	p.open(s.URL + "/?stream=live/demo")
	p.until(state("playing"))
	assert.False(t, eval[bool](p, "sluice.muted"))
	assert.InDelta(t, 0.4, eval[float64](p, "document.getElementById('video').volume"), 0.001)

	p.before(`
		const play = HTMLMediaElement.prototype.play;
		HTMLMediaElement.prototype.play = function () {
			return this.muted ? play.call(this) : Promise.reject(new DOMException('a click first', 'NotAllowedError'));
		};`)
	p.open(s.URL + "/?stream=live/demo")
	p.until(state("playing"))
	p.until("!document.getElementById('unmute').hidden")
	assert.True(t, eval[bool](p, "sluice.muted"))
	assert.Equal(t, "false", eval[string](p, "localStorage.getItem('sluice.muted')"))
}

// What has no picture and is muted asks for the click, instead of saying that it plays.
func TestSoundWithoutPicture(t *testing.T) {
	s, p := newSource(t, true), browser(t)
	s.announce(flv.TypeAudio)
	s.sendOnly(func(tag flv.Tag, _, _ int) bool { return tag.Type == flv.TypeAudio })
	sound := demo()
	sound.Video = nil
	s.set(sound)
	p.open(s.URL + "/?stream=live/demo")
	p.until(state("playing"))
	p.until("document.getElementById('state').textContent === 'The sound is off'")
	assert.Equal(t, "The sound is off", content(p, "#headline"))
	assert.Equal(t, "Turn the sound on", content(p, "#again"))
	once := "document.getElementById('unmute').hidden"
	assert.True(t, eval[bool](p, once), "one button is enough")
	p.look("silent")
	p.window(1280, 800)
	p.mouse()
	p.until("!sluice.muted && document.getElementById('state').textContent === 'Playing'")
	p.until("document.getElementById('overlay').hidden && !document.getElementById('sound-only').hidden")
	press(p, "m")
	p.until("document.getElementById('state').textContent === 'The sound is off'")
	p.click("#again")
	p.until("!sluice.muted && document.getElementById('state').textContent === 'Playing'")
	assert.Equal(t, "playing", eval[string](p, "sluice.state"))

	p.open(s.URL + "/embed/live/demo?muted=1")
	p.until(state("playing"))
	p.until("document.getElementById('headline').textContent === 'The sound is off' && !document.getElementById('overlay').hidden")
	assert.True(t, eval[bool](p, once))
	p.click("#again")
	p.until("!sluice.muted && document.getElementById('overlay').hidden")
	assert.Equal(t, "playing", eval[string](p, "sluice.state"))

	p.open(s.URL + "/?wall=live/demo&wall=live/demo2")
	p.until("document.querySelector('.tile')?.dataset.state === 'playing'")
	p.until("!document.querySelector('.tile .sound-only').hidden")
}

// The picture is as large as the window allows, and of a phone held sideways it has all.
func TestPictureIsAsLargeAsTheWindowAllows(t *testing.T) {
	s, p := newSource(t, true), browser(t)
	p.open(s.URL + "/?stream=live/demo")
	p.until(state("playing"))
	box := "(({left, top, width, height}) => [left, top, width, height].map(Math.round))(document.getElementById('screen').getBoundingClientRect())"
	for _, w := range windows {
		name := fmt.Sprintf("%dx%d", w.width, w.height)
		p.window(w.width, w.height)
		p.until(fmt.Sprintf("innerWidth === %d && document.body.classList.contains('theatre') === %t", w.width, w.width == 844))
		at := eval[[]int64](p, box)
		switch {
		case w.width == 844:
			assert.Equal(t, []int64{0, 0, 844, 390}, at, name)
		case w.width < 600:
			assert.Equal(t, w.width, at[2], name)
		default:
			assert.Greater(t, at[2]*100/w.width, int64(70), name)
			assert.LessOrEqual(t, at[1]+at[3], w.height-40, "%s: the title is in sight", name)
			press(p, "t")
			p.until("document.body.classList.contains('theatre')")
			wide := eval[[]int64](p, box)
			assert.Equal(t, []int64{0, 0, w.height}, []int64{wide[0], wide[1], wide[3]}, name)
			assert.GreaterOrEqual(t, wide[2], w.width-20, "%s, but for a scroll bar", name)
			press(p, "t")
		}
	}
	p.window(390, 844) // a portrait is higher than the window
	p.open(s.URL)
	p.until(state("streams"))
	p.window(844, 390)
	assert.False(t, eval[bool](p, "document.body.classList.contains('theatre')"), "only where a picture is")
}

// The keyboard comes to the content at once, and lines to copy are one stop for all of a box.
func TestPageIsWalkedByKeys(t *testing.T) {
	s, p := newSource(t, true), browser(t)
	p.open(s.URL + "/?stream=live/demo")
	p.until(state("playing"))
	p.until("!document.getElementById('addresses').hidden")
	focused := func() string {
		return eval[string](p, "document.activeElement.id || document.activeElement.getAttribute('aria-label') || document.activeElement.value || document.activeElement.textContent.trim()")
	}
	p.run(chromedp.KeyEvent(kb.Tab))
	assert.Equal(t, "skip", focused())
	p.run(chromedp.KeyEvent(kb.Enter))
	assert.Equal(t, "title", focused())
	assert.Equal(t, "playing", eval[string](p, "sluice.state"), "it plays on")
	assert.Equal(t, 1, eval[int](p, "sluice.figures.sessions"))

	var stops []string
	for range 40 {
		p.run(chromedp.KeyEvent(kb.Tab))
		if eval[bool](p, "document.activeElement === document.body") || focused() == "skip" {
			break
		}
		stops = append(stops, focused())
	}
	copies := 0
	for _, stop := range stops {
		if strings.HasPrefix(stop, "Copy: ") {
			copies++
		}
	}
	assert.Equal(t, 2, copies, "one for each box: %q", stops)
	assert.Contains(t, stops, "unmute")

	p.run(chromedp.Evaluate[chromedp.Void]("document.querySelector('#elsewhere button').focus()"))
	assert.Equal(t, "Copy: This page", focused())
	p.run(chromedp.KeyEvent(kb.ArrowDown))
	assert.Equal(t, "Copy: ffplay, RTMP", focused())
	p.run(chromedp.KeyEvent(kb.End))
	assert.Equal(t, "Copy: WebSocket-FLV", focused())
	p.run(chromedp.KeyEvent(kb.ArrowUp), chromedp.KeyEvent(kb.Tab))
	assert.Equal(t, "Copy: OBS server", focused())
	p.run(chromedp.KeyEvent(kb.Tab), chromedp.Evaluate[chromedp.Void]("document.querySelector('#publish [tabindex=\"0\"]').focus()"))
	assert.Equal(t, "Copy: OBS server", focused())
}

// axe-core has no serious finding, on any view.
func TestPageIsAccessible(t *testing.T) {
	script := axe(t)
	s, p := newSource(t, false), browser(t)
	s.recorded.record(film(t, s, "a"))
	p.open(s.URL)
	p.until(state("empty"))
	p.accessible(script, "nothing is live")
	s.publish()
	p.until(state("streams"))
	p.accessible(script, "the list")
	p.run(chromedp.Evaluate[chromedp.Void](`
		for (const on of [document.body, document.querySelector('.card')]) {
			for (const state of ['', 'live', 'grace', 'connecting', 'playing', 'paused', 'buffering', 'silent', 'slow', 'reconnecting', 'ended', 'failed', 'recording', 'disk full', 'unknown']) {
				const pill = document.createElement('span');
				pill.className = 'pill';
				pill.dataset.state = state;
				pill.textContent = 'A pill';
				on.append(pill);
			}
		}
		window.contrast = () => {
			const pen = Object.assign(document.createElement('canvas'), { width: 1, height: 1 }).getContext('2d', { willReadFrequently: true });
			const luminance = (...layers) => {
				for (const layer of layers) { pen.fillStyle = layer; pen.fillRect(0, 0, 1, 1); }
				const [r, g, b] = [...pen.getImageData(0, 0, 1, 1).data].map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
				return 0.2126 * r + 0.7152 * g + 0.0722 * b;
			};
			return Object.fromEntries([...document.querySelectorAll('.pill')].map((pill) => {
				const { color, backgroundColor } = getComputedStyle(pill), below = getComputedStyle(pill.closest('.card, body')).backgroundColor;
				const [light, dark] = [luminance(below, backgroundColor), luminance(below, backgroundColor, color)].sort((a, b) => b - a);
				return [(pill.closest('.card') ? 'card ' : 'page ') + pill.dataset.state, (light + 0.05) / (dark + 0.05)];
			}));
		};`))
	p.accessible(script, "all pills")
	for _, scheme := range []string{"light", "dark"} {
		p.scheme(scheme)
		for pill, contrast := range eval[map[string]float64](p, "contrast()") {
			assert.GreaterOrEqual(t, contrast, 4.5, "%s %s", scheme, pill)
		}
	}

	p.open(s.URL + "/?stream=live/demo")
	p.until(state("playing"))
	p.until("!document.getElementById('addresses').hidden")
	press(p, "i")
	p.until("!!document.querySelector('.gauges')")
	p.accessible(script, "a stream, with figures")
	press(p, "i", "?")
	p.until("!!document.querySelector('dialog')")
	p.accessible(script, "the keys")
	p.run(chromedp.KeyEvent(kb.Escape))
	s.unpublish()
	p.until(state("ended"))
	p.accessible(script, "a stream that is over")

	p.open(s.URL + "/?recording=live/demo/a")
	p.until(state("playing"))
	p.click("#share button")
	p.until("document.querySelector('dialog.sharing')?.open")
	p.accessible(script, "sharing")
	p.run(chromedp.KeyEvent(kb.Escape))
	p.window(390, 844)
	p.accessible(script, "a recording, on a phone")

	s.publish()
	for _, path := range []string{"/?wall=live/demo&wall=live/b", "/embed/live/demo"} {
		p.open(s.URL + path)
		p.until(state("playing"))
		p.accessible(script, path)
	}
}

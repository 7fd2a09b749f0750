package web

import (
	"context"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPagePlays(t *testing.T) {
	for _, over := range []string{"ws", "http"} {
		t.Run(over, func(t *testing.T) {
			s, p := newSource(t, true), browser(t)
			p.open(s.URL + "/?stream=live/demo&over=" + over)
			p.until(state("playing"))
			p.until("sluice.time > 2 && sluice.figures.framesDecoded > 30")
			p.until("sluice.lag < sluice.target + 0.7")
			assert.Equal(t, over, eval[string](p, "sluice.over"))
			assert.Equal(t, 1, eval[int](p, "sluice.figures.sessions"))
			assert.Equal(t, 1, s.count(over))
			assert.Equal(t, 640, eval[int](p, "document.getElementById('video').videoWidth"))
			assert.Contains(t, eval[string](p, "document.getElementById('lag').textContent"), "s behind live")
			assert.Equal(t, "Playing", eval[string](p, "document.getElementById('state').textContent"))
			assert.True(t, eval[bool](p, "sluice.muted && !document.getElementById('unmute').hidden"))
			p.click("#unmute")
			p.until("!sluice.muted && document.getElementById('unmute').hidden")
		})
	}
}

// Who waits asks once. That there is a publisher, the list of streams says.
func TestPageWaitsForPublisher(t *testing.T) {
	for _, over := range []string{"ws", "http"} {
		t.Run(over, func(t *testing.T) {
			t.Parallel()
			s, p := newSource(t, false), browser(t)
			p.open(s.URL + "/?stream=live/demo&over=" + over)
			p.until(state("waiting"))
			p.until("sluice.figures.closeCode === 4404")
			passes(p, 4*time.Second)
			assert.Equal(t, "waiting", eval[string](p, "sluice.state"))
			assert.Equal(t, 1, s.count(over))
			began := eval[float64](p, "performance.now()")
			s.publish()
			p.until(state("playing"))
			if took := eval[float64](p, "performance.now()") - began; isLong() {
				assert.Less(t, took, 4000.0, "ms, on a machine that has nothing else to do")
			}
			assert.Equal(t, 0, eval[int](p, "sluice.figures.reconnects"))
		})
	}
}

func TestPageGoesOnAfterTheEnd(t *testing.T) {
	s, p := newSource(t, true), browser(t)
	p.open(s.URL + "/?stream=live/demo")
	p.until(state("playing"))
	s.unpublish()
	p.until(state("ended"))
	assert.Equal(t, "unpublished", eval[string](p, "sluice.reason"))
	s.publish()
	p.until(state("playing"))
	s.unpublishUntold()
	p.until("sluice.state === 'ended' && sluice.figures.closeCode === 4404") // it has tried again
	assert.Equal(t, "ended", eval[string](p, "sluice.state"), "still")
	s.publish()
	p.until(state("playing"))
}

func TestPageReconnects(t *testing.T) {
	for _, over := range []string{"ws", "http"} {
		t.Run(over, func(t *testing.T) {
			s, p := newSource(t, true), browser(t)
			p.open(s.URL + "/?stream=live/demo&over=" + over)
			p.until(state("playing"))
			s.end(abrupt, "")
			p.until("sluice.figures.reconnects === 1")
			p.until(state("playing"))
			assert.Equal(t, 1006, eval[int](p, "sluice.figures.closeCode"))
		})
	}
}

// What a link asks of the server is passed on as it stands, and nothing else is.
func TestPagePassesWishesOn(t *testing.T) {
	for _, over := range []string{"ws", "http"} {
		t.Run(over, func(t *testing.T) {
			s, p := newSource(t, true), browser(t)
			p.open(s.URL + "/?track=1&stream=live/demo&password=secret&start=live&hevc=legacy&track=2&onlyaudio=&x=<&over=" + over)
			p.until(state("playing"))
			const asked = "start=live&track=1&hevc=legacy"
			assert.Equal(t, asked, s.lastAsked())
			s.end(abrupt, "")
			p.until("sluice.figures.reconnects === 1 && sluice.state === 'playing'")
			assert.Equal(t, asked, s.lastAsked(), "again")

			host := strings.TrimPrefix(s.URL, "http://")
			assert.Equal(t, []string{
				s.URL + "/?stream=live/demo&" + asked,
				`ffplay -fflags nobuffer "rtmp://127.0.0.1/live/demo?` + asked + `"`,
				`ffplay -fflags nobuffer "http://` + host + `/live/demo.flv?` + asked + `"`,
				"http://" + host + "/live/demo.flv?" + asked,
				`curl -f -o demo.flv "http://` + host + `/live/demo.flv?` + asked + `"`,
				"ws://" + host + "/live/demo.flv?" + asked,
			}, eval[[]string](p, "[...document.querySelectorAll('#elsewhere code')].map((c) => c.textContent)"))

			// A choice by hand changes what it is of, and no more.
			other := map[string]string{"ws": "http", "http": "ws"}[over]
			p.click("input[value=" + other + "] + span")
			p.until("sluice.over === '" + other + "' && sluice.state === 'playing'")
			assert.Equal(t, asked, s.lastAsked())
			assert.Equal(t, "live", eval[string](p, "new URLSearchParams(location.search).get('start')"))
		})
	}
}

// The values come from the one who made the link: they must not run in a shell.
func TestPageDistrustsWishes(t *testing.T) {
	s, p := newSource(t, true), browser(t)
	const evil = "\"$(touch x)`id`'\\;|\n!&<>"
	p.open(s.URL + "/?stream=live/demo&track=" + url.QueryEscape(evil))
	p.until("document.querySelectorAll('#elsewhere .copyable').length > 5")
	require.Eventually(t, func() bool { return s.lastAsked() != "" }, patience, 10*time.Millisecond)
	asked, err := url.ParseQuery(s.lastAsked())
	require.NoError(t, err)
	assert.Equal(t, url.Values{"track": {evil}}, asked, "what it means is for the server to say")
	for _, line := range eval[[]string](p, "[...document.querySelectorAll('#elsewhere code')].map((c) => c.textContent)") {
		assert.NotRegexp(t, "[$;'`<>()|\\\\!\n]", line)
		assert.Contains(t, []int{0, 2}, strings.Count(line, `"`), line)
	}
}

// Of a stream with several tracks, the page tells which there are.
func TestPageShowsFurtherTracks(t *testing.T) {
	s, p := newSource(t, true), browser(t)
	p.open(s.URL + "/?stream=live/demo&track=1")
	row := `document.querySelector('[data-label="More tracks"]')`
	p.until("!!" + row + " && " + row + ".hidden")
	several := demo()
	several.Tracks = []Track{
		{Number: 1, Video: &Video{Codec: "AV1", Profile: "Main", Width: 640, Height: 360, FPS: 25}},
		{Number: 1, Audio: &Audio{Codec: "Opus", SampleRate: 48000, Channels: 6}},
	}
	s.set(several)
	p.until("!" + row + ".hidden")
	assert.Equal(t, "1: AV1 Main, 640×360, 25 fps; 1: Opus, 48 kHz 5.1", eval[string](p, row+".lastElementChild.textContent"))
}

// A viewer who looks back stays back: the picture is not brought to the live edge.
func TestPageStaysBack(t *testing.T) {
	s, p := newSource(t, true), browser(t)
	p.open(s.URL + "/?stream=live/demo&back=8")
	p.until(state("playing"))
	assert.Equal(t, "back=8", s.lastAsked())
	p.until("sluice.lag > 7.5 && sluice.lag < 9.5 && sluice.figures.framesDecoded > 60")
	p.until("sluice.rate === 1")
	at := eval[float64](p, "sluice.lag")
	p.until("sluice.figures.framesDecoded > 180") // 4 s later
	assert.InDelta(t, at, eval[float64](p, "sluice.lag"), 1)
	assert.Equal(t, 1, eval[int](p, "sluice.figures.sessions"))
	assert.Equal(t, 0, eval[int](p, "sluice.figures.stalls"))

	// After a pause it is as far back as before.
	p.run(chromedp.Evaluate[chromedp.Void]("document.body.focus()"), chromedp.KeyEvent(" "))
	p.until(state("paused"))
	p.until("sluice.buffered > 11")
	p.run(chromedp.KeyEvent(" "))
	p.until(state("playing"))
	p.until("sluice.lag > 7.5 && sluice.lag < 9.5")
}

// The server holds viewers while a publisher reconnects; so does the page.
func TestPageKeepsItsConnectionThroughGrace(t *testing.T) {
	s, p := newSource(t, true), browser(t)
	p.open(s.URL + "/?stream=live/demo")
	p.until(state("playing"))
	s.grace(true)
	p.until(state("waiting"))
	assert.Contains(t, eval[string](p, "document.getElementById('detail').textContent"), "may come back")
	s.grace(false)
	p.until(state("playing"))
	p.until("sluice.lag < sluice.target + 0.7")
	assert.Equal(t, 0, eval[int](p, "sluice.figures.reconnects"))
	assert.Equal(t, 1, s.count("ws"))
}

// A codec change ends browsers' sessions properly, and they open anew.
func TestPageReopensAtOnceOnCodecChange(t *testing.T) {
	s, p := newSource(t, true), browser(t)
	p.open(s.URL + "/?stream=live/demo")
	p.until(state("playing"))
	s.end(1000, "codec changed")
	p.until(state("reconnecting"))
	p.until(state("playing"))
	assert.Equal(t, 1, eval[int](p, "sluice.figures.reconnects"))
}

func TestPageSaysWhyItIsRefused(t *testing.T) {
	for _, over := range []string{"ws", "http"} {
		t.Run(over, func(t *testing.T) {
			s, p := newSource(t, true), browser(t)
			s.turnAway(4403, "the token has run out")
			p.open(s.URL + "/?stream=live/demo&over=" + over)
			p.until(state("failed"))
			assert.Equal(t, "The token has run out.", eval[string](p, "document.getElementById('detail').textContent"))
			assert.Equal(t, 1, s.count(over), "no second attempt by itself")
			s.turnAway(0, "")
			p.click("#again")
			p.until(state("playing"))
		})
	}
}

// The usual trouble behind a proxy: what helps is one click away.
func TestPageOffersHTTPWhereWebSocketsDoNotPass(t *testing.T) {
	s, p := newSource(t, true), browser(t)
	s.proxy = true
	p.open(s.URL + "/?stream=live/demo")
	p.until(state("reconnecting"))
	p.until("!document.getElementById('other').hidden")
	assert.Contains(t, eval[string](p, "document.getElementById('detail').textContent"), "does not get through")
	p.click("#other")
	p.until(state("playing"))
	assert.Equal(t, "http", eval[string](p, "sluice.over"))
}

func TestPageSaysWhatItCannotPlay(t *testing.T) {
	s, p := newSource(t, true), browser(t)
	s.headers = []byte(strings.Repeat("this is no FLV. ", 100))
	p.open(s.URL + "/?stream=live/demo")
	p.until(state("failed"))
	assert.Equal(t, "What the server sends is no FLV.", eval[string](p, "document.getElementById('detail').textContent"))
	assert.Equal(t, 1, s.count("ws"), "no second attempt by itself")
}

// A binary that was built without go generate says so, and lists all the same.
func TestPageWithoutThePlayer(t *testing.T) {
	p := browser(t)
	s := httptest.NewServer(Handler(Config{Logger: quiet, assets: files(t, false), Streams: func() []Stream { return []Stream{demo()} }}))
	t.Cleanup(s.Close)
	p.open(s.URL)
	p.until(state("streams"))
	assert.True(t, eval[bool](p, "document.getElementById('missing').innerText.includes('go generate ./web')"))
	p.click(".card h2 a")
	p.until(state("failed"))
	assert.Contains(t, eval[string](p, "document.getElementById('detail').textContent"), "run go generate ./web")
	assert.True(t, eval[bool](p, "document.querySelectorAll('#elsewhere .copyable').length > 5"), "other ways stand there")
}

func TestPageListsStreams(t *testing.T) {
	s, p := newSource(t, false), browser(t)
	p.open(s.URL)
	p.until(state("empty"))
	assert.Contains(t, eval[string](p, "document.getElementById('how').textContent"), "rtmp://127.0.0.1/live")

	s.publish()
	p.until(state("streams"))
	card := func() string { return eval[string](p, "document.querySelector('.card').innerText") }
	for _, want := range []string{"live/demo", "Live", "H.264 Main", "640×360, 30 fps", "AAC, 48 kHz stereo", "2.4 Mbit/s", "3 viewers", "1:01"} {
		assert.Contains(t, card(), want)
	}
	assert.NotContains(t, card(), "RTMP", "as of every stream")
	busy := demo()
	busy.Viewers.Total, busy.UptimeMS = 4321, 3_600_000
	other := Stream{App: "a/b", Name: "c", State: "grace"}
	s.set(other, busy)
	p.until("document.querySelectorAll('.card').length === 2")
	p.until("document.body.innerText.includes('4321') && document.body.innerText.includes('1:00:00')")
	assert.Equal(t, "/?stream=a/b/c", eval[string](p, "document.querySelector('.card a').getAttribute('href')"))

	// A card goes, and the other keeps what was opened in it.
	p.click(".card:last-child summary")
	p.until("document.querySelectorAll('.card:last-child .copyable').length > 5")
	s.set(busy)
	p.until("document.querySelectorAll('.card').length === 1")
	assert.True(t, eval[bool](p, "document.querySelector('.card details').open"))
}

// Where watching needs permission, the page says so instead of how to publish, and plays what
// the server lets it play.
func TestPageOfPrivateStreams(t *testing.T) {
	s, p := newSourceOf(t, true, Config{Private: true}), browser(t)
	p.open(s.URL)
	p.until(state("private"))
	said := eval[string](p, "document.getElementById('list').innerText")
	assert.Contains(t, said, "The streams here are not listed")
	assert.Contains(t, said, "Watching needs permission on this server")
	assert.NotContains(t, said, "Nothing is live")
	assert.NotContains(t, said, "live/demo", "nothing of what there is")
	p.screenshot("private")

	p.open(s.URL + "/?stream=live/demo")
	p.until(state("playing"))
	p.until("document.getElementById('figures').innerText.includes('Not shown to the public')")
	s.unpublish()
	p.until(state("ended"))
	s.publish()
	p.until(state("playing"))
}

func TestPageIsWalkedByLinksAndHistory(t *testing.T) {
	s, p := newSource(t, true), browser(t)
	p.open(s.URL)
	p.until(state("streams"))
	p.click(".card h2 a")
	p.until(state("playing"))
	assert.Equal(t, "?stream=live/demo", eval[string](p, "location.search"))
	assert.Equal(t, "live/demo · Sluice", eval[string](p, "document.title"))
	p.run(chromedp.NavigateBack())
	p.until(state("streams"))
	assert.True(t, eval[bool](p, "document.getElementById('watch').hidden && document.getElementById('video').paused"))
	p.run(chromedp.NavigateForward())
	p.until(state("playing"))
	p.click("a.back")
	p.until(state("streams"))
}

// A visitor who goes elsewhere no longer watches, though the browser keeps the page for
// the way back; one who comes back does.
func TestPageLeavesItsViewersPlace(t *testing.T) {
	for _, over := range []string{"ws", "http"} {
		t.Run(over, func(t *testing.T) {
			s, p := newSource(t, true), browser(t)
			nobody := func() bool { return s.watching() == 0 }
			p.open(s.URL + "/?stream=live/demo&over=" + over)
			p.until(state("playing"))
			p.open(s.URL + "/api/v1/streams")
			require.Eventually(t, nobody, patience, 10*time.Millisecond)
			// Nothing loads when a kept page comes back, so there is nothing to wait for.
			// It may do so before the browser has answered.
			p.run(chromedp.Evaluate[chromedp.Void]("void setTimeout(() => history.back())"))
			require.Eventually(t, func() bool {
				ctx, cancel := context.WithTimeout(p.ctx, time.Second)
				defer cancel()
				playing, err := chromedp.Run(ctx, chromedp.Evaluate[bool](state("playing")))
				return err == nil && playing
			}, patience, 50*time.Millisecond)
			assert.Equal(t, 1, s.watching())
			p.run(chromedp.Evaluate[chromedp.Void]("void setTimeout(() => document.querySelector('a.back').click())"))
			require.Eventually(t, nobody, patience, 10*time.Millisecond)
		})
	}
}

// Names come from strangers. They must neither become markup nor run in the
// shell of somebody who pastes a line.
func TestPageDistrustsNames(t *testing.T) {
	s, p := newSource(t, false), browser(t)
	const name = `<img src=x onerror=alert(1)>$(touch x);'"` + "`id`"
	evil := demo()
	evil.Name = name
	s.set(evil)
	p.open(s.URL)
	p.until(state("streams"))
	assert.Equal(t, "live/"+name, eval[string](p, "document.querySelector('.card h2').textContent"))
	p.click(".card summary")
	p.until("document.querySelectorAll('.card .copyable').length > 5")
	lines := eval[[]string](p, "[...document.querySelectorAll('.card .copyable code')].map((c) => c.textContent)")
	for _, line := range lines {
		if strings.Contains(line, "://") {
			assert.NotRegexp(t, "[$;'\"`<>()&|\\\\]", line)
		}
	}
	p.click(".card h2 a")
	p.until(state("waiting", "connecting"))
	assert.Equal(t, "live/"+name, eval[string](p, "document.getElementById('title').textContent"))
	assert.False(t, eval[bool](p, "!!document.querySelector('main img')"))
}

func TestPageCopies(t *testing.T) {
	s, p := newSource(t, true), browser(t)
	p.open(s.URL + "/?stream=live/demo")
	p.until("document.querySelectorAll('#addresses .copyable').length > 6")
	lines := eval[[]string](p, "[...document.querySelectorAll('#addresses code')].map((c) => c.textContent)")
	host := strings.TrimPrefix(s.URL, "http://")
	for _, want := range []string{
		"http://" + host + "/?stream=live/demo",
		"ffplay -fflags nobuffer rtmp://127.0.0.1/live/demo",
		"ffplay -fflags nobuffer http://" + host + "/live/demo.flv",
		"curl -f -o demo.flv http://" + host + "/live/demo.flv",
		"ws://" + host + "/live/demo.flv",
		"rtmp://127.0.0.1/live", "demo",
	} {
		assert.Contains(t, lines, want)
	}
	// Without the clipboard API, as on plain http from another machine.
	p.run(chromedp.Evaluate[chromedp.Void]("Object.defineProperty(navigator, 'clipboard', {value: undefined})"))
	p.run(chromedp.Evaluate[chromedp.Void]("document.addEventListener('copy', () => { window.copied = String(getSelection()) })"))
	p.click("#elsewhere .copy")
	p.until("document.querySelector('#elsewhere .copy').textContent === 'Copied'")
	assert.Equal(t, lines[0], eval[string](p, "window.copied"))
}

func TestPageSaysWhenTheServerIsGone(t *testing.T) {
	s, p := newSource(t, true), browser(t)
	p.open(s.URL)
	p.until(state("streams"))
	s.Listener.Close()
	s.CloseClientConnections()
	p.until(state("unreachable"))
	assert.Contains(t, eval[string](p, "document.getElementById('unreachable').textContent"), "does not answer")
	assert.Equal(t, 1, eval[int](p, "document.querySelectorAll('.card').length"), "what was known stays")
}

func TestPagePauses(t *testing.T) {
	s, p := newSource(t, true), browser(t)
	p.open(s.URL + "/?stream=live/demo")
	p.until(state("playing"))
	p.run(chromedp.Evaluate[chromedp.Void]("document.body.focus()"), chromedp.KeyEvent(" "))
	p.until(state("paused"))
	at := eval[float64](p, "sluice.time")
	p.until("sluice.buffered > 2.5")
	assert.InDelta(t, at, eval[float64](p, "sluice.time"), 0.3)
	p.run(chromedp.KeyEvent(" "))
	p.until(state("playing"))
	p.until("sluice.lag < sluice.target + 0.7") // at the live edge, not where it was
	assert.Equal(t, 1, eval[int](p, "sluice.figures.sessions"))
}

// On a small screen nothing sticks out, in either scheme.
func TestPageFitsAPhone(t *testing.T) {
	s, p := newSource(t, true), browser(t)
	p.run(chromedp.EmulateViewport(360, 740, chromedp.EmulateMobile, chromedp.EmulateTouch))
	for _, path := range []string{"/", "/?stream=live/demo"} {
		p.open(s.URL + path)
		p.until(state("streams", "playing"))
		assert.LessOrEqual(t, eval[int](p, "document.documentElement.scrollWidth"), 360, path)
	}
}

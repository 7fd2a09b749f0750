package console

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/web/browsertest"
)

const shownRows = "document.querySelectorAll('main tbody tr').length"

// With 20,000 sessions only those of one page are asked for, and shown at once.
func TestManySessions(t *testing.T) {
	r := newRig(t)
	r.populate(300, 19_700)
	p := r.tab(t)
	p.login("#/")
	p.Until("document.querySelectorAll('.overview tbody tr').length >= 10")
	r.requests()

	began := time.Now()
	p.visit("#/sessions")
	p.Until(shownRows + " === 50")
	t.Logf("the page of sessions is there after %v", time.Since(began).Round(time.Millisecond))
	assert.Equal(t, "1–50 of 20,000 sessions", p.text(".pages"))
	p.round()
	for _, asked := range r.requests() {
		if strings.HasPrefix(asked, "GET /api/v1/sessions") {
			assert.Equal(t, "GET /api/v1/sessions?limit=50", asked)
		}
	}
	p.Run(chromedp.Evaluate[chromedp.Void]("[...document.querySelectorAll('.pager button')].at(-1).click()"))
	p.Until("document.querySelector('.pages').textContent === '51–100 of 20,000 sessions'")
	assert.Equal(t, fmt.Sprint(r.sessions()[50]), p.text("tbody tr .id"))
	p.Run(chromedp.Evaluate[chromedp.Void]("[...document.querySelectorAll('.pager button')].at(-1).click()"))
	p.Until("document.querySelector('.pages').textContent.startsWith('101–150')")
	p.Run(chromedp.Evaluate[chromedp.Void]("document.querySelectorAll('.pager button')[1].click()"))
	p.Until("document.querySelector('.pages').textContent.startsWith('51–100')")
	p.Run(chromedp.Evaluate[chromedp.Void]("history.back()"))
	p.Until("document.querySelector('.pages').textContent.startsWith('101–150')")

	p.Run(chromedp.Evaluate[chromedp.Void]("[...document.querySelectorAll('button.sort')].find((b) => b.textContent === 'Lag').click()"))
	p.Until("location.hash === '#/sessions?sort=-lag' && document.querySelector('[aria-sort]').ariaSort === 'descending' && document.querySelector('.pages').textContent.startsWith('1–50')")
	p.Run(chromedp.Evaluate[chromedp.Void]("[...document.querySelectorAll('button.sort')].find((b) => b.textContent === 'Lag').click()"))
	p.Until("location.hash === '#/sessions?sort=lag'")
	p.round()
	assert.Contains(t, r.requests(), "GET /api/v1/sessions?sort=-lag&limit=50")

	p.visit("#/sessions?role=publish&protocol=rtmp")
	p.Until("document.querySelector('.pages').textContent === '1–50 of 300 sessions'")
	p.visit("#/sessions?stream=live%2Fchannel-007&role=watch")
	p.Until("/ of 6[56] sessions/.test(document.querySelector('.pages').textContent)")
}

// TestStreams looks at few and many.
func TestStreams(t *testing.T) {
	for _, n := range []int{0, 3, 300} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			r := newRig(t)
			r.populate(n, n)
			p := r.tab(t)
			p.Run(desktop)
			p.login("#/")
			p.Until(fmt.Sprintf("document.querySelectorAll('.overview .name').length >= %d", min(n, 10)))
			assert.Equal(t, n == 0, browsertest.Eval[bool](p.Page, "document.querySelector('main').innerText.includes('Nothing is live.')"))
			if n == 3 {
				assert.Equal(t, "What is wrong with 2 publishers", p.text(".overview .box h2"))
				assert.Equal(t, "live/channel-001", p.text(".overview tbody .name"), "the sick ones come first")
			}
			p.Screenshot(fmt.Sprintf("desktop-%d-overview", n))
			p.visit("#/streams")
			p.Until(fmt.Sprintf("%s === %d", shownRows, min(n, 100)))
			p.Screenshot(fmt.Sprintf("desktop-%d-streams", n))
			if n == 300 {
				p.Run(chromedp.Evaluate[chromedp.Void]("[...document.querySelectorAll('button.sort')].find((b) => b.textContent === 'Health').click()"))
				p.Until("location.hash === '#/streams?sort=-health' && document.querySelector('[aria-sort]').ariaSort === 'descending' && document.querySelector('tbody .trouble').textContent !== 'Good'")
				p.Screenshot("desktop-300-streams-sorted")
				p.visit("#/streams?search=CHANNEL-01")
				p.Until(shownRows + " === 10")
			}
			if n == 0 {
				assert.Equal(t, "No stream fits.", p.text(".table .nothing"))
			}
			p.Run(phone)
			p.fits(390, "streams")
			p.visit("#/")
			p.Screenshot(fmt.Sprintf("phone-%d-overview", n))
			p.fits(390, "overview")
		})
	}
}

// Rows stay the elements that they are: the focus and a selection outlast what is heard.
func TestRowsStay(t *testing.T) {
	r := newRig(t)
	r.populate(3, 6)
	p := r.tab(t)
	p.login("#/sessions")
	p.Until(shownRows + " === 9")
	p.Run(chromedp.Evaluate[chromedp.Void](`window.row = document.querySelectorAll('tbody tr')[4]; row.querySelector('.id a').focus();
		getSelection().selectAllChildren(row.querySelector('.address'));`))
	extra := r.watch("live/channel-000", client(99, "rtmp", "", ""))
	p.Until(shownRows + " === 10")
	p.round()
	assert.Equal(t, "true", p.eval("row === document.querySelectorAll('tbody tr')[4] && document.activeElement === row.querySelector('.id a')"))
	assert.Equal(t, "192.0.0.1", browsertest.Eval[string](p.Page, "String(getSelection())"))
	extra.Close()
	p.Until(shownRows + " === 9")
	assert.Equal(t, "true", p.eval("document.activeElement === row.querySelector('.id a')"))
}

// What clients say is text, whatever it looks like, and moves nothing around it.
func TestNames(t *testing.T) {
	r := newRig(t)
	r.populateNames()
	p := r.tab(t)
	p.Run(desktop, chromedp.Evaluate[chromedp.Void]("window.alert = () => { window.alerted = true }"))
	p.login("#/sessions")
	p.Until(fmt.Sprintf("%s === %d", shownRows, 2*len(names)))
	shown := browsertest.Eval[[]string](p.Page, "[...document.querySelectorAll('td.name')].map((e) => e.textContent)")
	for _, name := range names {
		assert.Contains(t, shown, name)
	}
	said := strings.Join(browsertest.Eval[[]string](p.Page, "[...document.querySelectorAll('td.who')].map((e) => e.textContent)"), "\n")
	for _, want := range []string{words[0], words[1], "‹U+202E›gnp.exe‹U+202C›", "tab‹U+0009›and‹U+000A›line‹U+0000›end‹U+001B›[31m", "zero‹U+200B›width‹U+FEFF›", "👩🏽‍💻"} {
		assert.Contains(t, said, want)
	}
	const alien = "document.querySelectorAll('main :is(script, img, iframe, object, embed, style, link)').length + document.querySelectorAll('script').length"
	inside := `[...document.querySelectorAll('bdi')].every((e) => {
		const box = e.getBoundingClientRect(), cell = e.closest('td, h1, dd, p').getBoundingClientRect();
		return box.left >= cell.left - 1 && box.right <= cell.right + 1 && getComputedStyle(e).unicodeBidi === 'isolate';
	})`
	for _, id := range r.sessions() {
		p.visit(fmt.Sprintf("#/session/%d", id))
		require.Equal(t, "1", p.eval(alien))
		require.Equal(t, "true", p.eval(inside))
	}
	p.visit("#/streams")
	assert.Equal(t, "true", p.eval(inside))
	for _, link := range browsertest.Eval[[]string](p.Page, "[...document.querySelectorAll('td.name a')].map((a) => a.getAttribute('href'))") {
		p.visit(link)
		p.Until("document.querySelector('.actions') && " + shownRows + " >= 2")
		assert.Contains(t, names, browsertest.Eval[string](p.Page, "document.querySelector('h1').textContent"))
		require.Equal(t, "1", p.eval(alien))
	}
	assert.Equal(t, "true", p.eval("window.alerted === undefined"))
}

// A page is left by nobody who pages through a list that has become shorter, or has mistyped.
func TestRefusedQueries(t *testing.T) {
	r := newRig(t)
	r.populate(1, 1)
	p := r.tab(t)
	p.login("#/streams")
	for hash, want := range map[string]string{
		"#/sessions?cursor=x&page=2":  "The server refuses this: Cursor is",
		"#/sessions?stream=a*b*":      "The server refuses this: Stream is APP/NAME",
		"#/recordings?stream=%21live": "The server refuses this:",
	} {
		p.Run(chromedp.Evaluate[chromedp.Void](fmt.Sprintf("void (location.hash = %q)", hash)))
		p.Until(fmt.Sprintf("sluice.hash === %q && %s", hash, state("refused", "ready")))
		if browsertest.Eval[string](p.Page, "sluice.state") == "refused" {
			assert.Contains(t, p.text("#unreachable"), want, hash)
		}
	}
	p.visit("#/nowhere")
	assert.Equal(t, `"overview"`, p.eval("sluice.view"))
	p.visit("#/stream/nobody%2Fknows")
	p.Until("document.querySelector('.titles .hint').textContent.startsWith('Nobody publishes it')")
	p.visit("#/session/999999")
	p.Until("document.querySelector('.titles .hint').textContent.startsWith('There is no such session')")
	p.Run(chromedp.Evaluate[chromedp.Void]("void (location.hash = '#/session/%3Cimg%3E')"))
	p.Until("sluice.hash === '#/session/%3Cimg%3E' && " + state("refused"))
	assert.Equal(t, "The server refuses this: A session has a number.", p.text("#unreachable"))
}

// TestWordsOfAddress holds the page where somebody wrote words into its address that mean something
// to JavaScript, or patterns that mean something to the server.
func TestWordsOfAddress(t *testing.T) {
	r := newRig(t)
	r.populate(2, 0)
	r.happen()
	p := r.tab(t)
	p.login("#/")
	for _, word := range []string{"constructor", "__proto__", "toString"} {
		p.visit("#/events?show=" + word)
		p.Until("document.querySelectorAll('main tbody tr').length > 0")
		p.visit("#/" + word)
		p.Until("document.querySelector('h1').textContent === 'Overview'")
	}
	for _, name := range []string{"", "**", "live%2F*"} {
		r.requests()
		p.visit("#/stream/" + name)
		p.Until("document.querySelector('h1').textContent === 'Streams' && " + shownRows + " === 2")
		for _, asked := range r.requests() {
			assert.NotContains(t, asked, "stream=", "no stream has this name")
		}
	}
}

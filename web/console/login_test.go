package console

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"

	"sluice/web/browsertest"
)

var state = browsertest.State

// kept is everything that a page leaves behind or shows, in which no token may be.
const kept = `document.cookie + location.href + JSON.stringify({...localStorage}) + JSON.stringify({...sessionStorage}) +
	JSON.stringify(history.state) + document.documentElement.outerHTML + JSON.stringify({...sluice})`

func TestLogin(t *testing.T) {
	r := newRig(t)
	r.populate(1, 3)
	p := r.tab(t)
	p.Open(r.URL + Path + "#/stream/live%2Fchannel-000")
	p.Until(state("login"))
	assert.Equal(t, "Log in – Sluice console", browsertest.Eval[string](p.Page, "document.title"))
	assert.Equal(t, "password", browsertest.Eval[string](p.Page, "document.activeElement.type"), "the focus is where the token goes")
	assert.Empty(t, r.requests(), "nothing is asked without a token")
	assert.False(t, browsertest.Eval[bool](p.Page, "!!document.getElementById('clear')"), "nothing crosses a network here")

	p.typed("wrong-token-wrong-token" + kb.Enter)
	p.Until(`document.getElementById('wrong').textContent === 'This is not the token.'`)
	p.typed("日本" + kb.Enter)
	p.Until(`document.getElementById('wrong').textContent.includes('characters that a token cannot have')`)
	assert.Len(t, r.requests(), 1, "what cannot be a token is not sent")

	p.typed(" " + token + kb.Enter)
	p.Until(state("ready"))
	assert.Equal(t, "live/channel-000 – Sluice console", browsertest.Eval[string](p.Page, "document.title"), "the link counts")
	assert.Equal(t, "title", browsertest.Eval[string](p.Page, "document.activeElement.id"))
	assert.NotContains(t, browsertest.Eval[string](p.Page, kept), token)

	p.visit("#/sessions")
	p.Run(chromedp.Evaluate[chromedp.Void]("history.back()"))
	p.Until("sluice.view === 'stream' && " + state("ready"))
	p.Run(chromedp.Reload())
	p.Until("sluice.view === 'login' && " + state("login"))
}

// Where the token crosses a network in clear, the page says so before it is shown.
func TestLoginInClear(t *testing.T) {
	r := newRig(t)
	p := r.tab(t, chromedp.Flag("host-resolver-rules", "MAP console.test 127.0.0.1"))
	p.Open("http://console.test:" + r.URL[strings.LastIndex(r.URL, ":")+1:] + Path)
	p.Until(state("login"))
	assert.Contains(t, p.text("#clear"), "crosses the network in clear")
	p.Screenshot("desktop-light-clear")
}

func TestLogOut(t *testing.T) {
	r := newRig(t)
	r.populate(1, 3)
	p := r.tab(t)
	p.login("#/sessions")
	p.Until("document.querySelectorAll('tbody tr').length === 4")
	p.Click("#logout")
	p.Until(state("login"))
	assert.NotContains(t, p.text("body"), "channel-000")
	r.requests()
	p.Run(chromedp.Evaluate[chromedp.Void]("location.hash = '#/streams', document.dispatchEvent(new Event('visibilitychange')), dispatchEvent(new Event('online'))"))
	p.typed("wrong-token-wrong-token" + kb.Enter)
	p.Until("!document.getElementById('wrong').hidden")
	assert.Equal(t, []string{"GET /api/v1/info"}, r.requests(), "nobody else asks")
}

// An address with too many wrong tokens is told how long it has to wait.
func TestTooManyWrongTokens(t *testing.T) {
	p := newRig(t).tab(t)
	p.Open(p.rig.URL + Path)
	p.Until(state("login"))
	for n := range 10 {
		p.typed(fmt.Sprint("wrong-token-wrong-token-", n) + kb.Enter)
		p.Until("document.querySelector('#token').getAttribute('aria-invalid') === 'true' && !document.getElementById('wrong').hidden")
	}
	p.Run(chromedp.Evaluate[chromedp.Void]("document.getElementById('wrong').textContent = ''"))
	p.typed(token + kb.Enter)
	p.Until(`/^Too many wrong tokens from your address. Try again in \d+ s.$/.test(document.getElementById('wrong').textContent)`)
}

// The server has another token now: whoever is inside has to show that one, and finds the page
// again. A question that is open goes with the rest.
func TestTokenChanges(t *testing.T) {
	r := newRig(t)
	r.populate(1, 3)
	p := r.tab(t)
	p.login("#/stream/live%2Fchannel-000")
	p.Click(".actions .danger")
	p.Until("!!document.getElementById('dialog')")
	const other = "another-token-of-some-length"
	r.token.Store(other)
	p.Until(state("login"))
	assert.Contains(t, p.text(".because"), "This is not the token. Log in again")
	assert.False(t, browsertest.Eval[bool](p.Page, "!!document.getElementById('dialog')"))
	assert.Equal(t, "token", browsertest.Eval[string](p.Page, "document.activeElement.id"))
	p.typed(other + kb.Enter)
	p.Until("sluice.view === 'stream' && " + state("ready"))
}

// A server that is away is told of, and what was known stays until it is back.
func TestServerAway(t *testing.T) {
	r := newRig(t)
	r.populate(2, 4)
	p := r.tab(t)
	p.login("#/streams")
	p.Until("document.querySelectorAll('tbody tr').length === 2")
	r.away.Store(true)
	p.Until(state("unreachable"))
	assert.Regexp(t, `^The server does not answer \(no connection\). What is shown is of .+ Trying again by itself.$`, p.text("#unreachable"))
	assert.Equal(t, "2", p.eval("document.querySelectorAll('tbody tr').length"))
	r.away.Store(false)
	p.Until(state("ready"))
	assert.Equal(t, "true", p.eval("document.getElementById('unreachable').hidden"))
}

// Nothing is asked while nobody looks.
func TestHiddenAsksNothing(t *testing.T) {
	r := newRig(t)
	r.populate(1, 1)
	p := r.tab(t)
	p.login("#/")
	hide := func(hidden string) {
		p.Run(chromedp.Evaluate[chromedp.Void]("Object.defineProperty(document, 'hidden', {value: " + hidden + ", configurable: true}); document.dispatchEvent(new Event('visibilitychange'))"))
	}
	hide("true")
	r.requests()
	p.Run(chromedp.Evaluate[chromedp.Void]("dispatchEvent(new Event('online')); window.later = 0; setTimeout(() => { window.later = 1 }, 3000)"))
	r.events.add("publish", "live/channel-000", nil)
	p.Until("window.later === 1")
	assert.Empty(t, r.requests())
	hide("false")
	p.round()
	assert.NotEmpty(t, r.requests())
}

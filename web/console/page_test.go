package console

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"

	"sluice/web/browsertest"
)

// pages are all pages of the console, in one of which there is much to see.
var pages = []struct{ name, hash string }{
	{"overview", "#/"}, {"streams", "#/streams"}, {"stream", "#/stream/live%2Fchannel-001"}, {"sessions", "#/sessions"},
	{"session", ""}, {"events", "#/events"}, {"relays", "#/relays"}, {"recordings", "#/recordings"}, {"bans", "#/bans"},
	{"names", "#/sessions?sort=-id"}, {"name", "#/stream/" + strings.ReplaceAll(names[10], "/", "%2F")},
}

// everything is a rig in which there is something of everything.
func everything(t *testing.T) *rig {
	r := newRig(t)
	r.populate(3, 400)
	r.populateNames()
	r.watch("live/wanted", client(7, "rtmp", "VLC", ""))
	r.tapes.record("live/channel-001", 5)
	r.relays.fill()
	r.backup("live/channel-001", client(9, "rtmp", "OBS, too", "studio-1"))
	r.ban()
	r.happen()
	return r
}

// Every page fits where it is looked at, down to 320 pixels, and in both schemes axe-core finds
// nothing that is serious.
func TestPages(t *testing.T) {
	axe := axe(t)
	r := everything(t)
	p := r.tab(t)
	p.Open(r.URL + Path)
	p.Until(state("login"))
	p.look(axe, "login")
	p.login("#/")
	for _, page := range pages {
		if page.name == "session" {
			page.hash = fmt.Sprintf("#/session/%d", r.sessions()[7])
		}
		p.visit(page.hash)
		p.Until("!!document.querySelector('main tbody tr, main .figures div')")
		p.look(axe, page.name)
	}
	for _, dialog := range []string{"End…", "Ban…"} {
		p.visit("#/stream/live%2Fchannel-001")
		p.press(".actions", dialog)
		p.Until("!!document.getElementById('dialog')")
		p.look(axe, "dialog-"+strings.ToLower(strings.TrimSuffix(dialog, "…")))
		p.press("#dialog", "Cancel")
		p.Until("!document.getElementById('dialog')")
	}
	r.away.Store(true)
	p.Until(state("unreachable"))
	p.look(axe, "away")
}

// How long certificates last, and why they are not replaced, is on the first page.
func TestCertificates(t *testing.T) {
	r := newRig(t)
	p := r.tab(t)
	p.Open(r.URL + Path)
	p.Until(state("login"))
	p.login("#/")
	p.Until("document.querySelectorAll('[aria-label=Certificates] tbody tr').length === 4")
	assert.Equal(t, []string{
		"media.example.com *.media.example.com|60 days|–", "<i>‹U+202E›&amp;|1 day|/etc/tls/key.pem: permission denied", "old.example.com|Expired|–",
		"new.example.com|None yet|http-01: Fetching http://new.example.com/.well-known/acme-challenge/x: Connection refused <b>",
	}, browsertest.Eval[[]string](p.Page, `[...document.querySelectorAll('[aria-label=Certificates] tbody tr')].map((r) => [...r.cells].map((c) => c.textContent).join('|'))`))
	p.Run(desktop)
	p.Screenshot("certificates")
}

// look looks at the page on all screens.
func (p *tab) look(axe, name string) {
	p.t.Helper()
	for _, scheme := range []string{"light", "dark"} {
		p.scheme(scheme)
		p.Run(desktop)
		p.Screenshot("desktop-" + scheme + "-" + name)
		p.accessible(axe, name+" "+scheme+" on a desktop")
		p.Run(phone)
		p.Screenshot("phone-" + scheme + "-" + name)
		p.fits(390, name)
		p.accessible(axe, name+" "+scheme+" on a phone")
	}
	p.Run(small)
	p.Screenshot("small-dark-" + name)
	p.fits(320, name)
	p.Run(desktop)
}

// axe returns the script of axe-core.
func axe(t *testing.T) string {
	t.Helper()
	script, err := os.ReadFile("../node_modules/axe-core/axe.min.js")
	if err != nil {
		browsertest.LeaveOut(t, "axe-core is missing; go generate ./web")
	}
	return string(script)
}

// accessible wants no serious finding of axe-core.
func (p *tab) accessible(axe, what string) {
	p.t.Helper()
	if !browsertest.Eval[bool](p.Page, "'axe' in window") {
		p.Run(chromedp.Evaluate[chromedp.Void]("void (0, eval)(" + quote(axe) + ")"))
	}
	p.Run(chromedp.Evaluate[chromedp.Void](`window.found = null; void axe.run(document, {resultTypes: ['violations']}).then((r) => {
		window.found = r.violations.filter((v) => v.impact === 'serious' || v.impact === 'critical')
			.map((v) => v.id + ': ' + v.help + ': ' + v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160) + ' ' + (n.any[0]?.message ?? '')).join(' | '));
	})`))
	p.Until("window.found !== null")
	assert.Empty(p.t, browsertest.Eval[[]string](p.Page, "window.found"), what)
}

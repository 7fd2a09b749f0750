package console

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/web/browsertest"
)

// tabTo presses Tab until the focus is on an element with a text, and wants the focus to be
// seen on all elements on the way.
func (p *tab) tabTo(selector, text string) {
	p.t.Helper()
	for range 200 {
		p.typed(kb.Tab)
		if browsertest.Eval[bool](p.Page, `document.activeElement === document.body`) {
			continue
		}
		seen := browsertest.Eval[string](p.Page, `(() => {
			const e = document.activeElement, style = getComputedStyle(e), box = e.getBoundingClientRect();
			return style.outlineStyle === 'none' || box.width === 0 || box.right <= 0 || box.bottom <= 0 ? e.outerHTML : '';
		})()`)
		require.Empty(p.t, seen, "has the focus, and nobody sees it")
		if browsertest.Eval[bool](p.Page, fmt.Sprintf(`document.activeElement.matches(%q) && document.activeElement.textContent.trim().startsWith(%q)`, selector, text)) {
			return
		}
	}
	p.t.Fatalf("Tab does not come to %s %q", selector, text)
}

func (p *tab) focused(what string) {
	p.t.Helper()
	p.Until("document.activeElement.matches(" + fmt.Sprintf("%q", what) + ")")
}

// With nothing but the keyboard: in, to the sessions, sorted, on the next page, to a stream, to
// the question whether to end it, not to do so, and out.
func TestKeyboard(t *testing.T) {
	r := newRig(t)
	r.populate(2, 120)
	p := r.tab(t)
	p.Run(desktop)
	p.Open(r.URL + Path)
	p.Until(state("login"))
	p.typed(token + kb.Enter)
	p.Until(state("ready"))
	p.focused("h1#title")

	p.Open(r.URL + Path + "?again")
	p.Until(state("login"))
	p.tabTo("a#skip", "Skip to the content")
	p.typed(kb.Enter)
	p.focused("main")
	p.tabTo("input#token", "")
	p.typed(token + kb.Enter)
	p.Until(state("ready"))

	p.tabTo(".all a", "All streams")
	p.typed(kb.Enter)
	p.Until("sluice.view === 'streams' && " + state("ready"))
	p.focused("h1#title")
	p.tabTo("td.name a", "live/channel-001")
	p.tabTo("#skip", "") // around
	p.tabTo("#nav a", "Sessions")
	p.typed(kb.Enter)
	p.Until("sluice.view === 'sessions' && " + shownRows + " === 50")
	assert.Equal(t, "page", browsertest.Eval[string](p.Page, "document.querySelector('#nav a[href=\"#/sessions\"]').getAttribute('aria-current')"))

	p.tabTo("button.sort", "Lag")
	p.typed(kb.Enter)
	p.Until("location.hash === '#/sessions?sort=-lag' && " + state("ready"))
	p.focused("[aria-sort=descending] button.sort")
	p.tabTo(".pager button", "Next")
	p.typed(kb.Enter)
	p.Until("document.querySelector('.pages').textContent.startsWith('51–100')")
	p.focused(".pager button")
	p.typed(kb.Enter)
	p.Until("document.querySelector('.pages').textContent === '101–122 of 122 sessions'")
	p.typed(kb.Enter) // there is nothing behind the last one
	p.focused(".pager button[aria-disabled=true]")
	p.visit("#/streams") // the focus is at the beginning of another page
	p.tabTo("td.name a", "live/channel-000")
	p.typed(kb.Enter)
	p.Until("sluice.view === 'stream' && " + state("ready"))
	p.focused("h1#title")
	assert.Equal(t, "live/channel-000 – Sluice console", browsertest.Eval[string](p.Page, "document.title"))

	p.tabTo(".actions button", "End…")
	p.typed(kb.Enter)
	p.Until("!!document.getElementById('dialog')")
	p.Screenshot("desktop-light-dialog-end")
	for range 12 { // nothing behind it gets the focus
		p.typed(kb.Tab)
		require.Equal(t, "true", p.eval("document.activeElement === document.body || document.getElementById('dialog').contains(document.activeElement)"))
	}
	p.tabTo("#dialog button", "Cancel")
	p.typed(kb.Enter)
	p.Until("!document.getElementById('dialog')")
	p.focused(".actions button.danger")
	p.typed(kb.Enter)
	p.Until("!!document.getElementById('dialog')")
	p.typed(kb.Escape)
	p.Until("!document.getElementById('dialog')")
	p.focused(".actions button.danger")
	for _, asked := range r.requests() {
		assert.Contains(t, asked, "GET ", "nothing was done")
	}
	p.tabTo("button#logout", "Log out")
	p.typed(kb.Enter)
	p.Until(state("login"))
}

package console

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"sluice/web/browsertest"
)

// tab is a tab of a browser that shows the console of a rig.
type tab struct {
	*browsertest.Page
	t   *testing.T
	rig *rig
}

func (r *rig) tab(t *testing.T, options ...chromedp.ExecAllocatorOption) *tab {
	return &tab{browsertest.New(t, options...), t, r}
}

// phone and desktop are what the console is looked at on.
var (
	phone   = chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile, chromedp.EmulateTouch)
	desktop = chromedp.EmulateViewport(1280, 800)
	small   = chromedp.EmulateViewport(320, 640, chromedp.EmulateMobile, chromedp.EmulateTouch)
)

func (p *tab) eval(expression string) string {
	p.t.Helper()
	return string(browsertest.Eval[json.RawMessage](p.Page, expression))
}

func (p *tab) text(selector string) string {
	p.t.Helper()
	return browsertest.Eval[string](p.Page, fmt.Sprintf("document.querySelector(%q).innerText", selector))
}

// login opens a page of the console, such as "#/streams", with the token.
func (p *tab) login(hash string) {
	p.t.Helper()
	p.Open(p.rig.URL + Path + hash)
	p.Until(browsertest.State("login"))
	p.typed(token + kb.Enter)
	p.Until(browsertest.State("ready"))
}

// visit opens another page, logged in.
func (p *tab) visit(hash string) {
	p.t.Helper()
	p.Run(chromedp.Evaluate[chromedp.Void](fmt.Sprintf("void (location.hash = %q)", hash)))
	p.Until(fmt.Sprintf("sluice.hash === %q && %s", hash, browsertest.State("ready")))
}

// typed types where the focus is.
func (p *tab) typed(keys string) {
	p.t.Helper()
	p.Run(chromedp.KeyEvent(keys))
}

// round waits for a refresh that begins after now.
func (p *tab) round() {
	p.t.Helper()
	n := browsertest.Eval[int](p.Page, "sluice.rounds")
	p.Until(fmt.Sprintf("sluice.rounds > %d", n+1))
}

// scheme chooses light or dark.
func (p *tab) scheme(name string) {
	p.t.Helper()
	p.Run(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}},
		})
		return err
	}))
}

// fits wants the page to scroll in one direction only.
func (p *tab) fits(width int, what string) {
	p.t.Helper()
	require.LessOrEqual(p.t, browsertest.Eval[int](p.Page, "document.documentElement.scrollWidth"), width,
		"%s sticks out: %s", what, p.eval(fmt.Sprintf(`[...document.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > %d + 1)
			.slice(0, 5).map((e) => e.tagName + '.' + e.className + ' ' + e.textContent.slice(0, 40))`, width)))
}

// quote writes a text for a script.
func quote(text string) string {
	b, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return string(b)
}

package web

import (
	"context"
	"os/exec"
	"testing"

	"github.com/chromedp/chromedp"

	"sluice/web/browsertest"
)

// patience is how long a test waits for what it expects of a browser.
const patience = browsertest.Patience

// page is one tab of a headless browser.
type page struct {
	*browsertest.Page
	t   *testing.T
	ctx context.Context
}

// browser starts Chromium for a test that needs it, with the player in the
// build; it skips the test where one of them is missing.
func browser(t *testing.T, options ...chromedp.ExecAllocatorOption) *page {
	t.Helper()
	if testing.Short() {
		t.Skip("left out: tests in a browser take a minute; run without -short")
	}
	if !embedded().Has(playerFile) {
		leaveOut(t, "mpegts.js is missing; "+generateCommand)
	}
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		leaveOut(t, "ffmpeg is missing; apt-get install ffmpeg")
	}
	p := browsertest.New(t, options...)
	return &page{p, t, p.Context()}
}

func (p *page) run(actions ...chromedp.Action[chromedp.Void]) { p.Run(actions...) }
func (p *page) click(selector string)                         { p.Click(selector) }
func (p *page) open(url string)                               { p.Open(url) }
func (p *page) screenshot(name string)                        { p.Screenshot(name) }
func (p *page) until(expression string)                       { p.Until(expression) }

// eval returns what a JavaScript expression yields.
func eval[T any](p *page, expression string) T { return browsertest.Eval[T](p.Page, expression) }

func state(names ...string) string { return browsertest.State(names...) }

func leaveOut(t *testing.T, what string) {
	t.Helper()
	browsertest.LeaveOut(t, what)
}

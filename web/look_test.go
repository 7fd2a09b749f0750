package web

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/web/browsertest"
)

// windows are those that the page is looked at in.
var windows = []struct{ width, height int64 }{
	{320, 640}, {390, 844}, {844, 390}, {1280, 800}, {1920, 1080}, {2560, 1440},
}

// window makes the page's window so large; a small one is a phone's.
func (p *page) window(width, height int64) {
	p.t.Helper()
	var options []chromedp.EmulateViewportOption
	if width < 1000 {
		options = append(options, chromedp.EmulateMobile, chromedp.EmulateTouch)
	}
	p.run(chromedp.EmulateViewport(width, height, options...))
}

// scheme shows the page in "light" or "dark", or with the forced colours of either:
// "light-forced".
func (p *page) scheme(name string) {
	p.t.Helper()
	forced := "none"
	if len(name) > len("light") && name[len(name)-len("-forced"):] == "-forced" {
		forced, name = "active", name[:len(name)-len("-forced")]
	}
	p.run(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}, {Name: "forced-colors", Value: forced}},
		})
		return err
	}))
}

// look keeps what is seen of the page in all windows and schemes, where somebody wants to see
// it, and wants nothing to stick out of it.
func (p *page) look(name string) {
	p.t.Helper()
	for _, w := range windows {
		p.window(w.width, w.height)
		p.run(chromedp.Evaluate[chromedp.Void]("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 50)))", chromedp.EvalAwaitPromise))
		assert.LessOrEqual(p.t, eval[int64](p, "document.documentElement.scrollWidth"), w.width, "%s in a window of %dx%d", name, w.width, w.height)
		if os.Getenv("SLUICE_TEST_SCREENSHOTS") == "" {
			continue
		}
		for _, scheme := range []string{"light", "dark", "light-forced", "dark-forced"} {
			p.scheme(scheme)
			p.seen(fmt.Sprintf("%s-%dx%d-%s", name, w.width, w.height, scheme))
		}
		p.scheme("light")
	}
}

// seen keeps what is seen in the window.
func (p *page) seen(name string) {
	p.t.Helper()
	dir := os.Getenv("SLUICE_TEST_SCREENSHOTS")
	if dir == "" {
		return
	}
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	picture, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	require.NoError(p.t, err)
	require.NoError(p.t, os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o600))
}

// axe is the script of axe-core.
func axe(t *testing.T) string {
	t.Helper()
	script, err := os.ReadFile("node_modules/axe-core/axe.min.js")
	if err != nil {
		browsertest.LeaveOut(t, "axe-core is missing; go generate ./web")
	}
	return string(script)
}

// accessible wants no serious finding of axe-core, in both schemes.
func (p *page) accessible(axe, what string) {
	p.t.Helper()
	if !eval[bool](p, "'axe' in window") {
		p.run(chromedp.Evaluate[chromedp.Void]("void (0, eval)(" + quoted(axe) + ")"))
	}
	for _, scheme := range []string{"light", "dark"} {
		p.scheme(scheme)
		p.run(chromedp.Evaluate[chromedp.Void](`window.found = null; void axe.run(document, {resultTypes: ['violations']}).then((r) => {
			window.found = r.violations.filter((v) => v.impact === 'serious' || v.impact === 'critical')
				.map((v) => v.id + ': ' + v.help + ': ' + v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160) + ' ' + (n.any[0]?.message ?? '')).join(' | '));
		})`))
		p.until("window.found !== null")
		assert.Empty(p.t, eval[[]string](p, "window.found"), "%s, %s", what, scheme)
	}
	p.scheme("light")
}

// quoted is a JavaScript string.
func quoted(s string) string {
	q, _ := json.Marshal(s)
	return string(q)
}

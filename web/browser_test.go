package web

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// patience is how long a test waits for what it expects of a browser.
const patience = 20 * time.Second

// page is one tab of a headless browser.
type page struct {
	t   *testing.T
	ctx context.Context

	mu     sync.Mutex
	errors []string
}

// leaveOut ends a test that this machine lacks something for, which CI may not.
func leaveOut(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal("nothing may be left out where CI=true: " + what)
	}
	t.Skip("left out: " + what)
}

// browser starts Chromium for a test that needs it, with the player in the
// build; it skips the test where one of them is missing.
func browser(t *testing.T) *page {
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
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		leaveOut(t, "Chromium is missing; apt-get install chromium")
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.NoSandbox,
		chromedp.DisableGPU,
		chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("autoplay-policy", "no-user-gesture-required"),
		chromedp.WSURLReadTimeout(time.Minute),
	)...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	p := &page{t: t, ctx: ctx}
	t.Cleanup(func() {
		assert.NoError(t, chromedp.Cancel(ctx), "the browser ends")
		cancel()
		p.mu.Lock()
		defer p.mu.Unlock()
		assert.Empty(t, p.errors, "errors on the page's console")
	})
	require.NoError(t, chromedp.Do(ctx), "the browser starts")
	require.NoError(t, chromedp.Listen(ctx, func(ev any) {
		switch ev := ev.(type) {
		case *runtime.EventExceptionThrown:
			text := ev.ExceptionDetails.Text
			if ev.ExceptionDetails.Exception != nil {
				text += " " + ev.ExceptionDetails.Exception.Description
			}
			p.complain(text)
		case *log.EventEntryAdded:
			// A lost connection is what some tests are about.
			if ev.Entry.Level == log.EntryLevelError && ev.Entry.Source != log.EntrySourceNetwork {
				p.complain(ev.Entry.Text)
			}
		}
	}))
	return p
}

func (p *page) complain(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.errors = append(p.errors, text)
}

func (p *page) run(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	require.NoError(p.t, chromedp.Do(ctx, actions...))
}

// click clicks on an element until it has heard it: on a busy machine the page may move
// under the pointer.
func (p *page) click(selector string) {
	p.t.Helper()
	listen := fmt.Sprintf(`window.clicked = false;
		document.querySelector(%q).addEventListener("click", () => { window.clicked = true }, { once: true });`, selector)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		p.until(fmt.Sprintf("!!document.querySelector(%q)", selector))
		p.run(chromedp.Evaluate[chromedp.Void](listen), chromedp.Click(chromedp.CSS(selector)))
		if eval[bool](p, "window.clicked") {
			return
		}
	}
	p.t.Fatalf("%s hears no click", selector)
}

func (p *page) open(url string) {
	p.t.Helper()
	p.run(chromedp.Navigate(url))
}

// screenshot keeps what the page looks like, where somebody wants to see it.
func (p *page) screenshot(name string) {
	p.t.Helper()
	dir := os.Getenv("SLUICE_TEST_SCREENSHOTS")
	if dir == "" {
		return
	}
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	require.NoError(p.t, err)
	require.NoError(p.t, os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o600))
}

// eval returns what a JavaScript expression yields.
func eval[T any](p *page, expression string) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	require.NoError(p.t, err, expression)
	return v
}

// until waits until a JavaScript expression is true.
func (p *page) until(expression string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	_, err := chromedp.Run(ctx, chromedp.Poll[chromedp.Void](expression, chromedp.WithPollingInterval(20*time.Millisecond), chromedp.WithPollingTimeout(0)))
	if err != nil {
		now := eval[json.RawMessage](p, "({...sluice, streams: undefined})")
		require.NoError(p.t, err, "waiting for %s; the page says %s", expression, now)
	}
}

func state(names ...string) string {
	return fmt.Sprintf(`%q.split(" ").includes(document.body.dataset.state)`, strings.Join(names, " "))
}

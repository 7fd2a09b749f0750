// Package browsertest drives a headless Chromium, for tests of pages.
package browsertest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Patience is how long a test waits for what it expects of a browser, on a machine that is busy.
const Patience = time.Minute

// Page is one tab of a headless browser.
type Page struct {
	t   *testing.T
	ctx context.Context

	errors chan string // those on the page's console, as far as there is room
}

// LeaveOut ends a test that this machine lacks something for, which CI may not.
func LeaveOut(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal("nothing may be left out where CI=true: " + what)
	}
	t.Skip("left out: " + what)
}

// New opens a tab for a test that needs a browser, and skips the test where there is none. The
// test fails for errors on the page's console. With options Chromium is started for this test
// alone; otherwise the tests of the package share one, and [Main] ends it.
func New(t *testing.T, options ...chromedp.ExecAllocatorOption) *Page {
	t.Helper()
	if testing.Short() {
		t.Skip("left out: tests in a browser take a minute; run without -short")
	}
	path, found := executable()
	if !found {
		LeaveOut(t, "Chromium is missing; apt-get install chromium")
	}
	p := &Page{t: t, errors: make(chan string, 10)}
	t.Cleanup(func() {
		select {
		case text := <-p.errors:
			assert.Fail(t, "errors on the page's console", "%s, and %d more", text, len(p.errors))
		default:
		}
	})
	if len(options) > 0 {
		alone, err := start(path, options...)
		require.NoError(t, err, "the browser starts")
		t.Cleanup(func() { assert.NoError(t, alone.end(), "the browser ends") })
		p.ctx = alone.ctx
	} else {
		p.ctx = tab(t, path)
	}
	require.NoError(t, chromedp.Listen(p.ctx, func(ev any) {
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

// tab opens a window in the shared browser, which is used no further if it crashes, if a test
// fails in it, or if it does not close the window.
func tab(t *testing.T, path string) context.Context {
	t.Helper()
	browser, err := join(path)
	require.NoError(t, err, "the browser starts")
	ctx, cancel := chromedp.NewContext(browser.ctx, chromedp.WithNewBrowserContext())
	t.Cleanup(func() {
		assert.False(t, browser.lost(), "the browser has crashed")
		err := chromedp.Cancel(ctx)
		cancel()
		if err != nil {
			t.Log("the tab does not close:", err)
		}
		assert.NoError(t, browser.leave(err == nil && !t.Failed()), "the browser ends")
	})
	require.NoError(t, chromedp.Do(ctx, chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		// Of the windows of a browser one has the focus, and each test expects it.
		_, err := cdp.Call(ctx, target, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
		return err
	})), "a tab opens")
	return ctx
}

// Context is that of the tab.
func (p *Page) Context() context.Context { return p.ctx }

// Complaint waits for the next error on the page's console, which the test expects.
func (p *Page) Complaint() string {
	p.t.Helper()
	select {
	case text := <-p.errors:
		return text
	case <-time.After(Patience):
		p.t.Fatal("the console stays empty")
		return ""
	}
}

func (p *Page) complain(text string) {
	select {
	case p.errors <- text:
	default:
	}
}

// Run does something in the tab.
func (p *Page) Run(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, Patience)
	defer cancel()
	require.NoError(p.t, chromedp.Do(ctx, actions...))
}

// Click clicks on an element until it has heard it: on a busy machine the page may move
// under the pointer.
func (p *Page) Click(selector string) {
	p.t.Helper()
	listen := fmt.Sprintf(`window.clicked = false;
		document.querySelector(%q).addEventListener("click", () => { window.clicked = true }, { once: true });`, selector)
	for deadline := time.Now().Add(Patience); time.Now().Before(deadline); {
		p.Until(fmt.Sprintf("!!document.querySelector(%q)", selector))
		p.Run(chromedp.Evaluate[chromedp.Void](listen), chromedp.Click(chromedp.CSS(selector)))
		if Eval[bool](p, "window.clicked") {
			return
		}
	}
	p.t.Fatalf("%s hears no click", selector)
}

// Open goes to an address.
func (p *Page) Open(url string) {
	p.t.Helper()
	p.Run(chromedp.Navigate(url))
}

// Screenshot keeps what the page looks like, where somebody wants to see it.
func (p *Page) Screenshot(name string) {
	p.t.Helper()
	dir := os.Getenv("SLUICE_TEST_SCREENSHOTS")
	if dir == "" {
		return
	}
	ctx, cancel := context.WithTimeout(p.ctx, Patience)
	defer cancel()
	picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	require.NoError(p.t, err)
	require.NoError(p.t, os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o600))
}

// Eval returns what a JavaScript expression yields.
func Eval[T any](p *Page, expression string) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, Patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	require.NoError(p.t, err, expression)
	return v
}

// leftPage is what the browser answers to who still asks a page that it has just left for another:
// the other may be asked by then.
const leftPage = "Cannot find context with specified id"

// Until waits until a JavaScript expression is true.
func (p *Page) Until(expression string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, Patience)
	defer cancel()
	var err error
	for {
		_, err = chromedp.Run(ctx, chromedp.Poll[chromedp.Void](expression, chromedp.WithPollingInterval(20*time.Millisecond), chromedp.WithPollingTimeout(0)))
		if err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), leftPage) {
			break
		}
	}
	if err != nil {
		now := Eval[json.RawMessage](p, "typeof sluice === 'undefined' ? null : ({...sluice, streams: undefined})")
		require.NoError(p.t, err, "waiting for %s; the page says %s", expression, now)
	}
}

// State is a JavaScript expression for one of some states of the page.
func State(names ...string) string {
	return fmt.Sprintf(`%q.split(" ").includes(document.body.dataset.state)`, strings.Join(names, " "))
}

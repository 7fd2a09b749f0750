package e2e

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// webFolder is where the browser players are, seen from this package.
const webFolder = "../../../web"

// needPlayers leaves a test out if the browser players are not there.
func needPlayers(t *testing.T) {
	t.Helper()
	for _, path := range []string{mpegtsJS, flvJS} {
		if _, err := os.Stat(filepath.Join(webFolder, path)); err != nil {
			leaveOut(t, "web/%s is missing; go generate ./web", path)
		}
	}
}

// browser is one tab of a Chromium of its own.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu         sync.Mutex
	complaints []string // of scripts, and others that are not about the network
}

// browsing holds the tests back that want a browser while others have theirs: some show six pictures at a time, and five such
// tests at a time keep two processors so busy that no page answers for minutes.
var browsing = make(chan struct{}, 2)

// browse starts Chromium with an empty profile. It waits until no more than one other test has one, and a test calls it once.
func browse(t *testing.T, options ...chromedp.ExecAllocatorOption) *browser {
	t.Helper()
	needPlayers(t)
	path := need(t, "chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
	browsing <- struct{}{}
	t.Cleanup(func() { <-browsing })
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), append(append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.UserDataDir(t.TempDir()),
		chromedp.NoSandbox, // which root may not have
		chromedp.DisableGPU,
		chromedp.NoFirstRun,
		chromedp.Flag("headless", true),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
		chromedp.Flag("no-proxy-server", true),
		chromedp.Flag("autoplay-policy", "no-user-gesture-required"),
		chromedp.WSURLReadTimeout(patience),
	), options...)...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	b := &browser{t: t, ctx: ctx}
	t.Cleanup(func() {
		assert.NoError(t, chromedp.Cancel(ctx), "the browser ends")
		cancel()
		b.mu.Lock()
		defer b.mu.Unlock()
		assert.Empty(t, b.complaints, "the browser's console")
	})
	require.NoError(t, chromedp.Do(ctx), "the browser starts")
	require.NoError(t, chromedp.Listen(ctx, b.hear))
	return b
}

// hear keeps what the browser complains of. Connections that fail or end are what
// some tests are about.
func (b *browser) hear(event any) {
	var text string
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		text = e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			text += " " + e.ExceptionDetails.Exception.Description
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError && e.Entry.Source != log.EntrySourceNetwork {
			text = e.Entry.Text
		}
	}
	if text != "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.complaints = append(b.complaints, text)
	}
}

// do runs actions in the tab.
func (b *browser) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	require.NoError(b.t, chromedp.Do(ctx, actions...))
}

func (b *browser) open(url string) {
	b.t.Helper()
	b.do(chromedp.Navigate(url))
}

// eval returns what a JavaScript expression yields.
func eval[T any](b *browser, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	require.NoError(b.t, err, expression)
	return v
}

// until waits until a JavaScript expression is true; about is another one whose
// value helps to understand why it never was.
func (b *browser) until(expression, about string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	_, err := chromedp.Run(ctx, chromedp.Poll[chromedp.Void](expression,
		chromedp.WithPollingInterval(50*time.Millisecond), chromedp.WithPollingTimeout(0)))
	if err != nil {
		require.NoError(b.t, err, "waiting for %s, which is %s", expression, eval[string](b, "JSON.stringify("+about+")"))
	}
}

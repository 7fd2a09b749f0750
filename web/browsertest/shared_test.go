package browsertest

import (
	"context"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(Main(m)) }

// Tests share a browser, but neither cookies nor storage.
func TestTabsShareNothing(t *testing.T) {
	a, b := New(t), New(t)
	assert.Same(t, chromedp.FromContext(a.ctx).Browser, chromedp.FromContext(b.ctx).Browser)
	assert.NotEqual(t, chromedp.FromContext(a.ctx).BrowserContextID, chromedp.FromContext(b.ctx).BrowserContextID)
	for _, p := range []*Page{a, b} {
		assert.Equal(t, "visible true", Eval[string](p, "document.visibilityState + ' ' + document.hasFocus()"))
	}
}

// A browser that has crashed fails the tests that were in it, and the next one gets another. So
// does the next one after a test that has failed.
func TestAnotherBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("left out: it starts three browsers; run without -short")
	}
	path, found := executable()
	if !found {
		LeaveOut(t, "Chromium is missing; apt-get install chromium")
	}
	crashed, err := join(path)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(crashed.ctx, 5*time.Second)
	defer cancel()
	cdp.Call(ctx, chromedp.FromContext(crashed.ctx).Browser, browser.Crash, cdp.Empty{})
	require.Eventually(t, crashed.lost, Patience, 10*time.Millisecond)
	failed, err := join(path)
	require.NoError(t, err)
	assert.NotSame(t, crashed, failed)
	assert.Error(t, crashed.leave(false))

	same, err := join(path)
	require.NoError(t, err)
	assert.Same(t, failed, same)
	assert.NoError(t, failed.leave(false), "another test is still in it")
	next, err := join(path)
	require.NoError(t, err)
	assert.NotSame(t, failed, next)
	assert.False(t, failed.lost())
	assert.NoError(t, same.leave(true))
	assert.True(t, failed.lost(), "nobody is in it any more")
	assert.NoError(t, next.leave(true))
	assert.False(t, next.lost(), "it is for the tests to come")
}

package browsertest

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// A process is a running Chromium. To start one costs more than most tests do in it, so the tests
// of a package share one. Each has a browser context of its own there, with its own cookies,
// storage, cache and connections, and a window of its own.
type process struct {
	ctx  context.Context
	free func() // what is left when it has ended

	tests int // that use it
}

// shared is the process that the next test gets, if there is one.
var shared struct {
	sync.Mutex
	*process
}

// Main are the tests of a package, with the end of the browser that they share: it is for
// goleak.VerifyTestMain.
func Main(m *testing.M) interface{ Run() int } { return tests{m} }

type tests struct{ *testing.M }

func (m tests) Run() int {
	code := m.M.Run()
	shared.Lock()
	p := shared.process
	shared.process = nil
	shared.Unlock()
	if p == nil {
		return code
	}
	if err := p.end(); err != nil {
		fmt.Println("the shared browser did not end well:", err)
		return 1
	}
	return code
}

// join returns the shared process, which it starts unless it runs.
func join(path string) (*process, error) {
	shared.Lock()
	defer shared.Unlock()
	if p := shared.process; p != nil && !p.lost() {
		p.tests++
		return p, nil
	}
	if p := shared.process; p != nil && p.tests == 0 {
		_ = p.end() // it has ended
	}
	p, err := start(path)
	if err != nil {
		return nil, err
	}
	p.tests = 1
	shared.process = p
	return p, nil
}

// leave ends a test's use of the process. A process that is not well is not used again, and ends
// with the last test that uses it.
func (p *process) leave(well bool) error {
	shared.Lock()
	p.tests--
	if !well && shared.process == p {
		shared.process = nil
	}
	used := shared.process == p || p.tests > 0
	shared.Unlock()
	if used {
		return nil
	}
	return p.end()
}

// start starts Chromium.
func start(path string, options ...chromedp.ExecAllocatorOption) (*process, error) {
	ctx, free := chromedp.NewExecAllocator(context.Background(), append(append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.NoSandbox,
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		// A renderer that is kept ready for the next site costs as much as one that is used.
		chromedp.Flag("disable-features", "Translate,BlinkGenPropertyTrees,SpareRendererForSitePerProcess"),
		chromedp.Flag("autoplay-policy", "no-user-gesture-required"),
		chromedp.WSURLReadTimeout(time.Minute),
	), options...)...)
	ctx, cancel := chromedp.NewContext(ctx)
	p := &process{ctx: ctx, free: func() { cancel(); free() }}
	if err := chromedp.Do(ctx); err != nil {
		p.free()
		return nil, err
	}
	return p, nil
}

// lost reports whether the process has ended by itself.
func (p *process) lost() bool {
	select {
	case <-chromedp.FromContext(p.ctx).Browser.LostConnection:
		return true
	default:
		return false
	}
}

// end ends the process, by force if it does not answer.
func (p *process) end() error {
	defer p.free()
	if p.lost() {
		return errors.New("it has crashed")
	}
	ctx, cancel := context.WithTimeout(p.ctx, Patience)
	defer cancel()
	return chromedp.Cancel(ctx)
}

// executable finds Chromium, first of all the one that has no windows to draw.
func executable() (path string, found bool) {
	for _, name := range []string{"chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, true
		}
	}
	return "", false
}

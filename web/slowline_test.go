package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Of simulated publishers, servers and lines (testdata/line.js): nothing is said of a healthy
// line, and all that is slow is found.
func TestLine(t *testing.T) {
	p := browser(t)
	files := http.NewServeMux()
	files.Handle("/static/", http.StripPrefix("/static/", http.FileServer(http.Dir("static"))))
	files.Handle("/testdata/", http.StripPrefix("/testdata/", http.FileServer(http.Dir("testdata"))))
	files.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", "text/html") })
	s := httptest.NewServer(files)
	t.Cleanup(s.Close)
	p.open(s.URL)
	p.run(chromedp.Evaluate[chromedp.Void](`void Promise.all([import('/static/line.js'), import('/testdata/line.js')])
		.then(([{ Line }, { verdicts }]) => { window.verdicts = verdicts(Line) })`))
	p.until("!!window.verdicts")
	var verdicts []struct {
		Name          string
		Well, Unsure  bool
		By, Ends      *float64
		After         float64
		Said          [][]*float64
		Sure          *bool
		Gets, Needs   float64
		Case          json.RawMessage
		LineIs, Plain float64
	}
	require.NoError(t, json.Unmarshal([]byte(eval[string](p, "JSON.stringify(window.verdicts)")), &verdicts))
	require.Greater(t, len(verdicts), 100)
	for _, v := range verdicts {
		t.Run(v.Name, func(t *testing.T) {
			if v.Well {
				require.Empty(t, v.Said, "%s", v.Case)
				return
			}
			require.NotEmpty(t, v.Said, "%s", v.Case)
			assert.Greater(t, *v.Said[0][0], v.After)
			assert.Less(t, *v.Said[0][0], *v.By)
			assert.Equal(t, !v.Unsure, *v.Sure)
			last := v.Said[len(v.Said)-1][1]
			if v.Ends == nil {
				assert.Nil(t, last, "it is slow to the end")
			} else if assert.NotNil(t, last) {
				assert.Less(t, *last, *v.Ends)
			}
		})
	}
}

// At the live edge is who has no more than what is buffered on purpose, which a network that stalls
// makes larger, and the slack that is not hurried away.
const (
	slowShown  = "!document.getElementById('slow').hidden"
	slowText   = "document.getElementById('slow').textContent"
	slowButton = "document.querySelector('#slow button').textContent"
	atLive     = "sluice.state === 'playing' && sluice.lag < sluice.target + 0.7"
)

// soon waits until the page is at the live edge, which on a machine that has nothing else to do
// takes no more than 3 s.
func soon(p *page, after string) {
	p.t.Helper()
	began := eval[float64](p, "performance.now()")
	p.until(atLive)
	took := eval[float64](p, "performance.now()") - began
	p.t.Logf("%s: at the live edge again after %.1f s", after, took/1000)
	if isLong() {
		assert.Less(p.t, took, 3000.0, "ms after %s", after)
	}
}

func isLong() bool { return os.Getenv("SLUICE_TEST_LONG") != "" }

// A viewer whose line is slower than the stream is told so, and what can be done; it does not
// fall further and further behind, and is live again when the line is as fast as it was.
func TestPageSaysThatTheLineIsSlow(t *testing.T) {
	s, p := newSource(t, true), browser(t)
	line := newThrottle(t, s.Listener.Addr().String())
	p.open("http://" + line.address + "/?stream=live/demo")
	p.until(atLive)
	assert.False(t, eval[bool](p, slowShown))

	line.set(s.bitrate() / 8 * 6 / 10)
	p.until(slowShown)
	assert.Contains(t, eval[string](p, slowText), "Your connection is slower than this stream.")
	assert.Regexp(t, `\d+ kbit/s of \d+ kbit/s arrive, \d+(\.\d)? s behind live\.`, eval[string](p, slowText))
	assert.Equal(t, "Slow connection", eval[string](p, "document.getElementById('state').textContent"))
	assert.Equal(t, "slow", eval[string](p, "document.getElementById('state').dataset.state"))
	p.screenshot("slow")
	p.click("#slow button")
	p.until("sluice.state === 'playing' && " + slowButton + " === 'Show the picture'")
	assert.Contains(t, s.lastAsked(), "onlyaudio=1")
	assert.Contains(t, eval[string](p, slowText), "The sound only, since your connection was slower than the picture.")
	p.until("sluice.lag < 2")
	p.screenshot("slow-sound")
	p.click("#slow button")
	p.until("sluice.state === 'playing' && !document.getElementById('slow').hidden && " + slowButton + " === 'Sound only'")
	assert.NotContains(t, s.lastAsked(), "onlyaudio")

	line.set(0)
	soon(p, "it was slow")
	p.until("!(" + slowShown + ")")
	assert.Equal(t, "Playing", eval[string](p, "document.getElementById('state').textContent"))
	assert.Equal(t, 0, eval[int](p, "sluice.figures.reconnects"))
}

// Where neither the server nor the line leaves anything out, the page does.
func TestPageGivesUpWhatIsLate(t *testing.T) {
	if !isLong() {
		t.Skip("left out: it takes a minute; run with SLUICE_TEST_LONG=1")
	}
	s, p := newSource(t, true), browser(t)
	line := newThrottle(t, s.Listener.Addr().String())
	p.open("http://" + line.address + "/?stream=live/demo")
	p.until(atLive)
	line.set(s.bitrate() / 8 / 3)
	p.until(slowShown)
	p.until("sluice.figures.jumps > 0")
	p.until("sluice.state === 'playing' && sluice.lag < 12") // it was 15
	assert.True(t, eval[bool](p, slowShown), "it is still slow")
	assert.Equal(t, 0, eval[int](p, "sluice.figures.reconnects"))
	line.set(0)
	soon(p, "it was slow")
}

// A publisher that stutters is not the viewer's fault.
func TestPageDoesNotBlameTheLine(t *testing.T) {
	s, p := newSource(t, true), browser(t)
	p.open(s.URL + "/?stream=live/demo")
	p.until(atLive)
	p.run(chromedp.Evaluate[chromedp.Void](`void new MutationObserver(() => { window.said = true }).observe(document.getElementById('slow'), { attributes: true })`))
	for range 3 {
		s.grace(true)
		s.set(demo()) // the server has not noticed
		passes(p, 1500*time.Millisecond)
		s.grace(false)
		passes(p, 2*time.Second)
	}
	assert.False(t, eval[bool](p, "!!window.said"))
}

// After a trouble of some time the page is at the live edge again within 3 s. Longer, as in the
// field, with SLUICE_TEST_LONG.
func TestPageIsLiveAgain(t *testing.T) {
	stop, slow, hide := 4*time.Second, 8*time.Second, 4*time.Second
	if isLong() {
		stop, slow, hide = 10*time.Second, 30*time.Second, time.Minute
	}
	s, p := newSource(t, true), browser(t)
	line := newThrottle(t, s.Listener.Addr().String())
	p.open("http://" + line.address + "/?stream=live/demo")
	p.until(atLive)

	line.set(stopped)
	passes(p, stop)
	line.set(0)
	soon(p, "the network stopped")

	line.set(s.bitrate() / 8 / 2)
	passes(p, slow)
	line.set(0)
	soon(p, "it was slow")

	seen := func(hidden bool) {
		p.run(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`Object.defineProperty(document, 'hidden', { value: %t, configurable: true });
			void document.dispatchEvent(new Event('visibilitychange'))`, hidden)))
	}
	seen(true)
	for range hide / time.Second {
		passes(p, time.Second)
	}
	if isLong() {
		assert.Equal(t, 0, s.watching(), "who neither sees nor hears it gives the connection back")
	}
	seen(false)
	soon(p, "the tab was hidden")

	line.cut() // as a server that restarts does
	line.set(stopped)
	s.set()
	passes(p, 2*time.Second)
	line.cut()
	line.set(0)
	s.publish()
	soon(p, "the server was restarted")
}

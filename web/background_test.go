package web

import (
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
)

// background is what a browser does to a tab that nobody has seen yet: it loads no video there.
// look brings it to the front, and leave back.
const background = `{
	let seen = false, ever = false;
	const waiting = [], listen = MediaSource.prototype.addEventListener;
	Object.defineProperty(document, 'hidden', { get: () => !seen });
	MediaSource.prototype.addEventListener = function (type, f, ...more) {
		const later = (e) => (ever ? f.call(this, e) : waiting.push(() => f.call(this, e)));
		listen.call(this, type, type === 'sourceopen' ? later : f, ...more);
	};
	const turn = (to) => {
		seen = to;
		ever ||= to;
		if (ever) for (const open of waiting.splice(0)) open();
		document.dispatchEvent(new Event('visibilitychange'));
	};
	window.look = () => turn(true);
	window.leave = () => turn(false);
}`

// In a tab that is opened in the background the page blames nobody because nothing comes, and it
// plays at once when it is looked at. So it does after what went wrong in the meantime.
func TestPageInTheBackground(t *testing.T) {
	t.Parallel()
	s, p := newSource(t, true), browser(t)
	p.before(background)
	p.open(s.URL + "/?stream=live/demo")
	p.until("window.sluice && sluice.figures.sessions === 1")
	passes(p, 8*time.Second)
	assert.Equal(t, "connecting 1", eval[string](p, "sluice.state + ' ' + sluice.figures.sessions"))
	p.run(chromedp.Evaluate[chromedp.Void]("look()"))
	p.until(state("playing"))
	assert.Equal(t, 1, eval[int](p, "sluice.figures.sessions"))

	p.run(chromedp.Evaluate[chromedp.Void]("leave()"))
	s.turnAway(4503, "too many")
	s.end(abrupt, "")
	p.until(state("reconnecting") + " && /again in [4-9]/.test(document.querySelector('#detail').textContent)")
	s.turnAway(0, "")
	sessions := eval[int](p, "look() ?? sluice.figures.sessions")
	assert.Equal(t, 3, sessions, "it is tried again at once")
	p.until(state("playing"))
}

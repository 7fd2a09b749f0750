package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// reportJS is report of a viewer (watchJS) for the project's own page.
const reportJS = `
window.stays = true; // until a reload
window.follow = (%s)(document.getElementById("video"), %d, %d);
window.began = Date.now();
window.report = () => {
  const video = document.getElementById("video"), { buffered } = video;
  return { began, now: Date.now(), opened: sluice.figures.sessions, shown: follow.shown, errors: [],
    time: video.currentTime, end: buffered.length ? buffered.end(buffered.length - 1) : 0,
    sound: video.webkitAudioDecodedByteCount, ready: video.readyState };
};`

// openPage opens the project's own page, for an audience of one.
func openPage(s *server, ph *phone, key, over string) *audience {
	s.t.Helper()
	a := &audience{&players{browser: browse(s.t)}, s, ph, key}
	a.open("http://" + s.http + "/?stream=" + key + "&start=live&over=" + over)
	eval[bool](a.browser, fmt.Sprintf(reportJS, followJS, bitWidth, filmMark)+"; true")
	return a
}

// The project's own page goes on through everything that a phone does, by itself.
func TestPageWatchesAPhone(t *testing.T) {
	t.Parallel()
	for _, over := range []string{"ws", "http"} {
		t.Run(over, func(t *testing.T) {
			t.Parallel()
			s := serve(t, longGrace)
			ph := s.phone("live/x")
			a := openPage(s, ph, "live/x", over)
			const page = "the page"
			// The sound is off, so the page asks for it where there is nothing to see.
			soundOnly := "document.getElementById('overlay').dataset.state === 'silent'"
			attempt(t, "everything", func() bool {
				ok := a.see(time.Now(), 0, page)
				at := ph.mute()
				ok = a.see(at.Add(muteNotice), muteNotice, page) && ok
				ok = a.hear(true, page) && ok
				at = ph.unmute()
				ok = a.see(at, 0, page) && ok
				ok = a.hear(false, page) && ok

				ph.cover()
				a.browser.until(soundOnly, pageNow)
				ok = a.hear(false, page) && ok
				a.inState("playing")
				at = ph.uncover()
				ok = a.see(at, 0, page) && ok
				ok = a.hear(false, page) && ok
				a.browser.until("!("+soundOnly+")", pageNow)

				for range 2 {
					ok = a.see(ph.turn(), 0, page) && ok
					ok = a.see(ph.restart(), 0, page) && ok
				}
				ok = a.hear(false, page) && ok
				a.inState("playing")
				t.Logf("figures of the page: %s", eval[string](a.browser, "JSON.stringify(sluice.figures)"))
				return ok
			})
			assert.True(t, eval[bool](a.browser, "window.stays"), "the page was not loaded anew")
		})
	}
}

package e2e

import (
	"fmt"
	"os"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
)

// inState waits until the project's own page shows a state.
func (b *browser) inState(name string) {
	b.t.Helper()
	b.until(fmt.Sprintf("document.body.dataset.state === %q", name), pageNow)
}

// pageNow is what the page says of itself.
const pageNow = "({...sluice, streams: undefined})"

// shows waits until the picture has a width.
func (b *browser) shows(width int) {
	b.t.Helper()
	b.until(fmt.Sprintf("document.getElementById('video').videoWidth === %d", width), pageNow)
}

// goesOn waits until the player shows pictures and time goes on.
func (b *browser) goesOn() {
	b.t.Helper()
	b.inState("playing")
	time, frames := eval[float64](b, "sluice.time"), eval[int](b, "sluice.figures.framesDecoded")
	b.until(fmt.Sprintf("sluice.state === 'playing' && sluice.time > %f && sluice.figures.framesDecoded > %d", time+2, frames+40),
		pageNow)
}

// pictured reports whether a card shows a picture with light and dark in it.
const pictured = `(() => {
	const canvas = document.querySelector('[data-still] canvas');
	if (!canvas?.width) return false;
	const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
	let least = 255, most = 0;
	for (let i = 1; i < data.length; i += 4) {
		least = Math.min(least, data[i]);
		most = Math.max(most, data[i]);
	}
	return most - least > 100;
})()`

// text waits until the page says something.
func (b *browser) text(selector, text string) {
	b.t.Helper()
	of := fmt.Sprintf("document.querySelector(%q)?.innerText", selector)
	b.until(fmt.Sprintf("%s?.includes(%q)", of, text), of)
}

// The project's own page: the list shows a stream as soon as there is one, a click
// plays it, and the player stays through restarts of the publisher, without a
// reload.
func TestPage(t *testing.T) {
	t.Parallel()
	for _, over := range []string{"ws", "http"} {
		t.Run(over, func(t *testing.T) {
			t.Parallel()
			s := serve(t, longGrace)
			b := browse(t)
			b.open("http://" + s.http + "/")
			b.inState("empty")
			publisher := s.publish("live/x", both)
			b.text(".card", "live/x")
			b.text(".card", "320×180")
			for _, words := range []string{"H.264", "AAC", "25 fps"} {
				b.text(".card", words)
			}
			b.until(pictured, "!!document.querySelector('[data-still]')")
			if over == "ws" {
				b.do(chromedp.Click(chromedp.CSS(".card h2 a")))
			} else {
				b.open("http://" + s.http + "/live/x?over=http") // which leads to the page
				assert.Equal(t, "/?stream=live/x&over=http", eval[string](b, "location.pathname + location.search"))
			}
			b.goesOn()
			assert.Equal(t, over, eval[string](b, "sluice.over"))
			s.until("live/x", "watched by the page", func(st stream) bool { return st.Viewers.ByProtocol[over+"-flv"] == 1 })

			// Cut off, and back within the grace time: the same connection.
			publisher.kill()
			s.state("live/x", "grace")
			b.inState("waiting")
			publisher = s.publish("live/x", both)
			b.goesOn()
			assert.Equal(t, 1, eval[int](b, "sluice.figures.sessions"), "connections of the page")

			// Back with a larger picture, then with another codec, for which the page
			// opens the stream anew: all by itself.
			publisher.kill()
			s.state("live/x", "grace")
			publisher = s.publish("live/x", source{size: "480x270"})
			b.shows(480)
			b.goesOn()
			publisher.kill()
			s.state("live/x", "grace")
			sessions := eval[int](b, "sluice.figures.sessions")
			s.publish("live/x", source{size: "480x270", sound: "libmp3lame"})
			b.until(fmt.Sprintf("sluice.figures.sessions > %d", sessions), pageNow)
			b.goesOn()
		})
	}
}

// The publisher is gone for good: the page says so, and plays when it is back
// after all.
func TestPageAfterTheEnd(t *testing.T) {
	t.Parallel()
	for _, over := range []string{"ws", "http"} {
		t.Run(over, func(t *testing.T) {
			t.Parallel()
			s := serve(t, "SLUICE_PUBLISHER_GRACE=1s")
			b := browse(t)
			publisher := s.publish("live/x", both)
			b.open("http://" + s.http + "/?stream=live/x&over=" + over)
			b.goesOn()
			publisher.signal(os.Interrupt)
			publisher.wait()
			b.inState("ended")
			b.text("#overlay", "The stream has ended")
			s.publish("live/x", source{size: "480x270"})
			b.shows(480)
			b.goesOn()
		})
	}
}

// The demo: what a newcomer without an encoder sees.
func TestDemo(t *testing.T) {
	t.Parallel()
	s := serve(t, "SLUICE_DEMO=true")
	b := browse(t)
	b.open("http://" + s.http + "/?stream=live/demo")
	b.goesOn()
	b.text("#state", "Playing")
}

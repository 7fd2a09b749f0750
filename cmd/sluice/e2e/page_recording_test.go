package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// press gives keys to the page, as if nothing had the focus.
func (b *browser) press(keys ...string) {
	b.t.Helper()
	for _, key := range keys {
		b.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(
			"void document.body.dispatchEvent(new KeyboardEvent('keydown', { key: %q, bubbles: true, cancelable: true }))", key)))
	}
}

// drag moves the bar of the page to a place of its length.
func (b *browser) drag(place float64) {
	b.t.Helper()
	b.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`(() => {
		const bar = document.getElementById('seek');
		bar.value = %f * Number(bar.max);
		for (const type of ['input', 'change']) bar.dispatchEvent(new Event(type, { bubbles: true }));
	})()`, place)))
}

// at waits until the picture is at a place, s, and goes on.
func (b *browser) at(from, to float64) {
	b.t.Helper()
	b.until(fmt.Sprintf("sluice.state === 'playing' && sluice.time >= %f && sluice.time < %f", from, to), pageNow)
	b.until(fmt.Sprintf("sluice.time > %f", eval[float64](b, "sluice.time")+0.3), pageNow)
}

// A live stream that is recorded goes a minute back on the page and forward to live; its
// recording plays while it grows, and as MP4 when it is finished.
func TestPageRecordings(t *testing.T) {
	t.Parallel()
	s := serve(t, "SLUICE_RECORD_DIR="+t.TempDir(), "SLUICE_PUBLISHER_GRACE=1s", "SLUICE_RECORD_MIN_FREE=0")
	b := browse(t)
	const long = 80 * time.Second // what is a minute back has to be there
	publisher, err := s.likeOBSSince("live/x", time.Now().Add(-long))
	require.NoError(t, err)
	s.until("live/x", "live with its tracks", func(st stream) bool { return st.State == "live" && st.Video != nil && st.Audio != nil })
	b.open("http://" + s.http + "/?stream=live/x")
	b.goesOn()
	b.text("#recordings li", "Recording")
	b.until("!document.getElementById('bar').hidden", pageNow)
	depth := "Number(document.getElementById('seek').max)"
	b.until(depth+" > 70", depth)

	b.press("j", "j", "j", "j", "j", "j")
	b.until("sluice.state === 'playing' && sluice.lag > 58", pageNow)
	assert.Less(t, eval[float64](b, "sluice.lag"), 75.0)
	b.text("#lag", "s behind live")
	b.goesOn()
	assert.Greater(t, eval[float64](b, "sluice.lag"), 57.0, "nothing brings it to live")
	assert.Equal(t, 0, eval[int](b, "sluice.figures.stalls"))
	b.press("End")
	b.until("sluice.state === 'playing' && sluice.lag < 2", pageNow)
	b.goesOn()

	b.open("http://" + s.http + "/?recording=live/x/latest")
	b.at(0, 10)
	assert.Equal(t, "flv", eval[string](b, "sluice.way"))
	for _, place := range []float64{0.5, 0.1, 0.95} {
		length := eval[float64](b, "sluice.duration")
		b.drag(place)
		b.at(place*length-3, place*length+4)
	}

	publisher.stop()
	b.text("#files", "Download MP4")
	b.inState("ended")
	b.open("http://" + s.http + "/?recording=live/x/latest")
	b.at(0, 10)
	assert.Equal(t, "mp4", eval[string](b, "sluice.way"))
	length := eval[float64](b, "sluice.duration")
	assert.Greater(t, length, (70 * time.Second).Seconds())
	for _, place := range []float64{0.1, 0.5, 0.95} {
		b.drag(place)
		b.at(place*length-1, place*length+3)
	}

	b.open("http://" + s.http + "/")
	b.text("#newest li", "live/x")
	b.text("#newest li", "Finished")
}

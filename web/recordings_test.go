package web

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
)

// content is the text of an element.
func content(p *page, selector string) string {
	p.t.Helper()
	return eval[string](p, fmt.Sprintf("document.querySelector(%q).innerText", selector))
}

// near waits until the picture is at a place, s, and moves.
func near(p *page, from, to float64) {
	p.t.Helper()
	p.until(fmt.Sprintf("sluice.state === 'playing' && sluice.time >= %f && sluice.time < %f", from, to))
	at := eval[float64](p, "sluice.time")
	p.until(fmt.Sprintf("sluice.time > %f", at+0.2))
}

// What another node of a cluster has is played from there, which the page may do.
func TestRecordingOfAnotherNode(t *testing.T) {
	for _, way := range []string{"mp4", "flv"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			other := newSource(t, false)
			s, p := newSourceOf(t, false, Config{Recordings: RecordingsConfig{Origins: func() []string { return []string{other.URL} }}}), browser(t)
			there := film(t, other, "20261128T170500.000Z")
			if way == "flv" {
				there.failing = map[string]int{".mp4": 500}
			}
			other.recorded.record(there)
			here := *there
			here.flv, here.mp4, here.URL = nil, nil, other.URL+"/rec/live/demo/"+there.ID+".flv"
			s.recorded.record(&here)
			p.open(s.URL + "/?recording=live/demo/" + there.ID)
			near(p, 0, 5)
			assert.Equal(t, way, eval[string](p, "sluice.way"))
			drag(p, 0.5)
			near(p, 0.5*there.Duration-1.2, 0.5*there.Duration+1.5)
			assert.Empty(t, s.recorded.rangesAsked(), "of the page's own server")
			assert.Contains(t, content(p, "#elsewhere"), other.URL+"/rec/live/demo/")
			assert.NotContains(t, content(p, "#elsewhere"), "rtmp://")
		})
	}
}

// drag moves a range to a place of its length, as a pointer that lets go does.
func drag(p *page, place float64) {
	p.t.Helper()
	p.run(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`(() => {
		const bar = document.getElementById('seek');
		bar.value = %f * Number(bar.max);
		bar.dispatchEvent(new Event('input', { bubbles: true }));
		bar.dispatchEvent(new Event('change', { bubbles: true }));
	})()`, place)))
}

func press(p *page, keys ...string) {
	p.t.Helper()
	for _, key := range keys {
		p.run(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(
			"void document.body.dispatchEvent(new KeyboardEvent('keydown', { key: %q, bubbles: true, cancelable: true }))", key)))
	}
}

// A finished recording plays as MP4, which the browser does by itself, and is sought.
func TestRecordingPlaysAndSeeks(t *testing.T) {
	for _, way := range []string{"mp4", "flv"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			s, p := newSource(t, false), browser(t)
			r := film(t, s, "20261128T170500.000Z")
			if way == "flv" {
				r.failing = map[string]int{".mp4": 500}
				r.flv, r.Duration = s.file(3*time.Minute), 180 // more than is fetched ahead
			}
			length := r.Duration
			s.recorded.record(r)
			p.open(s.URL + "/?recording=live/demo/20261128T170500.000Z")
			near(p, 0, 5)
			assert.Equal(t, way, eval[string](p, "sluice.way"))
			assert.Equal(t, 640, eval[int](p, "document.getElementById('video').videoWidth"))
			assert.InDelta(t, length, eval[float64](p, "sluice.duration"), 0.2)
			for _, place := range []float64{0.1, 0.5, 0.95} {
				drag(p, place)
				near(p, place*length-1.2, place*length+1.5) // key frames are a second apart
			}
			assert.Equal(t, way, eval[string](p, "sluice.way"))
			if way == "flv" {
				assert.True(t, slices.ContainsFunc(s.recorded.rangesAsked(), func(asked string) bool {
					return strings.HasPrefix(asked, ".flv bytes=") && !strings.HasPrefix(asked, ".flv bytes=0-")
				}), "what is sought is asked for by range")
			}
			p.until(state("ended"))
			assert.Equal(t, "Play again", content(p, "#again"))
			p.click("#again")
			near(p, 0, 3)
		})
	}
}

// Where neither the MP4 nor mpegts.js will do, the page says so in words.
func TestRecordingThatCannotBePlayed(t *testing.T) {
	s, p := newSource(t, false), browser(t)
	r := film(t, s, "a")
	r.mp4, r.flv = []byte("this is no MP4"), []byte("this is no FLV, and longer than a header")
	s.recorded.record(r)
	p.open(s.URL + "/?recording=live/demo/a")
	p.until(state("failed"))
	assert.Contains(t, content(p, "#detail"), "This browser cannot play this recording (H.264, AAC)")
	assert.Equal(t, []string{"Download MP4", "Download FLV"}, eval[[]string](p, "[...document.querySelectorAll('#files a')].map((a) => a.textContent)"))

	p.open(s.URL + "/?recording=live/demo/b")
	p.until(state("failed"))
	assert.Equal(t, "There is no such recording.", content(p, "#detail"))
	assert.Equal(t, []string{}, eval[[]string](p, "[...document.querySelectorAll('h2')].filter((h) => h.checkVisibility()).map((h) => h.textContent)"),
		"no box without anything in it")
}

func TestRecordingOverKeys(t *testing.T) {
	s, p := newSource(t, false), browser(t)
	s.recorded.record(film(t, s, "a"))
	p.open(s.URL + "/?recording=live/demo/latest")
	near(p, 0, 5)
	press(p, "k")
	p.until(state("paused"))
	at := func() float64 { return eval[float64](p, "sluice.time") }
	moves := func(key string, by float64) {
		t.Helper()
		before := at()
		press(p, key)
		p.until("!document.getElementById('video').seeking")
		assert.InDelta(t, before+by, at(), 0.05, key)
	}
	press(p, "Home")
	p.until("sluice.time === 0")
	moves("l", 10)
	moves("ArrowRight", 5)
	moves("j", -10)
	moves("ArrowLeft", -5)
	assert.Equal(t, "0:00 of 1:00", eval[string](p, "document.getElementById('seek').getAttribute('aria-valuetext')"))
	assert.Equal(t, "paused", eval[string](p, "sluice.state"), "who looks for a place stays paused")
	assert.Equal(t, "playing", eval[string](p, "document.getElementById('overlay').dataset.state"), "and sees the picture")
	press(p, "m")
	p.until("!sluice.muted")
	press(p, "m", "End", " ")
	p.until(state("ended"))
	p.until("document.getElementById('clock').textContent === '1:00 / 1:00'")
}

// A click on the picture pauses it, and the next one plays it, also where a pause lays
// something over it.
func TestPictureTakesClicks(t *testing.T) {
	s, p := newSource(t, true), browser(t)
	s.recorded.record(film(t, s, "a"))
	click := chromedp.Evaluate[chromedp.Void](`void (() => {
		const { left, top } = document.getElementById('screen').getBoundingClientRect();
		document.elementFromPoint(left + 40, top + 40).click();
	})()`)
	for _, view := range []string{"recording=live/demo/a", "stream=live/demo"} {
		p.open(s.URL + "/?" + view)
		p.until(state("playing"))
		p.run(click)
		p.until(state("paused"))
		p.run(click)
		p.until(state("playing"))
	}
}

// While it is written, a recording plays as far as it goes, and the bar grows.
func TestRecordingThatGrows(t *testing.T) {
	t.Parallel()
	s, p := newSource(t, true), browser(t)
	s.recordIt("now")
	p.open(s.URL + "/?recording=live/demo/now")
	near(p, 0, 5)
	assert.Equal(t, "flv", eval[string](p, "sluice.way"))
	assert.Equal(t, []string{"Download FLV"}, eval[[]string](p, "[...document.querySelectorAll('#files a')].map((a) => a.textContent)"))
	length := eval[float64](p, "sluice.duration")
	p.until(fmt.Sprintf("sluice.duration > %f", length+3))
	for _, place := range []float64{0.5, 0.1} {
		drag(p, place)
		at := place * eval[float64](p, "sluice.duration")
		near(p, at-1.5, at+2)
	}
	assert.Equal(t, 1, eval[int](p, "sluice.opened"))

	// What has come since it was opened is reached, and played to the end of what is there.
	p.until(fmt.Sprintf("sluice.duration > %f", length+8))
	drag(p, 0.95)
	near(p, length-1, length+12)

	// Nothing comes for a while; then it goes on.
	s.recorded.stopGrowing()
	p.until(state("waiting"))
	assert.Contains(t, content(p, "#detail"), "still being recorded")
	s.recorded.grow(s)
	near(p, length, 1000)

	// It ends, and is played to its end.
	press(p, "End")
	s.recorded.change(func(r []*fakeRecording) {
		r[0].State = "finished"
		r[0].mp4 = r[0].flv // of which nobody takes notice by then
	})
	p.until("document.getElementById('files').children.length === 2")
	p.until(state("ended"))
}

// A server that is away for a while takes nothing from a recording but time.
func TestRecordingGoesOnWhenTheServerIsBack(t *testing.T) {
	s, p := newSource(t, false), browser(t)
	r := film(t, s, "a")
	r.failing = map[string]int{".mp4": 503, ".flv": 503}
	s.recorded.record(r)
	p.open(s.URL + "/?recording=live/demo/a")
	p.until(state("reconnecting"))
	s.recorded.change(func(r []*fakeRecording) { r[0].failing = nil })
	near(p, 0, 5)
}

func TestPageListsRecordings(t *testing.T) {
	s, p := newSource(t, true), browser(t)
	for i := range 45 {
		s.recorded.record(&fakeRecording{
			ID: fmt.Sprintf("20261128T%02d0000.000Z", i), Stream: "live/demo", State: "finished", Duration: 3723, Bytes: 1_234_567_890,
		})
	}
	s.recorded.record(&fakeRecording{ID: "20261128T990000.000Z", Stream: "live/other", State: "disk full", Duration: 7, Bytes: 12345, Gaps: 2, GapSeconds: 3.5})

	// The start page has the newest of all streams.
	p.open(s.URL)
	p.until("document.querySelectorAll('#newest li').length === 6")
	for _, want := range []string{"live/other", "0:07", "12 kB", "Disk was full", "2 gaps, 3.5 s in all are missing"} {
		assert.Contains(t, content(p, "#newest li"), want)
	}
	assert.NotContains(t, content(p, "#newest li:nth-child(2)"), "missing")
	p.click("#newest li:nth-child(2) a")
	p.until("sluice.view === 'recording'")
	assert.Equal(t, "?recording=live/demo/20261128T440000.000Z", eval[string](p, "location.search"))

	// A stream has its own, also one that is not live.
	p.open(s.URL + "/?stream=live/other")
	p.until("document.querySelectorAll('#recordings li').length === 1")
	p.open(s.URL + "/?stream=live/demo")
	rows := "document.querySelectorAll('#recordings li').length"
	p.until(rows + " === 10")
	for _, want := range []string{"1:02:03", "1.2 GB", "Finished"} {
		assert.Contains(t, content(p, "#recordings li"), want)
	}
	for _, more := range []int{20, 30, 40, 45} {
		p.click("#recordings > button")
		p.until(fmt.Sprintf("%s === %d", rows, more))
	}
	assert.True(t, eval[bool](p, "document.querySelector('#recordings > button').hidden"))
	assert.True(t, eval[bool](p, "document.activeElement === document.querySelectorAll('#recordings a')[40]"), "the focus goes to what is new")

	// New ones come on top, deleted ones go, and what was paged stays.
	s.recorded.record(&fakeRecording{ID: "20261129T000000.000Z", Stream: "live/demo", State: "recording", Duration: 1})
	const gone = "20261128T420000.000Z"
	s.recorded.remove(gone)
	p.run(chromedp.Evaluate[chromedp.Void]("void document.dispatchEvent(new Event('visibilitychange'))"))
	p.until("document.querySelector('#recordings li').innerText.includes('Recording')")
	assert.Equal(t, 45, eval[int](p, rows))
	assert.False(t, eval[bool](p, "[...document.querySelectorAll('#recordings a')].some((a) => a.href.includes('"+gone+"'))"))
	ids := eval[[]string](p, "[...document.querySelectorAll('#recordings a')].map((a) => a.href.split('/').at(-1))")
	assert.True(t, slices.IsSortedFunc(ids, func(a, b string) int { return strings.Compare(b, a) }), "%v", ids)
}

// Where nothing is recorded, nothing is shown, and nobody asks again and again.
func TestPageWithoutRecordings(t *testing.T) {
	t.Parallel()
	s, p := newSource(t, true), browser(t)
	p.open(s.URL)
	p.until(state("streams"))
	p.click(".card h2 a")
	p.until(state("playing"))
	for range 3 {
		p.run(chromedp.Evaluate[chromedp.Void]("void document.dispatchEvent(new Event('visibilitychange'))"))
	}
	passes(p, 7e9)
	assert.Equal(t, 1, s.recorded.count("/api/v1/recordings"))
	assert.True(t, eval[bool](p, "['recordings', 'newest', 'bar', 'live'].every((id) => document.getElementById(id).hidden)"))
	assert.False(t, eval[bool](p, "document.getElementById('addresses').hidden"))
}

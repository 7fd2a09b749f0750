package web

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// tileOf is a stream of the source under another name.
func tileOf(name string) Stream {
	s := demo()
	s.Name = name
	return s
}

// key presses a key where the focus is.
func key(p *page, name string) {
	p.t.Helper()
	p.run(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(
		"void document.activeElement.dispatchEvent(new KeyboardEvent('keydown', { key: %q, bubbles: true, cancelable: true }))", name)))
}

// playing is a JavaScript expression for all tiles of a wall that play.
func playing(n int) string {
	return fmt.Sprintf("sluice.wall?.tiles.filter((t) => t.state === 'playing').length === %d", n)
}

const heard = "sluice.wall.tiles.map((t, i) => t.audible ? i + 1 : '').join('')"

func TestWall(t *testing.T) {
	s, p := newSource(t, true), browser(t)
	name := "名前 <b>&" + strings.Repeat("n", 200)
	s.set(tileOf("a"), tileOf("b"), tileOf("c"), tileOf("spare"))
	page, none := s.Config.Handler, newSource(t, false).Config.Handler
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/live/none.flv" {
			none.ServeHTTP(w, r)
			return
		}
		page.ServeHTTP(w, r)
	})
	p.run(chromedp.EmulateViewport(1280, 800))
	p.open(s.URL + "/?wall=live/a&wall=live/b&wall=live/none&wall=live/" + url.QueryEscape("名前 (b)&"+name[len(name)-200:]) + "&" + signature)
	p.until(playing(3))
	p.until("sluice.wall.tiles[2].state === 'waiting'")
	assert.Equal(t, "", eval[string](p, heard), "none is heard")
	assert.Equal(t, 3, s.count("ws"), "over WebSocket")
	assert.Zero(t, s.count("http"))
	assert.Equal(t, signature, s.lastAsked(), "the permission of the address is for all")
	unseen(p)
	assert.Contains(t, content(p, ".tile:nth-child(3)"), "Waiting for the publisher")
	p.until("document.querySelector('.tile .tile-state').textContent.includes('behind')")
	p.screenshot("wall-4")

	// A click gives one its sound, and takes it from the others; another takes it away.
	p.click(".tile:nth-child(2) .tile-sound")
	assert.Equal(t, "2", eval[string](p, heard))
	p.click(".tile:nth-child(1) .tile-sound")
	assert.Equal(t, "1", eval[string](p, heard))
	assert.Equal(t, "true", eval[string](p, "document.querySelector('.tile .tile-sound').getAttribute('aria-pressed')"))
	p.click(".tile:nth-child(1) .tile-sound")
	assert.Equal(t, "", eval[string](p, heard))

	// The same by keys.
	at := "[...document.querySelectorAll('.tile')].indexOf(document.activeElement.closest('.tile')) + 1"
	for _, step := range []struct {
		key, heard string
		focus      int
	}{
		{"2", "2", 2}, {"1", "1", 1}, {"m", "", 1}, {"m", "1", 1}, {"ArrowRight", "1", 2}, {"ArrowDown", "1", 4},
		{"ArrowDown", "1", 4}, {"ArrowUp", "1", 2}, {"Home", "1", 1}, {"End", "1", 4}, {"9", "1", 4},
	} {
		key(p, step.key)
		assert.Equal(t, step.heard, eval[string](p, heard), step.key)
		assert.Equal(t, step.focus, eval[int](p, at), step.key)
	}
	assert.Equal(t, 4, eval[int](p, "[...document.querySelectorAll('.tile :is(button, a)')].filter((e) => !e.hidden && e.tabIndex === 0).length + (document.activeElement.matches('.tile-sound') ? 1 : 0)"),
		"one tile is in the order of the tab key")

	// Streams come and go, and the address tells what is there.
	key(p, "Delete")
	assert.Equal(t, "?wall=live/a&wall=live/b&wall=live/none&"+signature, eval[string](p, "location.search"))
	assert.Equal(t, 3, eval[int](p, at), "the focus stays on the wall")
	p.click(".tile:nth-child(3) .tile-remove")
	assert.Equal(t, []string{"live/c", "live/spare"}, eval[[]string](p, "[...document.querySelectorAll('#wall-names option')].map((o) => o.value)"))
	note := "document.getElementById('wall-note').textContent"
	for _, add := range []struct{ typed, note string }{
		{"c", ""}, {"live/a", "is on the wall"}, {s.URL + "/?recording=live/a/20261128T170500.000Z", "no recordings"},
		{"live/spore", "Did you mean"},
	} {
		p.run(chromedp.Evaluate[chromedp.Void](fmt.Sprintf("void (document.getElementById('wall-key').value = %q)", add.typed)))
		p.click("#wall-add button")
		p.until(fmt.Sprintf("%s.includes(%q) && (%q || !%[1]s && document.getElementById('wall-key').value === '')", note, add.note, add.note))
	}
	p.click("#wall-note button") // which is live/spare
	p.until(note + " === ''")
	p.until(playing(4))
	search := eval[string](p, "location.search")
	assert.Equal(t, "?wall=live/a&wall=live/b&wall=live/c&wall=live/spare&"+signature, search)

	// The address is shared as it is, and leads to the same.
	p.open(s.URL + "/" + search)
	p.until(playing(4))
	assert.Equal(t, "live/a live/b live/c live/spare", eval[string](p, "sluice.wall.tiles.map((t) => t.key).join(' ')"))
	before := s.watching()
	assert.Equal(t, 4, before)
	p.click("#wall .back")
	p.until("sluice.view === 'list'")
	require.Eventually(t, func() bool { return s.watching() == 0 }, patience, 10_000_000, "nothing goes on behind the list")
}

// However many there are, they fill the window and nothing is cut off.
func TestWallFits(t *testing.T) {
	s, p := newSource(t, true), browser(t)
	for _, size := range []struct{ w, h int64 }{{1280, 800}, {390, 844}, {844, 390}, {320, 568}, {2560, 1440}} {
		p.run(chromedp.EmulateViewport(size.w, size.h))
		for _, n := range []int{1, 2, 3, 5, 9} {
			if size.w != 1280 && n != 2 && n != 9 {
				continue
			}
			var query []string
			for i := range n + n/9 { // ten, of which nine are shown
				query = append(query, fmt.Sprintf("wall=live/%s%d", strings.Repeat("long-name-", i), i))
			}
			p.open(s.URL + "/?" + strings.Join(query, "&"))
			p.until(fmt.Sprintf("sluice.wall?.tiles.length === %d", n))
			p.until("document.querySelector('.tile').clientWidth > 40")
			at := fmt.Sprintf("%d×%d, %d", size.w, size.h, n)
			boxes := eval[[][4]float64](p, `[...document.querySelectorAll('.tile')].map((e) => {
				const r = e.getBoundingClientRect();
				return [r.left, r.top, r.right, r.bottom];
			})`)
			area := 0.0
			for i, b := range boxes {
				assert.True(t, b[0] >= 0 && b[1] >= 0 && b[2] <= float64(size.w) && b[3] <= float64(size.h), "%s: %d at %v", at, i, b)
				assert.InDelta(t, 16.0/9, (b[2]-b[0])/(b[3]-b[1]), 0.05, at)
				area += (b[2] - b[0]) * (b[3] - b[1])
				for _, o := range boxes[:i] {
					assert.True(t, b[0] >= o[2] || b[1] >= o[3] || o[0] >= b[2] || o[1] >= b[3], "%s: %v lies over %v", at, b, o)
				}
			}
			least := 0.45
			if n < 3 && size.h > size.w || n == 1 && size.w > 2*size.h {
				least = 0.2
			}
			assert.Greater(t, area/float64(size.w*size.h), least, at)
			assert.Equal(t, eval[int](p, "innerWidth"), eval[int](p, "document.documentElement.scrollWidth"), at)
			assert.Equal(t, n == 9, strings.Contains(content(p, "#wall-note"), "first of 10"), at)
			if os.Getenv("SLUICE_TEST_SCREENSHOTS") != "" && (n == 9 || n == 2 && size.w < 1000) {
				p.until(playing(n))
				p.screenshot(fmt.Sprintf("wall-%dx%d-%d", size.w, size.h, n))
			}
		}
	}
	p.open(s.URL + "/?wall=")
	p.until("document.getElementById('wall-note').textContent.includes('Nothing is on this wall')")
}

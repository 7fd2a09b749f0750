package web

import (
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// cameras are so many streams, as a building has them.
func cameras(n int) (all []Stream) {
	for i := range n {
		s := demo()
		s.Name = fmt.Sprintf("cam%d", i+1)
		s.Bitrate = int64(1_000_000 + i*37%100*25_000)
		s.Viewers = Viewers{Total: i * 7 % 50}
		s.UptimeMS = int64((i*13%97 + 1) * 60_000)
		switch {
		case i%10 == 3:
			s.Video = nil
		case i%9 == 0:
			s.Video = &Video{Codec: "HEVC", Profile: "Main", Width: 1920, Height: 1080, FPS: 25}
		}
		if i%20 == 5 {
			s.State = "grace"
		}
		all = append(all, s)
	}
	return all
}

// strange are names of 250 bytes and of every script.
func strange() (all []Stream) {
	for _, name := range []string{
		strings.Repeat("x", 245), strings.Repeat("long-name ", 24) + "end", "监控摄像头-大门口", "كاميرا-المدخل", "דלת כניסה", "กล้อง",
		"камера-вход", "🎥🚪🔥", strings.Repeat("😀", 61), "a\u202efdp.exe", "<b>x</b>",
	} {
		s := demo()
		s.Name = name
		all = append(all, s)
	}
	return all
}

// keys returns the streams that are shown, in order.
func keys(p *page) []string {
	p.t.Helper()
	return eval[[]string](p, "[...document.querySelectorAll('.card h2, .rows tbody th')].map((e) => e.textContent)")
}

func listed(n int) string {
	return fmt.Sprintf("document.querySelectorAll('.card, .rows tbody tr').length === %d", n)
}

// typed puts a text into a field, as typing does.
func typed(p *page, selector, words string) {
	p.t.Helper()
	p.run(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`void (() => {
		const field = document.querySelector(%q);
		field.focus();
		field.value = %q;
		field.dispatchEvent(new Event('input', { bubbles: true }));
	})()`, selector, words)))
}

// once clicks on what a second click would turn back, where p.click may click again.
func once(p *page, selector string) {
	p.t.Helper()
	p.run(chromedp.Evaluate[chromedp.Void](fmt.Sprintf("(() => { const e = document.querySelector(%q); e.focus(); e.click(); })()", selector)))
}

const focused = "document.activeElement?.textContent"

// What is filtered and sorted stands in the address, and so it is again when that is opened.
func TestListIsFilteredAndSorted(t *testing.T) {
	s, p := newSource(t, false), browser(t)
	all := cameras(12)
	s.set(all...)
	p.open(s.URL)
	p.until(listed(12))
	assert.Equal(t, []string{"live/cam1", "live/cam2", "live/cam3"}, keys(p)[:3], "numbers are numbers")
	assert.Equal(t, "live/cam12", keys(p)[11])

	typed(p, "#filter", "cam1 hevc")
	p.until(listed(2))
	assert.Equal(t, []string{"live/cam1", "live/cam10"}, keys(p))
	assert.Equal(t, "2 of 12", content(p, "#matches"))
	p.until("location.search === '?q=cam1+hevc'")
	for words, want := range map[string]int{"SOUND ONLY": 1, "publisher lost": 1, "48 khz": 12} {
		typed(p, "#filter", words)
		p.until(listed(want))
	}
	typed(p, "#filter", "nothing of this")
	p.until(listed(0))
	assert.Equal(t, "None of the 12 streams matches.", content(p, "#matches"))
	typed(p, "#filter", "rtmp://h/live/cam1?token=S3CRET")
	p.until(listed(0))
	p.until("location.search === ''") // a permission is no part of the history

	typed(p, "#filter", "")
	for _, order := range [][2]string{{"viewers", "live/cam8"}, {"bitrate", "live/cam9"}, {"since", "live/cam1"}} {
		sort, first := order[0], order[1]
		p.run(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`void (() => {
			const sort = document.getElementById('sort');
			sort.value = %q;
			sort.dispatchEvent(new Event('change', { bubbles: true }));
		})()`, sort)))
		assert.Equal(t, first, keys(p)[0], sort)
		assert.Equal(t, "?sort="+sort, eval[string](p, "location.search"))
	}

	p.click("input[value=table] + span")
	p.until("location.search.includes('look=table')")
	require.Len(t, keys(p), 12)
	once(p, "thead button[value=viewers]")
	assert.Equal(t, "live/cam8", keys(p)[0])
	assert.Equal(t, "descending", eval[string](p, "document.querySelector('thead button[value=viewers]').closest('th').ariaSort"))
	once(p, "thead button[value=viewers]")
	assert.Equal(t, "live/cam1", keys(p)[0], "the other way round")
	assert.Equal(t, "ascending", eval[string](p, "document.querySelector('thead button[value=viewers]').closest('th').ariaSort"))
	assert.Equal(t, "Fewest viewers", eval[string](p, "document.getElementById('sort').selectedOptions[0].textContent"))

	p.open(s.URL + "/?q=cam1&sort=-name")
	p.until(listed(4))
	assert.Equal(t, []string{"live/cam12", "live/cam11", "live/cam10", "live/cam1"}, keys(p))
	assert.False(t, eval[bool](p, "document.getElementById('rows').hidden"), "the table is remembered")
	assert.Equal(t, "cam1", eval[string](p, "document.getElementById('filter').value"))

	// Into a stream and back, it is all as it was; the focus is where it belongs.
	p.click(".rows tbody tr:nth-child(2) a")
	p.until("sluice.view === 'watch'")
	assert.Equal(t, "live/cam11", eval[string](p, focused))
	p.click("a.back")
	p.until("sluice.view === 'list'")
	assert.Equal(t, "?q=cam1&sort=-name&look=table", eval[string](p, "location.search"), "as it looks")
	assert.Equal(t, "live/cam11", eval[string](p, focused))
	p.run(chromedp.NavigateBack())
	p.until("sluice.view === 'watch'")
	assert.Equal(t, "live/cam11", eval[string](p, focused))
	p.run(chromedp.NavigateBack())
	p.until("sluice.view === 'list' && " + focused + " === 'live/cam11'")

	// With one stream left, Enter opens it.
	typed(p, "#filter", "cam11")
	p.until(listed(1))
	p.run(chromedp.KeyEvent("\r"))
	p.until("location.search === '?stream=live/cam11'")
}

// Figures that change every second do not have the cards jump about, nor take the focus.
func TestListIsCalm(t *testing.T) {
	s, p := newSource(t, false), browser(t)
	all := cameras(3)
	s.set(all...)
	p.open(s.URL + "/?sort=viewers")
	p.until(listed(3))
	assert.Equal(t, "live/cam3", keys(p)[0])
	p.run(chromedp.Evaluate[chromedp.Void](`
		document.querySelector('.card:last-child a').focus();
		window.now = performance.now();
		performance.now = () => now; // the list's clock stands, however busy the machine is`))
	all[0].Viewers.Total = 1000
	s.set(append(all, cameras(4)[3])...)
	p.until("document.querySelector('.card:nth-child(3)').innerText.includes('1000 viewers')") // where it was
	assert.Equal(t, []string{"live/cam3", "live/cam2", "live/cam1"}, keys(p)[:3])
	p.run(chromedp.Evaluate[chromedp.Void]("window.now += 4000"))
	p.until("document.querySelector('.card').innerText.includes('1000 viewers')") // and later where it belongs
	assert.Equal(t, "live/cam1", eval[string](p, focused))
	assert.True(t, eval[bool](p, "document.getElementById('publishing').innerText.includes('Publish a stream')"))
	once(p, "#publishing summary")
	p.until("document.getElementById('how').getClientRects().length > 0")

	// Nobody knows whether what was live still is.
	assert.Equal(t, "Live", content(p, ".card .pill"))
	s.Listener.Close()
	s.CloseClientConnections()
	p.until(state("unreachable"))
	assert.Equal(t, []string{"Unknown"}, eval[[]string](p, "[...new Set([...document.querySelectorAll('.card .pill')].map((e) => e.textContent))]"))
	assert.NotContains(t, content(p, "#summary"), "live")
	p.screenshot("list-unreachable")
}

// stillServer answers with a picture, counts who asks for what, and what was new to them.
type stillServer struct {
	mu             sync.Mutex
	asked          map[string]int
	same           int
	going, highest int
}

func (c *stillServer) serve(body []byte, missing string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		key := r.URL.Query().Get("stream")
		c.mu.Lock()
		c.asked[key]++
		c.going++
		c.highest = max(c.highest, c.going)
		c.mu.Unlock()
		defer func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.going--
		}()
		switch {
		case key == missing:
			http.Error(w, `{"reason":"no key frame yet"}`, http.StatusNotFound)
		case r.Header.Get("If-None-Match") == `"1"`:
			c.mu.Lock()
			c.same++
			c.mu.Unlock()
			w.WriteHeader(http.StatusNotModified)
		default:
			w.Header().Set("Content-Type", "video/mp4")
			w.Header().Set("Cache-Control", "public, max-age=1")
			w.Header().Set("ETag", `"1"`)
			w.Write(body)
		}
	}
}

func (c *stillServer) count() (streams, questions, same int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.asked {
		questions += n
	}
	return len(c.asked), questions, c.same
}

var oneFrame = sync.OnceValues(func() ([]byte, error) {
	return exec.Command("ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=640x360", "-frames:v", "1",
		"-c:v", "libx264", "-pix_fmt", "yuv420p", "-movflags", "frag_keyframe+empty_moov", "-f", "mp4", "-").Output()
})

// Each card in sight has the newest picture of its stream, and what is out of sight costs nothing.
func TestListShowsStills(t *testing.T) {
	s, p := newSource(t, false), browser(t)
	body, err := oneFrame()
	require.NoError(t, err)
	c := &stillServer{asked: map[string]int{}}
	s.stills = c.serve(body, "live/cam2")
	s.set(cameras(300)...)
	p.run(chromedp.EmulateViewport(1280, 800))
	p.open(s.URL)
	// A busy browser has a picture's data before the picture itself, and draws black until then.
	p.run(chromedp.Evaluate[chromedp.Void](`void (() => {
		const draw = CanvasRenderingContext2D.prototype.drawImage;
		let before = 8;
		CanvasRenderingContext2D.prototype.drawImage = function (...args) { if (before-- <= 0) draw.apply(this, args); };
	})()`))
	p.until("document.querySelectorAll('[data-still]').length > 8")
	assert.Zero(t, eval[int](p, `[...document.querySelectorAll('[data-still] canvas')].filter((canvas) =>
		!canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some((value, i) => i % 4 < 3 && value > 8)).length`),
		"no card is black")
	streams, _, _ := c.count()
	assert.Less(t, streams, 40, "only those in sight")
	assert.LessOrEqual(t, c.highest, 2, "at a time")
	// The picture is ffmpeg's: it has a bright left edge of colours, and is no black.
	assert.Greater(t, eval[int](p, `(() => {
		const canvas = document.querySelector('[data-still] canvas');
		return new Set(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data).size;
	})()`), 50)
	p.until("[...document.querySelectorAll('.card')].some((c) => c.innerText.includes('cam4') && c.innerText.includes('Sound only'))")
	assert.Zero(t, c.asked["live/cam4"], "which has no picture")
	assert.False(t, eval[bool](p, "'still' in document.querySelectorAll('.card')[1].dataset"), "as there is none")

	p.screenshot("list-stills")
	p.run(chromedp.Evaluate[chromedp.Void]("scrollTo(0, 1e6)"))
	p.until("'still' in document.querySelector('.card:last-child').dataset")
	c.mu.Lock()
	again := c.asked["live/cam300"]
	c.mu.Unlock()
	assert.Equal(t, 1, again)

	// After ten seconds they are asked for anew; what has not changed is not sent again.
	_, before, _ := c.count()
	p.run(chromedp.Evaluate[chromedp.Void](`void (() => {
		const now = performance.now.bind(performance);
		performance.now = () => now() + 11000;
		document.dispatchEvent(new Event('visibilitychange'));
	})()`))
	require.Eventually(t, func() bool { _, _, same := c.count(); return same > 1 }, patience, 10*time.Millisecond)
	_, after, _ := c.count()
	assert.Less(t, after-before, 10, "spread over the time until they are due again")

	// Without pictures nothing is asked for.
	p.click("input[value=cards] + span")
	p.until("!document.querySelector('.picture')")
	assert.Zero(t, eval[int](p, "document.querySelectorAll('canvas:not(#frozen)').length"))
}

// Who waits is told what else there is.
func TestOtherStreamsAreOffered(t *testing.T) {
	s, p := newSource(t, false), browser(t)
	s.set(cameras(9)...)
	p.run(chromedp.EmulateViewport(1280, 800))
	p.open(s.URL + "/?stream=live/demo")
	p.until("document.querySelectorAll('#others li').length === 6")
	assert.Equal(t, "live/cam8", content(p, "#others a"), "which most watch")
	assert.Contains(t, content(p, "#others li"), "49 viewers")
	assert.Len(t, eval[[]string](p, "[...document.querySelectorAll('#overlay .also a')].map((a) => a.textContent)"), 3)
	p.screenshot("watch-others")
	s.publish()
	p.until(state("playing"))
	p.until("document.getElementById('others').hidden && !document.querySelector('.also')")
	s.unpublish()
	s.set(cameras(2)...)
	p.until(state("ended"))
	p.until("document.querySelectorAll('#others li').length === 2")
	s.publish()
	p.until(state("playing"))
	p.open(s.URL + "/?stream=live/demo") // where nothing else was ever wanted
	p.until(state("playing"))
	assert.True(t, eval[bool](p, "document.getElementById('others').hidden"))
	s.unpublish()
	s.set(cameras(2)...)
	p.until(state("ended"))
	p.until("document.querySelectorAll('#others li').length === 2")
	p.click("#others a")
	p.until("location.search.startsWith('?stream=live/cam')")
	assert.False(t, eval[bool](p, "document.getElementById('others').innerText.includes(sluice.stream)"))
}

// Streams are chosen for a wall in the list.
func TestListChoosesAWall(t *testing.T) {
	script := axe(t)
	s, p := newSource(t, false), browser(t)
	s.set(cameras(12)...)
	for _, look := range []string{"pictures", "table"} {
		p.open(s.URL + "/?look=" + look)
		p.until(listed(12))
		once(p, "#choose")
		p.until("document.querySelectorAll('.pick').length === 12")
		assert.Equal(t, "choose", eval[string](p, "document.activeElement.id"))
		p.run(chromedp.KeyEvent(kb.Tab))
		assert.Equal(t, "Cancel", eval[string](p, focused), "comes before the streams")
		link := "document.querySelector('.choosing a').getAttribute('href')"
		pick := func(n int) {
			once(p, fmt.Sprintf(":is(.card, .rows tbody tr):nth-child(%d) .pick input", n))
		}
		pick(1)
		assert.Contains(t, content(p, ".choosing p"), "1 selected")
		assert.True(t, eval[bool](p, link+" === null"), "one is no wall")
		pick(3)
		assert.Equal(t, "/?wall=live/cam1&wall=live/cam3", eval[string](p, link))
		pick(1)
		assert.Contains(t, content(p, ".choosing p"), "1 selected")
		for n := 4; n < 12; n++ {
			pick(n)
		}
		assert.Contains(t, content(p, ".choosing p"), "9 selected")
		pick(12)
		assert.Contains(t, content(p, ".choosing p"), "9 selected", "which is what a wall has")
		p.screenshot("list-choose-" + look)
		p.accessible(script, look)
		p.click(".choosing button")
		p.until("!document.querySelector('.pick, .choosing')")
	}
	once(p, "#choose")
	p.until("document.querySelectorAll('.pick').length === 12")
	for _, n := range []int{1, 2} {
		once(p, fmt.Sprintf(".rows tbody tr:nth-child(%d) .pick input", n))
	}
	p.click(".choosing a")
	p.until("sluice.view === 'wall'")
	assert.Equal(t, "wall", eval[string](p, "document.activeElement.id"))
	p.run(chromedp.NavigateBack())
	p.until("sluice.view === 'list'")
	assert.False(t, eval[bool](p, "!!document.querySelector('.pick, .choosing')"), "it is done")
}

// At any width and with any number of streams the list fits, and a name is no wider than its card.
func TestListFits(t *testing.T) {
	s, p := newSource(t, false), browser(t)
	body, err := oneFrame()
	require.NoError(t, err)
	s.stills = (&stillServer{asked: map[string]int{}}).serve(body, "")
	sizes := [][2]int64{{320, 640}, {390, 844}, {844, 390}, {1280, 800}, {1920, 1080}, {2560, 1440}}
	looks := []string{"pictures", "cards", "table"}
	p.open(s.URL)
	for name, streams := range map[string][]Stream{"0": nil, "1": cameras(1), "5": cameras(5), "40": cameras(40), "300": cameras(300), "strange": strange()} {
		s.set(streams...)
		p.until(listed(len(streams)))
		for _, look := range looks {
			p.run(chromedp.Evaluate[chromedp.Void](fmt.Sprintf("document.querySelector('input[value=%s]').click()", look)))
			for _, size := range sizes {
				p.run(chromedp.EmulateViewport(size[0], size[1]))
				assert.LessOrEqual(t, eval[int64](p, "document.documentElement.scrollWidth"), size[0], "%s, %s", name, look)
				p.screenshot(fmt.Sprintf("list-%s-%s-%dx%d", name, look, size[0], size[1]))
			}
		}
	}
	s.set(cameras(40)...)
	p.until(listed(40))
	for look, highest := range map[string]int{"pictures": 4600, "table": 2300} {
		p.run(
			chromedp.EmulateViewport(390, 844),
			chromedp.Evaluate[chromedp.Void](fmt.Sprintf("document.querySelector('input[value=%s]').click()", look)))
		assert.Less(t, eval[int](p, "document.documentElement.scrollHeight"), highest, look)
	}
	p.run(
		chromedp.EmulateViewport(1920, 1080),
		chromedp.Evaluate[chromedp.Void]("document.querySelector('input[value=pictures]').click()"))
	assert.GreaterOrEqual(t, eval[int](p, "getComputedStyle(document.getElementById('streams')).gridTemplateColumns.split(' ').length"), 6)
}

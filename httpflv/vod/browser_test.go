package vod

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/hub/archive/flvfile"
	"sluice/web/browsertest"
)

// patience is how long a test waits for what it expects of a browser.
const patience = 30 * time.Second

// mpegtsJS is the player, which go generate fetches.
const mpegtsJS = "../../web/static/npm/mpegts.js"

// playerPage plays what start is called with.
const playerPage = `<!doctype html><video muted autoplay></video><script src="/mpegts.js"></script><script>
const video = document.querySelector('video');
window.failure = '';
video.onerror = () => { window.failure = 'video: ' + video.error.message };
function start(url, config) {
  if (url.includes('.mp4')) { video.src = url; return true; }
  const player = mpegts.createPlayer({ type: 'flv', url, isLive: false }, config);
  player.on('error', (kind, detail) => { window.failure = kind + ' ' + detail; });
  player.attachMediaElement(video);
  player.load();
  return true;
}
</script>`

// tab is a tab of the browser, on the player's page.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu     sync.Mutex
	ranges []string // that were asked for
}

// browse opens a page beside the recordings of a rig.
func browse(t *testing.T) (*tab, *rig) {
	t.Helper()
	if testing.Short() {
		t.Skip("left out: tests in a browser take a minute; run without -short")
	}
	needs(t, "ffmpeg")
	needs(t, "chromium-headless-shell", "chromium")
	script, err := os.ReadFile(mpegtsJS)
	if err != nil {
		needs(t, "mpegts.js; go generate ./web")
	}
	b := &tab{t: t}
	h := newRig(t, func(s *setup) {
		s.wrap = func(h http.Handler) http.Handler {
			mux := http.NewServeMux()
			mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, playerPage) })
			mux.HandleFunc("/favicon.ico", http.NotFound)
			mux.HandleFunc("/mpegts.js", func(w http.ResponseWriter, _ *http.Request) { w.Write(script) })
			mux.HandleFunc(Prefix, func(w http.ResponseWriter, r *http.Request) {
				b.mu.Lock()
				b.ranges = append(b.ranges, r.Header.Get("Range"))
				b.mu.Unlock()
				h.ServeHTTP(w, r)
			})
			return mux
		}
	})
	b.ctx = browsertest.New(t).Context()
	within, stop := context.WithTimeout(b.ctx, patience)
	defer stop()
	require.NoError(t, chromedp.Do(within, chromedp.Navigate(h.server.URL+"/")))
	return b, h
}

func value[T any](b *tab, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	require.NoError(b.t, err, expression)
	return v
}

// until waits until an expression is true.
func (b *tab) until(expression string) {
	b.t.Helper()
	for deadline := time.Now().Add(patience); !value[bool](b, expression); time.Sleep(20 * time.Millisecond) {
		failure := value[string](b, "window.failure")
		require.Empty(b.t, failure)
		if time.Now().After(deadline) {
			state := value[string](b, "`at ${video.currentTime} of ${video.duration}, seeking ${video.seeking}, ready ${video.readyState}, has `"+
				"+ Array.from({length: video.buffered.length}, (_, i) => video.buffered.start(i) + ' to ' + video.buffered.end(i))")
			b.t.Fatalf("waiting for %s: %s", expression, state)
		}
	}
}

// seekAll plays, and seeks to 95, 10 and 50 % of a recording of some seconds, whose key
// frames that the player knows are so far apart.
func (b *tab) seekAll(url, config string, seconds, apart float64) {
	b.t.Helper()
	value[bool](b, fmt.Sprintf("start(%q, %s)", url, config))
	b.until("video.currentTime > 0.5")
	assert.InDelta(b.t, seconds, value[float64](b, "video.duration"), 1)
	for _, part := range []float64{0.95, 0.10, 0.50} {
		to := seconds * part
		value[float64](b, fmt.Sprintf("video.currentTime = %f", to))
		b.until(fmt.Sprintf("!video.seeking && video.readyState >= 3 && video.currentTime > %f && video.currentTime < %f", to-apart-0.2, to+5))
		at := value[float64](b, "video.currentTime")
		b.until(fmt.Sprintf("video.currentTime > %f", at+0.2)) // it plays on
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	behind := slices.DeleteFunc(slices.Clone(b.ranges), func(r string) bool { return r == "" || r == "bytes=0-" })
	assert.NotEmpty(b.t, behind, "it asks for ranges: %q", b.ranges)
	b.t.Logf("asked for %q", b.ranges)
}

// movie has ffmpeg make a film with a key frame every so many of its 15 pictures a second.
func movie(size string, seconds, gop int) ([]byte, error) {
	return exec.Command("ffmpeg", "-v", "error",
		"-f", "lavfi", "-i", "testsrc2=rate=15:size="+size, "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100",
		"-t", fmt.Sprint(seconds), "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", fmt.Sprint(gop),
		"-b:v", "600k", "-c:a", "aac", "-f", "flv", "-").Output()
}

// twoMinutes is a film with a key frame every second, made once for all tests.
var twoMinutes = sync.OnceValues(func() ([]byte, error) { return movie("320x180", 120, 15) })

// film takes a movie apart.
func film(t *testing.T, movie []byte, err error) []flv.Tag {
	t.Helper()
	require.NoError(t, err, "ffmpeg makes the film")
	return slices.DeleteFunc(tags(t, movie), func(tag flv.Tag) bool { return tag.Type == flv.TypeScript })
}

// packets are the packets of a film.
func packets(tags []flv.Tag) (all []flvfile.Packet) {
	for _, tag := range tags {
		p := flvfile.Packet{Tag: tag, Time: int64(tag.Timestamp)}
		if parsed, err := tag.Packet(); err == nil {
			p.Header, p.Key = parsed.Kind == flv.KindConfig, parsed.Key
		}
		all = append(all, p)
	}
	return all
}

// lean keeps a player from having everything before somebody can seek.
const lean = `{lazyLoadMaxDuration: 5, lazyLoadRecoverDuration: 2, enableStashBuffer: false}`

func TestBrowserSeeksFinished(t *testing.T) {
	b, h := browse(t)
	i := h.record(demo, firstID)
	made, err := twoMinutes()
	h.write(i, packets(film(t, made, err))...)
	h.finish(i)
	b.seekAll("/rec/live/demo/latest.flv", lean, 120, 1)
}

func TestBrowserSeeksGrowing(t *testing.T) {
	b, h := browse(t)
	i := h.record(demo, firstID)
	made, err := twoMinutes()
	all := packets(film(t, made, err))
	half := slices.IndexFunc(all, func(p flvfile.Packet) bool { return p.Time >= 60_000 })
	h.write(i, all[:half]...)
	b.seekAll(firstPath, lean, 60, 1)
	h.write(i, all[half:]...)
	b.until("video.currentTime > 32")
	h.finish(i)
}

// With an index of every thousandth key frame a player still gets everywhere, if not as close.
func TestBrowserSeeksByThinIndex(t *testing.T) {
	b, h := browse(t)
	made, err := movie("160x90", 240, 1)
	frames := film(t, made, err)
	keys := 0
	var times, positions []any
	file := func() []byte {
		out := flv.AppendHeader(nil, true, true)
		out = flv.AppendTag(out, flv.Tag{Type: flv.TypeScript, Data: amf.AppendAMF0(nil, "onMetaData", amf.ECMAArray{
			{Name: "duration", Value: 240.0}, {Name: "hasVideo", Value: true}, {Name: "hasAudio", Value: true},
			{Name: "width", Value: 160.0}, {Name: "height", Value: 90.0}, {Name: "hasKeyframes", Value: true},
			{Name: "keyframes", Value: amf.Object{{Name: "times", Value: times}, {Name: "filepositions", Value: positions}}},
		})})
		keys, times, positions = 0, nil, nil
		for n, p := range packets(frames) {
			if p.Type == flv.TypeVideo && (p.Header || p.Key && keys%1000 == 0) {
				times = append(times, float64(p.Time)/1000)
				positions = append(positions, float64(len(out)))
			}
			if p.Key {
				keys++
			}
			out = flv.AppendTag(out, frames[n])
		}
		return out
	}
	file()        // to know how many there are,
	file()        // where they stand then,
	out := file() // and to say so
	require.Greater(t, keys, 3000)
	require.Len(t, times, 5)
	i := h.put(demo, "thin", out)
	res := h.get("/rec/live/demo/thin.flv", "Range", "bytes=0-1000")
	require.True(t, bytes.Contains(all(t, res), []byte("keyframes")))
	b.seekAll("/rec/live/demo/"+i.ID+".flv", lean, 240, 1000.0/15+1)
}

func TestBrowserSeeksMP4(t *testing.T) {
	b, h := browse(t)
	i := h.record(demo, firstID)
	made, err := twoMinutes()
	h.write(i, packets(film(t, made, err))...)
	h.finish(i)
	b.seekAll("/rec/live/demo/latest.mp4", "{}", 120, 0)
}

// A player without ranges begins where it is told to, and knows how long it will take.
func TestBrowserPlaysWebSocket(t *testing.T) {
	b, h := browse(t)
	i := h.record(demo, firstID)
	made, err := twoMinutes()
	h.write(i, packets(film(t, made, err))...)
	h.finish(i)
	value[bool](b, fmt.Sprintf("start('ws://' + location.host + %q, %s)", "/rec/live/demo/latest.flv?start=110.5", `{lazyLoad: false}`))
	b.until("video.currentTime > 2")
	assert.InDelta(t, 10, value[float64](b, "video.duration"), 0.5)
	value[float64](b, "video.playbackRate = 4")
	b.until("video.ended")
	assert.InDelta(t, 10, value[float64](b, "video.currentTime"), 0.5)
}

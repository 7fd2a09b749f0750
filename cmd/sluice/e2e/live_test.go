package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// measureJS plays a stream of a clock for a while after its first picture, and notes
// which picture was shown when.
var measureJS = fmt.Sprintf(`async (lib, url, ms, bit) => {
  const video = document.createElement("video");
  document.body.append(video);
  const canvas = new OffscreenCanvas(16 * bit, 1), look = canvas.getContext("2d", { willReadFrequently: true });
  const seen = { shown: [], errors: [], waits: [] };
  const began = Date.now();
  const show = () => {
    look.drawImage(video, 0, 8, 16 * bit, 1, 0, 0, 16 * bit, 1);
    const { data } = look.getImageData(0, 0, 16 * bit, 1);
    let n = 0;
    for (let i = 0; i < 16; i++) if (data[(i * bit + bit / 2) * 4] > 128) n |= 1 << i;
    seen.shown.push({ at: Date.now(), after: Date.now() - began, n });
    video.requestVideoFrameCallback(show);
  };
  video.requestVideoFrameCallback(show);
  const player = lib.createPlayer({ type: "flv", isLive: true, url }, { enableStashBuffer: false });
  player.on(lib.Events.ERROR, (...what) => seen.errors.push(JSON.stringify(what)));
  video.addEventListener("waiting", () => video.currentTime && seen.waits.push(Date.now() - began));
  player.attachMediaElement(video);
  player.load();
  player.play().catch((e) => seen.errors.push(String(e)));
  for (const started = Date.now(); !seen.shown.length && Date.now() - started < %d;) {
    await new Promise((done) => setTimeout(done, 50));
  }
  await new Promise((done) => setTimeout(done, ms));
  seen.ranges = video.buffered.length;
  seen.sound = video.webkitAudioDecodedByteCount;
  player.destroy();
  video.remove();
  return seen;
}`, patience.Milliseconds())

// seen is what a viewer of a clock saw.
type seen struct {
	Shown []struct {
		At    int64 // ms since 1970
		After int   // ms since the player was made
		N     int
	}
	Waits  []int // when it had nothing to show, ms
	Errors []string
	Ranges int // of what is buffered
	Sound  int // bytes decoded
}

// watchClock joins late in a GOP and watches for some seconds.
func (p *players) watchClock(c *clock, lib, url string) seen {
	p.t.Helper()
	const late, watched = clockGOP * 4 / 5, 2000
	until(p.t, "a GOP is nearly over", func() bool { return c.phase() >= late && c.phase() < late+5 })
	v, err := chromedp.Run(p.ctx, chromedp.Evaluate[seen](fmt.Sprintf("(%s)(%s, %q, %d, %d)", measureJS, lib, url, watched, bitWidth),
		chromedp.EvalAwaitPromise))
	require.NoError(p.t, err)
	assert.Empty(p.t, v.Errors)
	require.NotEmpty(p.t, v.Shown, "no picture of %s", url)
	return v
}

// lag returns when the first picture was shown, in ms, and how far behind the newest
// one the last was.
func (s seen) lag(c *clock) (first int, behind time.Duration) {
	last := s.Shown[len(s.Shown)-1]
	return s.Shown[0].After, c.behind(last.N, time.UnixMilli(last.At))
}

// With start=live a browser that joins late in a GOP of 4 s has a picture at once and
// is at the live edge; without it, it is behind by what the GOP was old. A machine
// that is busy with other tests may take its time, and have the browser join in the next
// GOP, so one good pair of joins in many is enough.
func TestStartLive(t *testing.T) {
	t.Parallel()
	const soon, near, old = 300, 500 * time.Millisecond, 2500 * time.Millisecond
	s := serve(t)
	p := openPlayers(t)
	c := s.publishClock("live/x")
	s.state("live/x", "live")
	for _, by := range []struct{ lib, scheme string }{{"mpegts", "http"}, {"mpegts", "ws"}, {"flvjs", "http"}} {
		until(t, by.lib+" is live over "+by.scheme, func() bool {
			url := s.flvURL(by.scheme, "live/x")
			whole, live := p.watchClock(c, by.lib, url), p.watchClock(c, by.lib, url+"?start=live")
			const report = "%s over %-4s %-10s first picture after %3d ms, then %v behind; had none at %v ms"
			first, far := whole.lag(c)
			t.Logf(report, by.lib, by.scheme, "", first, far, whole.Waits)
			first, behind := live.lag(c)
			t.Logf(report, by.lib, by.scheme, "start=live", first, behind, live.Waits)
			assert.Equal(t, 1, live.Ranges, "ranges of the buffer")
			assert.Positive(t, live.Sound)
			return far > old && first <= soon && behind < near
		})
	}
}

// What comes first then is squeezed into less than half a second, and good for ffmpeg
// all the same: every decoding time is later than the one before.
func TestStartLiveInFFmpeg(t *testing.T) {
	t.Parallel()
	s := serve(t)
	c := s.publishClock("live/x")
	s.state("live/x", "live")
	for name, url := range map[string]string{"RTMP": s.rtmpURL("live/x"), "HTTP": s.flvURL("http", "live/x")} {
		until(t, "ffmpeg joins late in a GOP over "+name, func() bool {
			until(t, "a GOP is nearly over", func() bool { return c.phase() > clockGOP*3/4 })
			return joinLive(t, url) > clockGOP/2
		})
	}
}

// joinLive has ffmpeg record from the live edge, checks the decoding times, and returns
// how many pictures came in the first moments. They are few where ffmpeg took so long to
// start that it joined in the next GOP.
func joinLive(t *testing.T, url string) (early int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "live.mp4") // which takes no two frames at the same time
	run(t, "ffmpeg", "-nostdin", "-v", "warning", "-copyts", "-i", url+"?start=live", "-t", "3", "-c", "copy", path)
	var p probed
	require.NoError(t, json.Unmarshal(run(t, "ffprobe", "-v", "warning", "-show_packets", "-show_streams", "-of", "json", path), &p))
	p.monotonic(t)
	for _, packet := range p.Packets {
		if at, err := strconv.ParseFloat(packet.Time, 64); err == nil && at < 0.45 && p.Streams[packet.Stream].Type == "video" {
			early++
		}
	}
	return early
}

package mp4_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/mp4"
	"sluice/web/browsertest"
)

// shelf serves MP4 files with ranges, and a page that plays one.
type shelf struct {
	*httptest.Server
	mu     sync.Mutex
	ranges map[string][]string // asked for, by path
}

func serve(t *testing.T, files map[string]*mp4.Content) *shelf {
	t.Helper()
	s := &shelf{ranges: map[string][]string{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, ok := files[strings.TrimPrefix(r.URL.Path, "/")]
		if !ok {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<!doctype html><title>.</title><link rel=icon href=data:,>")
			return
		}
		s.mu.Lock()
		s.ranges[r.URL.Path] = append(s.ranges[r.URL.Path], r.Header.Get("Range"))
		s.mu.Unlock()
		w.Header().Set("Content-Type", "video/mp4")
		w.Header().Set("ETag", `"one"`)
		http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(c, 0, c.Size()))
	}))
	t.Cleanup(s.Close)
	return s
}

// later returns a session without metadata, which begins at a time in ms.
func later(tags []flv.Tag, at uint32) (all []flv.Tag) {
	for _, t := range tags {
		if t.Type != flv.TypeScript {
			t.Timestamp += at
			all = append(all, t)
		}
	}
	return all
}

// again repeats a session, 17 s after each other.
func again(tags []flv.Tag, times int) (all []flv.Tag) {
	for n := range times {
		all = append(all, later(tags, uint32(17_000*n))...)
	}
	return all
}

func content(t *testing.T, tags ...flv.Tag) *mp4.Content {
	t.Helper()
	b := file(tags...)
	return mp4.NewContent(scan(t, b).Head(), bytes.NewReader(b), int64(len(b)))
}

// sounds returns a file of sound that ffmpeg encodes.
func sounds(t *testing.T, codec flv.Codec, encoder string) *mp4.Content {
	t.Helper()
	e := encode(t, "sine=440:r=48000:d=4", "-c:a", encoder)
	tags := []flv.Tag{audio(0, flv.Packet{Codec: codec, Enhanced: true, Kind: flv.KindConfig, Payload: e.config})}
	for _, p := range e.packets {
		tags = append(tags, audio(uint32((p.at-e.packets[0].at)*1000+0.5), flv.Packet{Codec: codec, Enhanced: true, Kind: flv.KindFrame, Payload: p.data}))
	}
	return content(t, tags...)
}

// play is what the page does with a video: it seeks in it, and plays it to its end, from near there
// if it is long.
const play = `const play = (name) => new Promise(async (resolve) => {
	const v = document.createElement("video")
	const heard = (name) => new Promise((ok) => {
		v.addEventListener(name, ok, { once: true })
		v.addEventListener("error", () => resolve({ error: v.error.message }), { once: true })
	})
	v.muted = true
	v.src = name
	await heard("loadeddata")
	const places = []
	for (const part of [0.5, 0.1, 0.95, 0.3, 0]) {
		v.currentTime = part * v.duration
		await heard("seeked")
		places.push(v.currentTime / v.duration - part)
	}
	v.currentTime = Math.max(0, v.duration - 7)
	await heard("seeked")
	v.playbackRate = 2
	v.play()
	await heard("ended")
	resolve({ error: "", duration: v.duration, width: v.videoWidth, off: Math.max(...places.map(Math.abs)),
		end: v.currentTime, frames: v.getVideoPlaybackQuality().totalVideoFrames, sound: v.webkitAudioDecodedByteCount })
});`

// Chromium plays what it can decode in a video element, to the end, and seeks in it.
func TestChromium(t *testing.T) {
	ctx := browsertest.New(t).Context()
	files := map[string]*mp4.Content{
		"long.mp4":    content(t, again(captured(t, "obs30-h264-aac"), 18)...),
		"bframes.mp4": content(t, captured(t, "ffmpeg7-h264-bframes-aac")...),
		"av1.mp4":     content(t, captured(t, "ffmpeg7-av1-aac")...),
		"mp3.mp4":     content(t, captured(t, "ffmpeg7-audio-mp3")...),
		"opus.mp4":    sounds(t, flv.CodecOpus, "libopus"),
		"flac.mp4":    sounds(t, flv.CodecFLAC, "flac"),
	}
	s := serve(t, files)
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	require.NoError(t, chromedp.Do(ctx, chromedp.Navigate(s.URL)))
	names := slices.Collect(maps.Keys(files))
	saw := eval[map[string]seen](t, ctx, fmt.Sprintf(`%s
		Promise.all(%q.split(" ").map(async (name) => [name, await play(name)])).then(Object.fromEntries)`, play, strings.Join(names, " ")))
	for _, test := range []struct {
		name     string
		duration float64 // s
		width    int
		picture  int // at least so many pictures
		sound    bool
	}{
		{"bframes.mp4", 6.04, 320, 80, true},
		{"av1.mp4", 6.04, 320, 80, true},
		{"mp3.mp4", 6.03, 0, 0, true},
		{"opus.mp4", 4.02, 0, 0, true},
		{"flac.mp4", 4.0, 0, 0, true},
		{"long.mp4", 17*17 + 16.7, 640, 30, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			saw := saw[test.name]
			require.Empty(t, saw.Error)
			assert.InDelta(t, test.duration, saw.Duration, 0.06)
			assert.InDelta(t, saw.Duration, saw.End, 0.1)
			assert.Less(t, saw.Off, 0.01, "seeks land where they should")
			assert.Equal(t, test.width, saw.Width)
			assert.GreaterOrEqual(t, saw.Frames, test.picture)
			assert.Equal(t, test.sound, saw.Sound > 0)
		})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	assert.Greater(t, len(s.ranges["/long.mp4"]), 2, "a long file is read where it is played: %v", s.ranges["/long.mp4"])
}

// seen is what a video element says of itself.
type seen struct {
	Error                string
	Duration, End, Off   float64
	Width, Frames, Sound int
}

// eval waits for what a JavaScript promise yields.
func eval[T any](t *testing.T, ctx context.Context, expression string) T {
	t.Helper()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	require.NoError(t, err)
	return v
}

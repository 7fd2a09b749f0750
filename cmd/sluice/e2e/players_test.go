package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The players, in the web folder: mpegts.js as the program has it embedded, and flv.js
// as npm brings it.
const (
	mpegtsJS = "static/npm/mpegts.js"
	flvJS    = "node_modules/flv.js/dist/flv.js"
)

// playersPage is a page as somebody would write it who plays streams of this
// server on a site of theirs. It has no buffer of its own, as is usual for live
// streams, and notes what each player does.
const playersPage = `<!doctype html>
<meta charset="utf-8"><title>Players</title>
<script src="/mpegts.js"></script>
<script src="/flv.js"></script>
<body><script>
"use strict";
const players = {};

function play(name, lib, url) {
  const video = document.createElement("video");
  video.muted = true;
  document.body.append(video);
  const p = players[name] = { video, picture: false, errors: [], complete: false, dropped: 0, droppedAt: 0 };
  p.player = lib.createPlayer({ type: "flv", isLive: true, url }, { enableStashBuffer: false, lazyLoad: false });
  p.player.on(lib.Events.ERROR, (...what) => p.errors.push(JSON.stringify(what)));
  p.player.on(lib.Events.LOADING_COMPLETE, () => { p.complete = true; });
  video.addEventListener("loadeddata", () => { p.picture = true; });
  video.addEventListener("error", () => p.errors.push(video.error.message));
  p.player.attachMediaElement(video);
  p.player.load();
  p.player.play().catch((e) => p.errors.push(String(e)));
}

// again plays what has ended from its beginning: in sight, since a browser draws a video out of sight a few times
// a second only, and skips what it has not decoded by then, and at half the speed.
function again(name) {
  const { video } = players[name];
  video.scrollIntoView();
  video.playbackRate = 0.5;
  video.currentTime = 0;
  video.play();
}

// stop ends a player, whose figures stay.
function stop(name) {
  players[name].player.destroy();
}

// knock asks for a stream without a player, and returns what becomes of that: an HTTP
// status, or the close code of a WebSocket and why.
async function knock(url) {
  if (url.startsWith("http")) {
    const answer = await fetch(url);
    if (answer.ok) {
      await answer.body.pipeTo(new WritableStream());
      return "ended";
    }
    return answer.status + " " + (await answer.json()).error;
  }
  return new Promise((done) => {
    new WebSocket(url).onclose = ({ code, reason }) => done(code + " " + reason);
  });
}

// look tells how a player does. smooth is the number of pictures since one was
// last dropped.
function look(name) {
  const p = players[name], { video } = p;
  const { totalVideoFrames: frames, droppedVideoFrames: dropped } = video.getVideoPlaybackQuality();
  if (dropped > p.dropped) [p.dropped, p.droppedAt] = [dropped, frames];
  return {
    picture: p.picture, time: video.currentTime, frames, dropped, smooth: frames - p.droppedAt,
    width: video.videoWidth, paused: video.paused, errors: p.errors, complete: p.complete, ended: video.ended,
    end: video.buffered.length ? video.buffered.end(video.buffered.length - 1) : 0,
    buffered: [...Array(video.buffered.length).keys()].map((i) => [video.buffered.start(i), video.buffered.end(i)]),
  };
}
setInterval(() => Object.keys(players).forEach(look), 100);
</script>`

// looks is what tests use of what look returns.
type looks struct {
	Width  int
	Frames int     // decoded so far
	End    float64 // of what is buffered, in seconds
	Errors []string
}

// players is a browser with that page, from another origin than the streams.
type players struct {
	*browser
	names []string
}

func openPlayers(t *testing.T) *players {
	t.Helper()
	return openPlayersOn(t, httptest.NewServer, browse(t))
}

// openPlayersOn is openPlayers in a browser, with a server that start starts.
func openPlayersOn(t *testing.T, start func(http.Handler) *httptest.Server, b *browser) *players {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, playersPage)
	})
	for _, path := range []string{mpegtsJS, flvJS} {
		mux.HandleFunc("GET /"+filepath.Base(path), func(w http.ResponseWriter, r *http.Request) {
			http.ServeFile(w, r, filepath.Join(webFolder, path))
		})
	}
	page := start(mux)
	t.Cleanup(page.Close)
	b.open(page.URL)
	return &players{browser: b}
}

// in returns the players for a subtest.
func (p *players) in(t *testing.T) *players {
	return &players{browser: &browser{t: t, ctx: p.ctx}}
}

// play starts a player of a library, "mpegts" or "flvjs", over "http" or "ws".
func (p *players) play(s *server, lib, scheme, key string) string {
	p.t.Helper()
	name := fmt.Sprintf("%s over %s, %s", lib, scheme, key)
	p.names = append(p.names, name)
	p.playURL(name, lib, s.flvURL(scheme, key))
	return name
}

// playURL is play of any address.
func (p *players) playURL(name, lib, url string) {
	p.t.Helper()
	eval[bool](p.browser, fmt.Sprintf("play(%q, %s, %q), true", name, lib, url))
}

// knock asks for streams, all at a time, and returns what becomes of each.
func (p *players) knock(urls ...string) []string {
	p.t.Helper()
	list, err := json.Marshal(urls)
	require.NoError(p.t, err)
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	said, err := chromedp.Run(ctx, chromedp.Evaluate[[]string](
		fmt.Sprintf("Promise.all(%s.map((url) => knock(url).catch(String)))", list), chromedp.EvalAwaitPromise))
	require.NoError(p.t, err)
	return said
}

func (p *players) look(name string) looks {
	p.t.Helper()
	return eval[looks](p.browser, fmt.Sprintf("look(%q)", name))
}

// wait waits for something about one player, with "p" for what look says of it.
func (p *players) wait(name, condition string) {
	p.t.Helper()
	look := fmt.Sprintf("look(%q)", name)
	p.until(fmt.Sprintf("((p) => p.errors.length || (%s))(%s)", condition, look), look)
	assert.Empty(p.t, p.look(name).Errors, "errors of %s", name)
}

// Both players of the browser world play over both ways, from a page of another
// origin: a picture, time that goes on, pictures decoded and not dropped. They go
// on by themselves when the publisher was cut off and comes back, and see a proper
// end.
func TestBrowserPlayers(t *testing.T) {
	t.Parallel()
	s := serve(t, longGrace)
	p := openPlayers(t)
	publisher := s.publish("live/x", both)
	for _, lib := range []string{"mpegts", "flvjs"} {
		for _, scheme := range []string{"http", "ws"} {
			p.play(s, lib, scheme, "live/x")
		}
	}
	for _, name := range p.names {
		p.wait(name, "p.picture && p.time > 3 && p.frames > 60 && p.smooth > 50 && p.width === 320")
	}
	for range 2 {
		publisher.kill()
		s.state("live/x", "grace")
		seam := map[string]float64{} // where each player's time goes over from one session to the next
		for _, name := range p.names {
			seam[name] = p.look(name).End
		}
		publisher = s.publish("live/x", both)
		for _, name := range p.names {
			p.wait(name, fmt.Sprintf("p.time > %f && p.smooth > 50", seam[name]+2))
		}
	}
	s.watched("live/x", len(p.names))
	s.stop()
	for _, name := range p.names {
		p.wait(name, "p.complete")
	}
}

// Streams with one track play, too: nobody waits for the other one.
func TestBrowserPlaysOneTrack(t *testing.T) {
	t.Parallel()
	s := serve(t)
	p := openPlayers(t)
	s.publish("live/picture", videoOnly)
	s.publish("live/sound", soundOnly)
	for _, lib := range []string{"mpegts", "flvjs"} {
		for _, scheme := range []string{"http", "ws"} {
			if lib == "mpegts" || scheme == "ws" { // Chromium has six connections for HTTP
				p.play(s, lib, scheme, "live/picture")
				p.play(s, lib, scheme, "live/sound")
			}
		}
	}
	for _, name := range p.names {
		if strings.HasSuffix(name, "picture") {
			p.wait(name, "p.picture && p.time > 3 && p.frames > 60 && p.smooth > 50")
		} else {
			p.wait(name, "p.time > 3 && p.frames === 0")
		}
	}
}

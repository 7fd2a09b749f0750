package web

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
)

// What people paste opens what they mean.
func TestOpenBoxUnderstands(t *testing.T) {
	s, p := newSource(t, false), browser(t)
	all := cameras(3)
	all = append(all, Stream{App: "hall", Name: "cam3", State: "live"}, Stream{App: "a/b", Name: "straße 1", State: "live"})
	s.set(all...)
	p.open(s.URL)
	p.until(listed(5))
	p.run(chromedp.Evaluate[chromedp.Void](`void (async () => {
		const base = document.querySelector('script[type=module]').src.replace('app.js', '');
		const { understand } = await import(base + 'find.js');
		window.ask = (text) => {
			const { key, recording, wall, query, error, suggestions } = understand(text, sluice.streams);
			if (error) return '! ' + error + suggestions.map((s) => ' [' + s.words + ' → ' + s.key + s.query + ']').join('');
			return (key ?? wall?.join('+') ?? 'recording ' + recording) + query;
		};
	})()`))
	p.until("!!window.ask")
	host := strings.TrimPrefix(s.URL, "http://")
	for text, want := range map[string]string{
		"live/cam1":                  "live/cam1",
		"  /live//cam1/ ":            "live/cam1",
		"live/cam1.flv":              "live/cam1",
		"cam1":                       "live/cam1",
		"/cam1":                      "live/cam1",
		`"live/cam1"`:                "live/cam1",
		"live/cam1?start=live":       "live/cam1?start=live",
		"cam1?start=live&x=1":        "live/cam1?start=live",
		"live/new":                   "live/new",
		"a/b/straße 1":               "a/b/straße 1",
		"a/b/stra%C3%9Fe%201":        "a/b/straße 1",
		"rtmp://127.0.0.1/live/cam1": "live/cam1",
		"RTMP://cam.example:1935/live/cam1?start=live&token=a%2Bb&junk=1":  "live/cam1?start=live&token=a%2Bb",
		s.URL + "/live/cam1.flv?onlyaudio=1":                               "live/cam1?onlyaudio=1",
		"ws://" + host + "/a/b/stra%C3%9Fe%201.flv":                        "a/b/straße 1",
		host + "/live/cam1":                                                "live/cam1",
		"127.0.0.1/live/cam1":                                              "live/cam1",
		s.URL + "/?stream=live/cam1&over=http&track=1":                     "live/cam1?track=1&over=http",
		s.URL + "/?stream=live/cam1&mode=smooth":                           "live/cam1?mode=smooth",
		s.URL + "/?stream=live/cam1&mode=x&over=x&t=x":                     "live/cam1",
		s.URL + "/?recording=live/demo/20261128T170500.000Z&token=t&t=93":  "recording live/demo/20261128T170500.000Z?t=93&token=t",
		"?stream=live/cam1":                                                "live/cam1",
		s.URL + "/?wall=live/cam1&wall=live/x&key=k":                       "live/cam1+live/x?key=k",
		s.URL + "/embed/live/cam1?muted=1":                                 "live/cam1",
		s.URL + "/embed/live/cam1":                                         "live/cam1",
		s.URL + "/api/v1/streams?stream=live/cam1":                         "live/cam1",
		"ffplay -fflags nobuffer rtmp://127.0.0.1/live/cam1":               "live/cam1",
		`ffplay -fflags nobuffer "` + s.URL + `/live/cam1.flv?start=live"`: "live/cam1?start=live",
		"curl -f -o cam1.flv " + s.URL + "/live/cam1.flv":                  "live/cam1",
		"ffmpeg -re -i https://x.example/a.mp4 -f flv rtmp://h/live/cam1":  "live/cam1",
		s.URL + "/?recording=live/demo/20261128T170500.000Z&token=t":       "recording live/demo/20261128T170500.000Z?token=t",
		s.URL + "/rec/live/demo/20261128T170500.000Z.mp4":                  "recording live/demo/20261128T170500.000Z",
		"ffplay rtmp://h/rec/live/demo/20261128T170500.000Z":               "recording live/demo/20261128T170500.000Z",

		"":     "! Type the name of a stream, or paste an address.",
		"cam3": "! “cam3” is live in 2 applications. Which one? [live/cam3 → live/cam3] [hall/cam3 → hall/cam3]",
		"cam": "! “cam” is not live. Did you mean one of these? [live/cam1 → live/cam1] [live/cam2 → live/cam2] " +
			"[live/cam3 → live/cam3] [hall/cam3 → hall/cam3] [Wait for live/cam → live/cam]",
		"door?start=live":        "! A stream has an application and a name. Did you mean live/door? [live/door → live/door?start=live]",
		"Live/Cam1":              "! “Live/Cam1” is not live. Did you mean one of these? [live/cam1 → live/cam1] [Wait for Live/Cam1 → Live/Cam1]",
		"office/cam1":            "! “office/cam1” is not live. Did you mean one of these? [live/cam1 → live/cam1] [Wait for office/cam1 → office/cam1]",
		"rtsp://h:554/live/c":    "! Streams have no rtsp address here. [live/c → live/c]",
		"srt://h:9000":           "! Streams have no srt address here.",
		"rtmp://":                "! This is no whole address.",
		strings.Repeat("é", 128): "! No stream has so long a name.",
		"rtmp://host/":           "! This address names no stream: behind the server stand the application and the name, as in live/cam1.",
		s.URL + "/?x=1":          "! This address is of no stream.",
		s.URL + "/api/v1/x":      "! This address is of no stream.",
	} {
		assert.Equal(t, want, eval[string](p, fmt.Sprintf("ask(%q)", text)), text)
	}
	assert.Equal(t, "ok", eval[string](p, `(() => {
		for (const text of ['%', 'rtmp://%', 'live/%zz', '://', 'a://b', 'x'.repeat(1e5), 'http://[', '\u0000', '//'.repeat(999), '?=&', 'ws://h/%ff']) ask(text);
		return 'ok';
	})()`))

	typed(p, "#open-key", "cam3?start=live")
	p.run(chromedp.KeyEvent("\r"))
	p.until("document.querySelectorAll('#open-error a').length === 2")
	assert.Equal(t, "cam3?start=live", eval[string](p, "document.getElementById('open-key').value"), "nothing is lost")
	p.screenshot("list-open")
	p.accessible(axe(t), "suggestions")
	p.click("#open-error li:last-child a")
	p.until("location.search === '?stream=hall/cam3&start=live'")
	p.click("a.back")
	typed(p, "#open-key", "rtmp://127.0.0.1/live/cam1?token=S3CRET")
	p.click("#open button")
	p.until("location.search === '?stream=live/cam1&token=S3CRET'")
}

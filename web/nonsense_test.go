package web

import (
	"testing"
)

// What answers need not be the server: a network that wants a password first, or a proxy with a page
// of its own. The page says so, shows what of it are streams, and goes on when the server is back.
func TestNonsense(t *testing.T) {
	s, p := newSource(t, true), browser(t)
	for _, text := range []string{
		`<html>Welcome to our network!</html>`, `null`, `5`, `{"streams":"abc"}`, `{"streams":null}`,
	} {
		s.nonsense.Store(text)
		p.open(s.URL + "/")
		p.until(state("unreachable") + ` && document.querySelector("#unreachable").innerText.includes("something else answers")`)
	}
	s.nonsense.Store(`{"streams":[null,5,{},{"key":5},{"key":"live/a","state":"live"},{"key":"live/b","state":"live","viewers":{"total":1},"tracks":7},
		{"key":"__proto__/<i>","state":"<b>","viewers":{"total":1},"video":{"fps":"x","width":"<u>","height":1},"audio":[],"bitrate":"-"}]}`)
	p.until(state("streams") + " && " + listed(1))
	p.until(`document.querySelector(".card").innerText.includes("<i>") && !document.querySelector("#streams :is(i, b, u)")`)
	p.open(s.URL + "/?stream=live/demo")
	p.until(state("playing"))
	s.nonsense.Store(`{"streams":"abc"}`)
	p.until(`document.querySelector("#figures").innerText.includes("does not answer")`)
	s.nonsense.Store("")
	p.until(`document.querySelector("#figures").innerText.includes("2 WebSocket") && ` + state("playing"))
	s.nonsense.Store(`{"stream":5,"recordings":[{}]}`)
	p.open(s.URL + "/?recording=live/demo/20260102T150405.000Z")
	p.until(state("connecting") + ` && document.querySelector("#unreachable").innerText.includes("something else answers")`)
	s.nonsense.Store("")
	p.until(state("failed") + ` && sluice.reason === "there is no such recording"`)
}

package web

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"sluice/httpflv/answer"
)

// Walls, the dialog for sharing and the page to be framed have no serious finding of axe-core,
// and fit every window.
func TestLookOfWallsAndShares(t *testing.T) {
	axe := axe(t)
	s, p := newSourceOf(t, true, Config{Embed: answer.Ancestors{"*"}}), browser(t)
	var query []string
	for i := range 5 {
		query = append(query, fmt.Sprintf("wall=live/%d", i))
	}
	query = append(query, "wall=live/"+url.QueryEscape(strings.Repeat("直播", 40)), "wall=live/"+url.QueryEscape(strings.Repeat("بث ", 40)+"x"))
	p.open(s.URL + "/?" + strings.Join(query, "&"))
	p.until(playing(7))
	p.click(".tile:nth-child(3) .tile-sound")
	p.accessible(axe, "a wall")
	p.look("look-wall")
	p.window(1280, 800)
	p.click("#wall-share button")
	p.until("!!document.querySelector('dialog.sharing')?.open")
	p.click("dialog.sharing [aria-expanded]")
	p.until("document.querySelector('.share-code canvas')?.width > 30")
	p.accessible(axe, "sharing a wall")
	p.look("look-share-wall")
	s.turnAway(4403, "the link is not for this")
	s.end(abrupt, "")
	p.open(s.URL + "/?" + strings.Join(query, "&"))
	p.until("sluice.wall?.tiles.every((t) => t.state === 'failed')")
	p.accessible(axe, "a wall that fails")
	p.look("look-wall-failed")

	p.open(s.URL + "/?stream=live/demo&" + signature)
	p.window(1280, 800)
	p.click("#share button")
	p.until("!!document.querySelector('dialog.sharing')?.open")
	p.accessible(axe, "sharing")
	p.look("look-share")
	p.open(s.URL + "/embed/live/demo?autoplay=0")
	p.until(state("paused"))
	p.accessible(axe, "the page to be framed")
	p.look("look-embed-paused")
	s.turnAway(0, "")
	p.run(chromedp.Evaluate[chromedp.Void]("void document.getElementById('again').click()"))
	p.until(state("playing"))
	p.accessible(axe, "the page to be framed, playing")
	p.look("look-embed")
}

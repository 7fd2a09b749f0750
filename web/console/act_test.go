package console

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
	"sluice/web/browsertest"
)

// press clicks the button with some words.
func (p *tab) press(within, words string) {
	p.t.Helper()
	button := "[...document.querySelectorAll(" + quote(within+" button") + ")].find((b) => b.textContent === " + quote(words) + ")"
	p.Until("!!" + button)
	p.Run(chromedp.Evaluate[chromedp.Void](button + ".click()"))
}

// set gives a field of the dialog a value.
func (p *tab) set(name, value string) {
	p.t.Helper()
	p.Run(chromedp.Evaluate[chromedp.Void]("document.querySelector('#dialog [name=" + name + "]').value = " + quote(value)))
}

func (p *tab) told(words string) {
	p.t.Helper()
	p.Until("document.getElementById('said').textContent === " + quote(words))
	p.Until("!document.getElementById('dialog')")
}

func (r *rig) sessions() (ids []uint64) {
	for _, s := range r.hub.Sessions() {
		ids = append(ids, s.Session.ID())
	}
	return ids
}

func TestEndAndBan(t *testing.T) {
	r := newRig(t)
	publisher := r.publish("live/a b", client(1, "rtmp", "OBS", "studio"))
	viewer := r.watch("live/a b", client(2, "http-flv", "VLC", ""))
	p := r.tab(t)
	p.login("#/stream/live%2Fa%20b")

	p.press(".actions", "End…")
	p.Run(chromedp.Evaluate[chromedp.Void]("document.querySelector('#dialog [value=viewers]').click()"))
	p.set("reason", "Good night")
	p.press("#dialog", "End")
	p.told("1 session ended, 1 ban made.")
	_, end := viewer.Fill(&r.batch, discard{}, 1000)
	assert.Equal(t, hub.ReasonKicked, end)
	viewer.Close()
	bans := r.bans.All()
	require.Len(t, bans, 1)
	assert.Equal(t, "Good night", bans[0].Reason)
	assert.Equal(t, netip.MustParseAddr("192.0.0.2"), bans[0].Address)
	assert.WithinDuration(t, time.Now().Add(time.Minute), bans[0].Until, 30*time.Second)

	p.press(".actions", "Ban…")
	assert.Equal(t, "live/a%20b", browsertest.Eval[string](p.Page, "document.querySelector('#dialog [name=stream]').value"))
	p.set("stream", "live//x")
	p.press("#dialog", "Ban")
	p.Until("!document.querySelector('#dialog .wrong').hidden") // and stays open
	assert.Contains(t, p.text("#dialog .wrong"), "Stream is APP/NAME")
	p.set("stream", "live/a%20b")
	p.set("address", "192.0.2.0/24")
	p.Run(chromedp.Evaluate[chromedp.Void]("document.querySelector('#dialog [name=end]').click()"))
	p.press("#dialog", "Ban")
	p.told("Banned. 0 sessions ended.")
	bans = r.bans.All()
	require.Len(t, bans, 2)
	assert.Equal(t, netip.MustParsePrefix("192.0.2.0/24"), bans[1].Network)
	assert.Equal(t, "live/a%20b", bans[1].Stream)

	p.visit("#/bans")
	p.Until(shownRows + " === 2")
	p.press("main", "Remove…")
	assert.Contains(t, p.text("#dialog"), "192.0.0.2")
	p.press("#dialog", "Remove")
	p.told("The ban is removed.")
	p.Until(shownRows + " === 1")

	p.visit(fmt.Sprintf("#/session/%d", r.sessions()[0]))
	p.press(".actions", "End…")
	p.set("ban", "0")
	p.press("#dialog", "End")
	p.told("1 session ended.")
	assert.ErrorContains(t, publisher.Write(aac), "kicked")
	publisher.Close()
	p.Until("document.querySelector('.titles .pill').textContent === 'Ended'")
	assert.Empty(t, r.sessions())
}

func TestRecordings(t *testing.T) {
	r := newRig(t)
	r.publish("live/demo", client(1, "rtmp", "OBS", "studio"))
	r.tapes.record("live/demo", 3)
	p := r.tab(t)
	p.login("#/stream/live%2Fdemo")
	recordable := func(label string) string { // which of the two buttons are shown
		return fmt.Sprintf("[...document.querySelectorAll('.actions button')].filter((b) => !b.hidden && b.textContent.includes('ecord')).map((b) => b.textContent).join() === '%s'", label)
	}
	p.Until(recordable("Record"))
	p.press(".actions", "Record")
	p.told("The stream is recorded from now on.")
	p.Until(recordable("Stop recording…"))
	p.press(".actions", "Stop recording…")
	p.press("#dialog", "Stop")
	p.told("The stream is not recorded any more.")
	p.Until(recordable("Record"))
	assert.Equal(t, []string{"start live/demo", "stop live/demo"}, r.tapes.did())

	p.visit("#/recordings")
	p.Until(shownRows + " === 3")
	id := r.tapes.all[2].ID
	p.Run(chromedp.Evaluate[chromedp.Void]("document.querySelectorAll('tbody tr')[2].querySelectorAll('button')[0].click()"))
	p.told("The recording is kept, whatever room is wanted.")
	p.Until("document.querySelectorAll('tbody tr')[2].querySelector('button').textContent === 'Unpin'")
	p.Run(chromedp.Evaluate[chromedp.Void]("document.querySelectorAll('tbody tr')[2].querySelectorAll('button')[1].click()"))
	p.Until("!!document.getElementById('dialog')")
	p.typed(kb.Escape)
	p.Until("!document.getElementById('dialog')")
	p.Run(chromedp.Evaluate[chromedp.Void]("document.querySelectorAll('tbody tr')[2].querySelectorAll('button')[1].click()"))
	p.press("#dialog", "Delete")
	p.told("The recording is deleted.")
	p.Until(shownRows + " === 2")
	assert.Equal(t, []string{"pin live/demo " + id + " true", "delete live/demo " + id}, r.tapes.did()[2:])
}

// Events come as they happen, while somebody looks, and by themselves.
func TestEventsCome(t *testing.T) {
	r := newRig(t)
	r.publish("live/demo", client(1, "rtmp", "OBS", "studio"))
	r.happen()
	p := r.tab(t)
	p.login("#/events")
	p.Until(shownRows + " === 9") // the update is left out
	began := time.Now()
	r.events.add("kicked", "live/demo", map[string]any{"reason": "kicked", "detail": "<b>by hand</b>"})
	p.Until(shownRows + " === 10")
	assert.Less(t, time.Since(began), 15*time.Second, "long before the wait is over")
	assert.Equal(t, "Ended by operator", p.text("tbody .what"))
	assert.Equal(t, "kicked, <b>by hand</b>", p.text("tbody .about"))
	p.visit("#/events?show=refused")
	p.Until(shownRows + " === 2")
	p.visit("#/")
	p.Until("document.querySelector('.overview tbody .what')?.textContent === 'Ended by operator'")
}

// However much happens, a tab asks for it twice a second at the most.
func TestEventsInAFlood(t *testing.T) {
	r := newRig(t)
	p := r.tab(t)
	p.login("#/events")
	p.round()
	r.requests()
	began, stop := time.Now(), make(chan struct{})
	var flood sync.WaitGroup
	flood.Go(func() {
		for tick := time.Tick(2 * time.Millisecond); ; {
			select {
			case <-tick:
				r.events.add("play", "live/demo", nil)
			case <-stop:
				return
			}
		}
	})
	p.Until(shownRows + " === 200")
	p.round()
	close(stop)
	flood.Wait()
	asked := 0
	for _, path := range r.requests() {
		if strings.HasPrefix(path, "GET /api/v1/events") {
			asked++
		}
	}
	assert.LessOrEqual(t, asked, 2+int(time.Since(began)/(500*time.Millisecond)))
}

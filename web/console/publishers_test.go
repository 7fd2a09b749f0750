package console

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/web/browsertest"
)

// Of a stream with a backup both publishers are shown; an operator switches to the one that stands by.
func TestBackup(t *testing.T) {
	r := newRig(t)
	const stream = "live/a b"
	main := r.publish(stream, client(1, "rtmp", "OBS", "studio"))
	p := r.tab(t)
	p.login("#/stream/live%2Fa%20b")
	p.Until("document.querySelector('main .publishers').hidden")
	assert.NotContains(t, p.text("main"), "Publishers", "there is one")

	require.NoError(t, main.Write(aac)) // it is not silent
	backup := r.backup(stream, client(2, "rtmp", "OBS", "studio"))
	states := func(of ...string) { // of the sessions, in order
		t.Helper()
		p.Until(fmt.Sprintf("[...document.querySelectorAll('.publishers tbody tr')].map((r) => [r.cells[0], r.cells[1], r.cells[8]].map((c) => c.textContent.split('.')[0]).join(' ')).join('|') === %q",
			fmt.Sprintf("%d %s|%d %s", r.session(of[0]), of[1], r.session(of[2]), of[3])))
	}
	states("192.0.0.1", "Shown The main one", "192.0.0.2", "Stands by The backup")
	link := "document.querySelector('main .actions a').getAttribute('href')"
	assert.Equal(t, fmt.Sprintf("#/session/%d", r.session("192.0.0.1")), browsertest.Eval[string](p.Page, link), "that of the one that is seen")
	p.Run(desktop)
	p.Screenshot("backup")
	assert.Equal(t, "flex", browsertest.Eval[string](p.Page, "getComputedStyle(document.querySelector('.figures > div')).display"), "a figure and what it is of stand on one line")

	p.press("main .publishers", "Switch…")
	assert.Contains(t, p.text("#dialog"), "live/a b")
	p.press("#dialog", "Switch")
	p.told("The stream goes on with the other publisher at its next key frame.")
	require.True(t, r.hub.Streams()[0].Standby.Asked)
	p.Until("document.querySelector('.publishers').textContent.includes('Shown at its next key frame.')")
	require.NoError(t, backup.Write(flv.Tag{Type: flv.TypeVideo, Data: append([]byte{0x17, 1, 0, 0, 0}, make([]byte, 4000)...)}))
	p.Until("document.querySelector('.publishers tbody tr .address').textContent === '192.0.0.2'")
	states("192.0.0.2", "Shown The backup", "192.0.0.1", "Stands by The main one")

	for hash, cell := range map[string]string{"#/sessions": "tbody tr .trouble", "#/streams": "tbody tr .over"} {
		p.visit(hash)
		p.Until("/Stands by|RTMP, standby/.test(document.querySelector('main " + cell + "')?.textContent)")
	}
	p.visit(fmt.Sprintf("#/session/%d", r.session("192.0.0.1")))
	p.Until("document.querySelector('.titles .pill').textContent === 'Stands by'")

	p.visit("#/stream/live%2Fa%20b")
	p.press("main .publishers", "Switch…")
	backup.Close()
	p.Until("document.querySelector('main .publishers').hidden")
	p.press("#dialog", "Switch")
	p.Until("document.querySelector('#dialog .wrong').textContent.includes('obody stands by')") // and stays open
	p.press("#dialog", "Cancel")

	r.happen()
	p.visit("#/events?show=streams")
	p.Until("[...document.querySelectorAll('tbody .what')].map((c) => c.textContent).join() === 'Goes on with standby,Standby begins,Publisher begins'")
}

// session returns the id of the session from an address.
func (r *rig) session(address string) uint64 {
	for _, s := range r.hub.Sessions() {
		if s.Session.Client().Address.Addr().String() == address {
			return s.Session.ID()
		}
	}
	require.Fail(r.t, "nobody is from "+address)
	return 0
}

package console

import (
	"fmt"
	"testing"
)

// pages are all pages of the console, with the name of their pictures.
func pages(stream string, session int) map[string]string {
	return map[string]string{
		"overview": "#/", "streams": "#/streams", "stream": "#/stream/" + stream, "sessions": "#/sessions",
		"session": fmt.Sprintf("#/session/%d", session), "events": "#/events", "recordings": "#/recordings", "bans": "#/bans",
	}
}

func TestPictures(t *testing.T) {
	r := newRig(t)
	r.populate(3, 400)
	r.populateNames()
	r.watch("live/wanted", client(7, "rtmp", "VLC", ""))
	r.tapes.record("live/channel-001", 5)
	r.ban()
	r.happen()
	p := r.tab(t)
	p.Run(desktop)
	p.login("#/")
	for name, hash := range pages("live%2Fchannel-001", 8) {
		p.visit(hash)
		for _, scheme := range []string{"light", "dark"} {
			p.scheme(scheme)
			p.Run(desktop)
			p.Screenshot("desktop-" + scheme + "-" + name)
			p.Run(phone)
			p.Screenshot("phone-" + scheme + "-" + name)
		}
	}
}

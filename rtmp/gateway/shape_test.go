package gateway

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"sluice/flv"
	"sluice/rtmp"
)

func TestFormOfPlayers(t *testing.T) {
	for name, tt := range map[string]struct {
		caps rtmp.Capabilities
		want flv.Form
	}{
		"nothing announced":   {rtmp.Capabilities{}, flv.FormClassic},
		"version 1":           {rtmp.Capabilities{FourCCs: []string{"hvc1"}}, flv.FormAsSent},
		"version 2":           {rtmp.AllCapabilities(), flv.FormAsSent},
		"without multitrack":  {rtmp.Capabilities{FourCCs: []string{"*"}, CapsEx: rtmp.CapsModEx, HasCapsEx: true}, flv.FormSingle},
		"without anything":    {rtmp.Capabilities{FourCCs: []string{"*"}, HasCapsEx: true}, flv.FormSingle},
		"multitrack and more": {rtmp.Capabilities{CapsEx: rtmp.CapsMultitrack | rtmp.CapsReconnect, HasCapsEx: true}, flv.FormAsSent},
	} {
		assert.Equal(t, tt.want, form(&tt.caps), name)
	}
}

// A player's wishes come with its URL; those that make no sense are refused.
func TestWishesOfPlayers(t *testing.T) {
	h := newHouse(t)
	h.publish("demo").send(start)
	h.waitLive("demo", 6)
	h.play("demo?onlyvideo=1").expect("meta@0 vc:h264@0 K:1@0 P:3@40")
	h.play("demo?onlyaudio=1&token=x").expect("meta@0 ac:aac@0 A:2@0")
	for _, query := range []string{"onlyaudio=1&onlyvideo=1", "start=now", "back=x", "back=-1", "track=256", "hevc=1"} {
		_, err := h.client.Play(t.Context(), h.url+"demo?"+query)
		refusedWith(t, err, rtmp.CodePlayFailed)
	}
}

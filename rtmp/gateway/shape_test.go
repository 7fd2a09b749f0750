package gateway

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/rtmp"
)

func TestFormOfPlayers(t *testing.T) {
	for name, tt := range map[string]struct {
		caps rtmp.Capabilities
		want flv.Form
	}{
		"nothing announced":    {rtmp.Capabilities{}, flv.FormClassic},
		"version 1":            {rtmp.Capabilities{FourCCs: []string{"av01", "vp09", "hvc1"}}, flv.FormClassic},
		"version 1, any codec": {rtmp.Capabilities{FourCCs: []string{"*"}}, flv.FormAsSent},
		"more than version 1":  {rtmp.Capabilities{Video: map[string]int{"avc1": rtmp.CanDecode}}, flv.FormAsSent},
		"version 2":            {rtmp.AllCapabilities(), flv.FormAsSent},
		"without multitrack":   {rtmp.Capabilities{FourCCs: []string{"*"}, CapsEx: rtmp.CapsModEx, HasCapsEx: true}, flv.FormSingle},
		"without anything":     {rtmp.Capabilities{FourCCs: []string{"*"}, HasCapsEx: true}, flv.FormSingle},
		"multitrack and more":  {rtmp.Capabilities{CapsEx: rtmp.CapsMultitrack | rtmp.CapsReconnect, HasCapsEx: true}, flv.FormAsSent},
	} {
		assert.Equal(t, tt.want, form(&tt.caps), name)
	}
}

// What a player asks for comes with its URL; those that make no sense are refused.
func TestWishesOfPlayers(t *testing.T) {
	h := newRig(t)
	h.publish("demo").send(start)
	h.waitLive("demo", 6)
	h.play("demo?onlyvideo=1").expect("meta@0 vc:h264@0 K:1@0 P:3@40")
	h.play("demo?onlyaudio=1&token=x").expect("meta@0 ac:aac@0 A:2@0")
	for _, query := range []string{"onlyaudio=1&onlyvideo=1", "start=now", "back=x", "back=-1", "track=256", "hevc=1"} {
		_, err := h.client.Play(t.Context(), h.url+"demo?"+query)
		refusedWith(t, err, rtmp.CodePlayFailed)
	}
}

// Players get what they understand of one and the same stream.
func TestPlayersOfDifferentForms(t *testing.T) {
	h := newRig(t)
	pub := h.publish("demo")
	for _, body := range []string{
		"\x90avc1\x01\x64\x00\x1f\xff\xe1\x00\x00\x01\x00\x00", // codec header
		"\x93avc1\x00\x00\x00\x01\x65",                         // key frame
		"\xa3avc1\x00\x00\x00\x01\x41",                         // and one after it
	} {
		pub.sendTag(flv.Tag{Type: flv.TypeVideo, Data: []byte(body)})
	}
	multitrack := "\xa6\x03avc1\x00\x00\x00\x00\x01\x41" // one track, number 0
	bodies := func(caps rtmp.Capabilities) (got []string) {
		c := rtmp.Client{Capabilities: caps, Dial: h.client.Dial}
		p, err := c.Play(t.Context(), h.url+"demo")
		require.NoError(t, err)
		defer p.Close()
		h.waitViewers(1)
		for len(got) < 4 {
			if len(got) == 3 {
				pub.sendTag(flv.Tag{Type: flv.TypeVideo, Data: []byte(multitrack)})
			}
			tag, err := p.ReadTag()
			require.NoError(t, err)
			if tag.Type == flv.TypeVideo {
				got = append(got, string(tag.Data[:6]))
			}
		}
		return got
	}
	for name, tt := range map[string]struct {
		caps rtmp.Capabilities
		want []string
	}{
		"as sent": {rtmp.AllCapabilities(), []string{"\x90avc1\x01", "\x93avc1\x00", "\xa3avc1\x00", "\xa6\x03avc1"}},
		"single": {rtmp.Capabilities{FourCCs: []string{"*"}, HasCapsEx: true},
			[]string{"\x90avc1\x01", "\x93avc1\x00", "\xa3avc1\x00", "\xa3avc1\x00"}},
		"classic": {rtmp.Capabilities{},
			[]string{"\x17\x00\x00\x00\x00\x01", "\x17\x01\x00\x00\x00\x00", "\x27\x01\x00\x00\x00\x00", "\x27\x01\x00\x00\x00\x00"}},
	} {
		got := bodies(tt.caps)
		h.waitViewers(0)
		assert.Equal(t, tt.want[:3], got[:3], name)
		assert.Equal(t, tt.want[3], got[3], name)
		// A key frame, so that the next player begins here.
		pub.sendTag(flv.Tag{Type: flv.TypeVideo, Data: []byte("\x93avc1\x00\x00\x00\x01\x65")})
		pub.sendTag(flv.Tag{Type: flv.TypeVideo, Data: []byte("\xa3avc1\x00\x00\x00\x01\x41")})
	}
}

func (p *publisher) sendTag(t flv.Tag) {
	p.t.Helper()
	require.NoError(p.t, p.WriteTag(t))
}

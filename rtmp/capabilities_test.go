package rtmp

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv/amf"
)

// announced is what a server says of Enhanced RTMP in its answer to connect.
var announced = amf.Object{
	{Name: "fourCcList", Value: amf.StrictArray{"*", "avc1", "hvc1", "vvc1", "av01", "vp09", "vp08",
		"mp4a", "Opus", "fLaC", ".mp3", "ac-3", "ec-3"}},
	{Name: "videoFourCcInfoMap", Value: amf.Object{
		{Name: "*", Value: 4.0}, {Name: "av01", Value: 4.0}, {Name: "avc1", Value: 4.0}, {Name: "hvc1", Value: 4.0},
		{Name: "vp08", Value: 4.0}, {Name: "vp09", Value: 4.0}, {Name: "vvc1", Value: 4.0},
	}},
	{Name: "audioFourCcInfoMap", Value: amf.Object{
		{Name: "*", Value: 4.0}, {Name: ".mp3", Value: 4.0}, {Name: "Opus", Value: 4.0}, {Name: "ac-3", Value: 4.0},
		{Name: "ec-3", Value: 4.0}, {Name: "fLaC", Value: 4.0}, {Name: "mp4a", Value: 4.0},
	}},
	{Name: "capsEx", Value: 15.0}, // reconnect, multitrack, ModEx, nanosecond offsets
}

func TestConnectTakesCapabilities(t *testing.T) {
	h := &rig{}
	addr := serve(t, &Server{Handler: h})
	p := dialPeer(t, addr)
	p.command(0, "connect", 1.0, amf.Object{
		{Name: "app", Value: "live"},
		{Name: "tcurl", Value: `"rtmp://h/live?k=secret"`}, // as some devices write it
		{Name: "flashVer", Value: "X"},
		{Name: "fourCcList", Value: amf.StrictArray{"hvc1", 3.0, "av01"}},
		{Name: "videoFourCcInfoMap", Value: amf.ECMAArray{{Name: "*", Value: 5.0}, {Name: "av01", Value: math.NaN()}}},
		{Name: "capsEx", Value: 6.0},
	})
	o := p.result(1)[2].(amf.Object)
	assert.Equal(t, announced, o[len(o)-len(announced):])
	p.publish("x")
	r := h.publication(t, 0).req
	assert.Equal(t, Capabilities{
		FourCCs: []string{"hvc1", "av01"}, Video: map[string]int{"*": 5, "av01": 0}, CapsEx: 6, HasCapsEx: true,
	}, r.Capabilities)
	assert.Equal(t, "rtmp://h/live", r.TcURL)
	assert.Equal(t, "X", r.FlashVer)
	assert.Equal(t, "secret", r.Query.Get("k"))
}

func TestCapabilities(t *testing.T) {
	many := make(amf.StrictArray, 0, 2*maxCodecs)
	var infos amf.Object
	for i := range 2 * maxCodecs {
		many = append(many, "avc1")
		infos = append(infos, amf.Property{Name: fmt.Sprint(i), Value: 1.0})
	}
	for name, tt := range map[string]struct {
		sent      amf.Object
		announced bool
		codecs    int
		capsEx    int
		hasCapsEx bool
	}{
		"nothing":              {nil, false, 0, 0, false},
		"empty":                {amf.Object{{Name: "fourCcList", Value: amf.StrictArray{}}, {Name: "videoFourCcInfoMap", Value: amf.Object{}}}, false, 0, 0, false},
		"version 1":            {amf.Object{{Name: "fourCcList", Value: amf.StrictArray{"hvc1"}}}, true, 1, 0, false},
		"no multitrack":        {amf.Object{{Name: "capsEx", Value: 0.0}}, true, 0, 0, true},
		"more than we keep":    {amf.Object{{Name: "fourCcList", Value: many}, {Name: "audioFourCcInfoMap", Value: infos}}, true, maxCodecs, 0, false},
		"no list":              {amf.Object{{Name: "fourCcList", Value: "hvc1"}, {Name: "videoFourCcInfoMap", Value: 4.0}}, false, 0, 0, false},
		"no bit field":         {amf.Object{{Name: "capsEx", Value: "6"}}, false, 0, 0, false},
		"no number":            {amf.Object{{Name: "capsEx", Value: math.NaN()}}, true, 0, 0, true},
		"negative":             {amf.Object{{Name: "capsEx", Value: -1.0}}, true, 0, 0, true},
		"beyond a bit field":   {amf.Object{{Name: "capsEx", Value: 1e18}}, true, 0, 0, true},
		"a list of everything": {amf.Object{{Name: "fourCcList", Value: amf.StrictArray{nil, true, amf.Object{}, "av01"}}}, true, 1, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			got := props(tt.sent).capabilities()
			assert.Equal(t, tt.announced, got.Announced())
			assert.Len(t, got.FourCCs, tt.codecs)
			assert.Equal(t, tt.capsEx, got.CapsEx)
			assert.Equal(t, tt.hasCapsEx, got.HasCapsEx)
			assert.LessOrEqual(t, max(len(got.Video), len(got.Audio)), maxCodecs)
			again := props(got.properties()).capabilities()
			assert.Equal(t, got, again)
		})
	}
}

// A client announces what it is told to, when it publishes and when it plays.
func TestClientAnnounces(t *testing.T) {
	for _, caps := range []Capabilities{
		{},
		{FourCCs: []string{"*"}},
		{CapsEx: CapsModEx, HasCapsEx: true},
		{HasCapsEx: true},
		{Audio: map[string]int{"Opus": CanDecode | CanEncode}},
		AllCapabilities(),
	} {
		h := &rig{}
		addr := serve(t, &Server{Handler: h})
		c := Client{Capabilities: caps}
		pub, err := c.Publish(t.Context(), "rtmp://"+addr+"/live/a")
		require.NoError(t, err)
		defer pub.Close()
		player, err := c.Play(t.Context(), "rtmp://"+addr+"/live/a")
		require.NoError(t, err)
		defer player.Close()
		assert.Equal(t, caps, h.publication(t, 0).req.Capabilities)
		assert.Equal(t, caps, h.playback(t, 0).req.Capabilities)
	}
}

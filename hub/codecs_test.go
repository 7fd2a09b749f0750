package hub_test

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"

	"sluice/flv"
	"sluice/hub"
)

// The codecs of a stream are those that viewers are told of, and nothing of a stream that is not
// there.
func TestCodecs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{PublisherGrace: -1})
		codecs := func() [2]flv.Codec {
			video, audio := h.Codecs(key)
			return [2]flv.Codec{video, audio}
		}
		assert.Zero(t, codecs())
		p := publish(t, h, client{})
		p.send("vc:s ac:c")
		assert.Zero(t, codecs())
		p.send("K:1@0 A:1@0 P:2@40 A:2@40")
		assert.Equal(t, [2]flv.Codec{flv.CodecH264, flv.CodecAAC}, codecs())
		p.send("hc:h HK:3@80")
		assert.Equal(t, [2]flv.Codec{flv.CodecHEVC, flv.CodecAAC}, codecs())
		p.Close()
		assert.Zero(t, codecs())
	})
}

package flv

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestShapeUnwraps(t *testing.T) {
	frame := Packet{Codec: CodecH264, Kind: KindFrame, Key: true, Frame: FrameKey, CompositionTime: 40, Payload: []byte("nal")}
	classic, err := AppendVideo(nil, frame)
	assert.NoError(t, err)
	enhanced := frame
	enhanced.Enhanced, enhanced.Multitrack = true, true
	sent, err := AppendVideo(nil, enhanced)
	assert.NoError(t, err)

	var scratch []byte
	got, ok := Shape{Form: FormBrowser}.Apply(Tag{Type: TypeVideo, Data: sent}, &scratch)
	assert.True(t, ok)
	assert.Equal(t, classic, got)

	got, ok = Shape{}.Apply(Tag{Type: TypeVideo, Data: sent}, &scratch)
	assert.True(t, ok)
	assert.Equal(t, sent, got)

	_, ok = Shape{Form: FormBrowser, Track: 1}.Apply(Tag{Type: TypeVideo, Data: sent}, &scratch)
	assert.False(t, ok, "there is no track 1")
}

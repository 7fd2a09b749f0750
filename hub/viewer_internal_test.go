package hub

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
)

// A viewer that is closed between the end of its stream and its way to the next
// one does not arrive there, where nobody would close it again.
func TestClosedViewerIsNotAttached(t *testing.T) {
	h := New(Config{})
	v, err := h.Watch(Key{"live", "demo"}, WatchOptions{})
	require.NoError(t, err)
	v.Close()
	assert.ErrorIs(t, h.attach(v, Key{"live", "demo"}), errViewerClosed)
	assert.Empty(t, h.Streams())
	assert.NoError(t, h.Shutdown(t.Context()))
}

// What names a codec in metadata: FLV 10.1 has numbers for the old ones, Enhanced
// RTMP v2 takes the FourCC for the rest.
func TestCodecID(t *testing.T) {
	for codec, want := range map[flv.Codec]float64{
		flv.CodecH263:  2,
		flv.CodecVP6:   4,
		flv.CodecH264:  7,
		flv.CodecHEVC:  1752589105,
		flv.CodecAV1:   1635135537,
		flv.CodecMP3:   2,
		flv.CodecPCM:   3,
		flv.CodecALaw:  7,
		flv.CodecMuLaw: 8,
		flv.CodecAAC:   10,
		flv.CodecSpeex: 11,
		flv.CodecOpus:  'O'<<24 | 'p'<<16 | 'u'<<8 | 's',
	} {
		assert.Equal(t, want, codecID(codec), codec)
	}
}

package httpflv

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
)

// A GOP goes out in several messages: the first ends with the key frame, none is
// much larger than messageSize, and together they are the file.
func TestMessagesAreBounded(t *testing.T) {
	tags := []flv.Tag{
		{Type: flv.TypeScript, Data: make([]byte, 300)},
		{Type: flv.TypeVideo, Data: make([]byte, 100<<10)},
	}
	for range 100 {
		tags = append(tags, flv.Tag{Type: flv.TypeVideo, Data: make([]byte, 1<<10)}, flv.Tag{Type: flv.TypeAudio, Data: make([]byte, 100)})
	}
	framed := (&message{file{audio: true, video: true}}).AppendTags(nil, tags)

	var content []byte
	var sizes []int
	for len(framed) > 0 {
		require.Equal(t, byte(0x82), framed[0], "a whole binary message")
		head, size := 2, int(framed[1])
		switch size {
		case 126:
			head, size = 4, int(binary.BigEndian.Uint16(framed[2:]))
		case 127:
			head, size = 10, int(binary.BigEndian.Uint64(framed[2:]))
		}
		content = append(content, framed[head:head+size]...)
		sizes = append(sizes, size)
		framed = framed[head+size:]
	}
	assert.Equal(t, flv.HeaderSize+tags[0].Size()+tags[1].Size(), sizes[0])
	for _, size := range sizes[1:] {
		assert.Less(t, size, messageSize+tags[2].Size())
	}
	r := flv.NewReader(bytes.NewReader(content))
	for _, want := range tags {
		tag, err := r.Next()
		require.NoError(t, err)
		require.Equal(t, want, tag)
	}
	_, err := r.Next()
	assert.ErrorIs(t, err, io.EOF)
}

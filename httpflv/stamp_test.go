package httpflv

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"sluice/flv"
	"sluice/hub"
)

// What was framed for one viewer and given other timestamps is what another viewer
// would have been framed, in each form and with messages of every size of head.
func TestStamp(t *testing.T) {
	for _, size := range []int{1, 50, 1000, 20_000, 70_000} {
		framers := map[string]func() hub.Stamper{
			"file":    func() hub.Stamper { return &file{begun: true} },
			"chunked": func() hub.Stamper { return &chunkedFile{file{begun: true}} },
			"message": func() hub.Stamper { return &message{file{begun: true}} },
		}
		for name, framer := range framers {
			t.Run(fmt.Sprintf("%s %d", name, size), func(t *testing.T) {
				var one, other []flv.Tag
				var stamps []uint32
				for i := range uint32(5) {
					tag := flv.Tag{Type: flv.TypeVideo, Timestamp: i * 40, Data: bytes.Repeat([]byte{byte(i)}, size)}
					one = append(one, tag)
					tag.Timestamp = 1<<24 - 80 + i*40
					other = append(other, tag)
					stamps = append(stamps, tag.Timestamp)
				}
				framed := framer().AppendTags(nil, one)
				assert.True(t, framer().Stamp(framed, stamps))
				assert.True(t, bytes.Equal(framer().AppendTags(nil, other), framed))
			})
		}
	}
	assert.Zero(t, (&file{}).Form(), "its first bytes are the file's header")
}

package mp4_test

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"sluice/flv/mp4"
)

// The bytes of the MP4, wherever and however much is read.
func TestContent(t *testing.T) {
	b := file(h264Header(), picture(0, true, 0, strings.Repeat("x", 100)))
	want := whole(t, b)
	head := want[:len(want)-len(b)]
	c := mp4.NewContent(head, bytes.NewReader(b), int64(len(b)))
	require.EqualValues(t, len(want), c.Size())
	require.NoError(t, iotest.TestReader(io.NewSectionReader(c, 0, c.Size()), want))
	for begin := range len(want) + 2 {
		for _, n := range []int{0, 1, 50, len(want)} {
			got := make([]byte, n)
			m, err := c.ReadAt(got, int64(begin))
			left := want[min(begin, len(want)):]
			require.Equal(t, left[:min(n, len(left))], got[:m])
			if n > len(left) {
				require.Equal(t, io.EOF, err)
			} else {
				require.NoError(t, err)
			}
		}
	}
	_, err := c.ReadAt(make([]byte, 1), -1)
	require.Error(t, err)
	_, err = mp4.NewContent(head, bytes.NewReader(b[:20]), int64(len(b))).ReadAt(make([]byte, 100), int64(len(head)))
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

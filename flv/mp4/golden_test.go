package mp4_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/mp4"
)

// containers are boxes that hold nothing but boxes.
var containers = map[string]bool{
	"moov": true, "trak": true, "edts": true, "mdia": true, "minf": true, "dinf": true, "stbl": true,
}

// dump writes boxes in the form of testdata/golden.txt.
func dump(out *strings.Builder, b []byte, depth int) {
	for _, x := range boxes(b) {
		fmt.Fprintf(out, "%s%s", strings.Repeat("  ", depth), x.name)
		if containers[x.name] {
			out.WriteByte('\n')
			dump(out, x.body, depth+1)
			continue
		}
		for i, v := range x.body {
			if i%4 == 0 {
				out.WriteByte(' ')
			}
			fmt.Fprintf(out, "%02x", v)
		}
		out.WriteByte('\n')
	}
}

// goldenFile has a picture that is presented before the one before it, sound that begins later,
// and a codec header that changes.
func goldenFile() []byte {
	return file(
		flv.Tag{Type: flv.TypeScript, Data: []byte("\x02\x00\x0aonMetaData")},
		h264Header(), aacHeader(),
		picture(1000, true, 40, "key"), sound(1050, "s1"), picture(1040, false, 80, "later"), sound(1071, "s2"),
		picture(1080, false, 0, "before"),
		video(0, flv.Packet{Codec: flv.CodecH264, Kind: flv.KindConfig, Payload: avcCTall}),
		picture(1120, true, 40, "tall"),
	)
}

// The boxes of a tiny file, each byte of them.
func TestGolden(t *testing.T) {
	want, err := os.ReadFile("testdata/golden.txt")
	require.NoError(t, err)
	b := goldenFile()
	head := scan(t, b).Head()
	// The header of mdat, whose content is the file.
	const mdat = 16
	at := len(head) - mdat
	assert.Equal(t, fmt.Sprintf("00000001%x%016x", "mdat", mdat+len(b)), fmt.Sprintf("%x", head[at:]))
	var got strings.Builder
	dump(&got, head[:at], 0)
	var lines []string
	for line := range strings.Lines(string(want)) {
		if !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	assert.Equal(t, strings.Join(lines, ""), got.String())
}

// Beyond 4 GiB offsets have 64 bits; below they have 32.
func TestLargeFiles(t *testing.T) {
	begin := file(h264Header(), picture(0, true, 0, "first"))
	end := flv.AppendTag(nil, picture(40, false, 0, "second"))
	filler := flv.Tag{Type: flv.TypeScript, Data: make([]byte, flv.MaxTagSize)}
	tag := flv.AppendTag(nil, filler)
	for _, test := range []struct {
		name  string
		tags  int
		table string
	}{{"below 4 GiB", 255, "stco"}, {"beyond", 256, "co64"}, {"far beyond", 3000, "co64"}} {
		t.Run(test.name, func(t *testing.T) {
			r := &repeated{begin, tag, end, int64(test.tags)}
			size := int64(len(begin)) + int64(len(tag))*int64(test.tags) + int64(len(end))
			x, err := mp4.Scan(context.Background(), r, size)
			require.NoError(t, err)
			head := x.Head()
			c := mp4.NewContent(head, r, size)
			stbl := find(head[:len(head)-16], "moov", "trak", "mdia", "minf", "stbl")
			offsets := find(stbl, test.table)
			require.NotNil(t, offsets)
			at := int64(u32(offsets[12:]))
			if test.table == "co64" {
				at = int64(u64(offsets[16:]))
			}
			text := make([]byte, 6)
			_, err = c.ReadAt(text, at)
			require.NoError(t, err)
			assert.Equal(t, "second", string(text))
			assert.EqualValues(t, size+16, u64(head[len(head)-8:]))
		})
	}
}

// repeated is a file that begins, repeats something, and ends.
type repeated struct {
	begin, again, end []byte
	times             int64
}

func (r *repeated) ReadAt(b []byte, pos int64) (n int, err error) {
	for n < len(b) {
		var part []byte
		middle := pos - int64(len(r.begin))
		switch last := middle - int64(len(r.again))*r.times; {
		case middle < 0:
			part = r.begin[pos:]
		case last < 0:
			part = r.again[middle%int64(len(r.again)):]
		case last < int64(len(r.end)):
			part = r.end[last:]
		default:
			return n, io.EOF
		}
		m := copy(b[n:], part)
		n, pos = n+m, pos+int64(m)
	}
	return n, nil
}

// The same file always gives the same bytes, whoever asks.
func TestHeadAgain(t *testing.T) {
	b := goldenFile()
	x := scan(t, b)
	require.Equal(t, x.Head(), x.Head())
	require.True(t, bytes.Equal(x.Head(), scan(t, b).Head()))
}

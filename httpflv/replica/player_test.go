package replica

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
	"sluice/hub/cluster"
)

// body returns what a server writes of items, behind the head of its answer.
func body(t testing.TB, items []cluster.Item) []byte {
	t.Helper()
	var b bytes.Buffer
	b.Write(flv.AppendHeader(nil, true, true))
	s := &sender{nc: writer{&b}, place: begin(cluster.Start{At: items[0].At, Time: items[0].Time})}
	require.NoError(t, s.items(items))
	require.NoError(t, s.say(control{ping: true}))
	require.NoError(t, s.say(control{end: hub.ReasonUnpublished}))
	return b.Bytes()
}

// To a reader that knows nothing of this, it is an FLV file.
func TestAnyReaderReadsIt(t *testing.T) {
	items := everything()
	r := flv.NewReader(bytes.NewReader(body(t, items)))
	var tags []flv.Tag
	for {
		tag, err := r.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		if tag.Type != flv.TypeScript {
			tags = append(tags, tag)
		}
	}
	for _, it := range items {
		if it.Tag.Type == 0 || it.Tag.Type == flv.TypeScript {
			continue
		}
		require.NotEmpty(t, tags)
		assert.Equal(t, it.Tag.Type, tags[0].Type)
		assert.Equal(t, uint32(it.Time), tags[0].Timestamp)
		assert.True(t, bytes.Equal(it.Tag.Data, tags[0].Data))
		tags = tags[1:]
	}
	assert.Empty(t, tags)
}

// A player shows the same frames, with the same times, as of the file that was published.
func TestPlayersReadIt(t *testing.T) {
	ffprobe, err := exec.LookPath("ffprobe")
	if err != nil {
		t.Skip("there is no ffprobe")
	}
	file, err := os.ReadFile("../../flv/testdata/ffmpeg7-h264-bframes-aac.flv")
	require.NoError(t, err)
	r := flv.NewReader(bytes.NewReader(file))
	var items []cluster.Item
	for number := uint64(1<<24 - 5); ; number++ {
		tag, err := r.Next()
		if err != nil {
			break // some are cut
		}
		p, _ := tag.Packet()
		items = append(items, cluster.Item{Tag: tag, At: at(number), Time: int64(tag.Timestamp), First: number%7 == 0,
			Header: tag.Type == flv.TypeScript || p.Kind == flv.KindConfig})
	}
	frames := func(in []byte) []string {
		cmd := exec.Command(ffprobe, "-v", "error", "-f", "flv", "-show_packets", "-show_data_hash", "md5", "-show_entries",
			"packet=codec_type,pts,dts,size,flags,data_hash", "-of", "csv", "-")
		cmd.Stdin = bytes.NewReader(in)
		out, err := cmd.Output()
		require.NoError(t, err)
		var media []string // script data has a track of its own there
		for line := range strings.Lines(string(out)) {
			if !strings.HasPrefix(line, "packet,data,") {
				media = append(media, line)
			}
		}
		return media
	}
	assert.NotEmpty(t, items)
	assert.Equal(t, frames(file), frames(body(t, items)))
}

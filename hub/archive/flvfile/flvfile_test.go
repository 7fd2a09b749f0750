package flvfile

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
)

func TestRoundTrip(t *testing.T) {
	for _, name := range []string{"h264-bframes-aac", "h264-bframes", "aac"} {
		t.Run(name, func(t *testing.T) {
			fsys, dir := folder(t)
			meta, packets := clip(t, name)
			info := writeFile(t, fsys, "a", meta, packets)
			assert.InDelta(t, 5, info.Duration.Seconds(), 0.2)
			b, err := os.ReadFile(filepath.Join(dir, "a.flv"))
			require.NoError(t, err)
			assert.EqualValues(t, len(b), info.Size)
			tags := readTags(t, b)
			require.Len(t, tags, 1+len(packets))
			for i, p := range packets {
				require.Equal(t, p.Tag, tags[1+i])
			}
			read, err := ReadInfo(fsys, "a")
			require.NoError(t, err)
			assert.Equal(t, info, read)

			f, err := Open(fsys, "a")
			require.NoError(t, err)
			defer f.Close()
			assert.Equal(t, info, f.Info())
			c := f.Cursor()
			headers, err := c.Headers()
			require.NoError(t, err)
			assert.Less(t, len(headers[0].Data), 2000)
			assert.Equal(t, packets, append(headers[1:], readAll(t, c)...))

			at, err := c.SeekTo(3500)
			require.NoError(t, err)
			if name == "aac" {
				assert.InDelta(t, 3500, at, 30)
			} else {
				assert.InDelta(t, 2000, at, 70)
			}
			p, err := c.Next()
			require.NoError(t, err)
			assert.True(t, p.Key)
			assert.Equal(t, at, p.Time)
		})
	}
}

func TestAppendGoesOn(t *testing.T) {
	fsys, _ := folder(t)
	meta, packets := clip(t, "h264-bframes-aac")
	first := writeFile(t, fsys, "a", meta, packets)
	w, err := Append(fsys, "a")
	require.NoError(t, err)
	headers, err := w.Headers()
	require.NoError(t, err)
	require.Len(t, headers, 3)
	end := w.End()
	assert.Equal(t, first.Duration, time.Duration(end)*time.Millisecond)
	second := append([]Packet(nil), packets...)
	for i := range second {
		second[i].Time += end
		second[i].Timestamp += uint32(end)
	}
	f, err := w.Open()
	require.NoError(t, err)
	defer f.Close()
	write(t, w, second)
	assert.True(t, f.Growing())
	info, err := w.Finish()
	require.NoError(t, err)
	assert.Equal(t, 2*first.Duration, info.Duration)
	c := f.Cursor()
	headers, err = c.Headers()
	require.NoError(t, err)
	assert.Equal(t, append(packets, second...), append(headers[1:], readAll(t, c)...))
	at, err := c.SeekTo(9999)
	require.NoError(t, err)
	assert.InDelta(t, end+4000, at, 100)
}

func TestRecoverAfterDeath(t *testing.T) {
	fsys, dir := folder(t)
	meta, packets := clip(t, "h264-bframes-aac")
	w, err := Create(fsys, "a", Properties{App: "live", Name: "camera", Begin: begin, Metadata: meta})
	require.NoError(t, err)
	write(t, w, packets)
	want := w.Info()
	require.NoError(t, w.Close())
	part := filepath.Join(dir, "a.flv.part")
	require.NoError(t, os.Truncate(part, want.Size+1000))
	info, err := Recover(fsys, "a")
	require.NoError(t, err)
	assert.Equal(t, want, info)
	assert.Equal(t, flv.CodecH264, info.Video)
}

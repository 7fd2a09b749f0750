package flvfile

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
)

// Players of a file that is written get everything once, and its end.
func TestPlayersFollow(t *testing.T) {
	fsys, _ := folder(t)
	meta, packets := clip(t, "h264-bframes-aac")
	w, err := Create(fsys, "a", Properties{Metadata: meta})
	require.NoError(t, err)
	var players sync.WaitGroup
	for range 4 {
		f, err := w.Open()
		require.NoError(t, err)
		players.Go(func() {
			defer f.Close()
			c := f.Cursor()
			headers, err := c.Headers()
			assert.NoError(t, err)
			got := headers[1:]
			for {
				p, err := c.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				if errors.Is(err, ErrNotYet) {
					assert.NoError(t, c.Wait(t.Context()))
					_, err = f.Content()
					assert.NoError(t, err)
					continue
				}
				if !assert.NoError(t, err) {
					return
				}
				p.Data = append([]byte(nil), p.Data...)
				got = append(got, p)
				if p.Key {
					at, err := f.Cursor().SeekTo(p.Time)
					assert.NoError(t, err)
					assert.Equal(t, p.Time, at)
				}
			}
			assert.Equal(t, packets, got)
			assert.False(t, f.Growing())
		})
	}
	write(t, w, packets)
	_, err = w.Finish()
	require.NoError(t, err)
	players.Wait()
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemFS()
		_, packets := clip(t, "aac")
		w, err := Create(m, "a", Properties{})
		require.NoError(t, err)
		f, err := w.Open()
		require.NoError(t, err)
		defer f.Close()
		c := f.Cursor()
		_, err = c.Next()
		require.ErrorIs(t, err, ErrNotYet)
		wait := func(ctx context.Context) <-chan error {
			done := make(chan error, 1)
			go func() { done <- c.Wait(ctx) }()
			synctest.Wait()
			return done
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, <-wait(ctx), context.DeadlineExceeded)

		growth := wait(t.Context())
		require.Empty(t, growth)
		write(t, w, packets[:2]) // a header and a frame
		require.NoError(t, <-growth)
		p, err := c.Next()
		require.NoError(t, err)
		assert.Equal(t, packets[1].Data, p.Data)
		_, err = c.Next()
		require.ErrorIs(t, err, ErrNotYet)

		end := wait(t.Context())
		require.Empty(t, end)
		_, err = w.Finish()
		require.NoError(t, err)
		require.NoError(t, <-end)
		_, err = c.Next()
		require.ErrorIs(t, err, io.EOF)
	})
}

// The content of a growing file is a file as it would be if it ended there.
func TestContentWhileItGrows(t *testing.T) {
	fsys, _ := folder(t)
	meta, packets := clip(t, "h264-bframes-aac")
	w, err := Create(fsys, "a", Properties{App: "live", Name: "camera", Begin: begin, Metadata: meta})
	require.NoError(t, err)
	f, err := w.Open()
	require.NoError(t, err)
	defer f.Close()
	etags := map[string]bool{}
	var c *Content
	for i := 0; i < len(packets); i += 40 {
		write(t, w, packets[i:min(i+40, len(packets))])
		c, err = f.Content()
		require.NoError(t, err)
		assert.False(t, etags[c.ETag])
		etags[c.ETag] = true
		assert.EqualValues(t, dataStart, c.Head)
		assert.EqualValues(t, dataStart, c.Offset)
		b := make([]byte, c.Size)
		n, err := c.ReadAt(b, 0)
		require.NoError(t, err)
		require.Len(t, b, n)
		tags := readTags(t, b)
		require.Len(t, tags, 1+min(i+40, len(packets)))
		checkHead(t, b, w.Info().Duration)
		_, err = c.ReadAt(b[:10], c.Size-5)
		require.ErrorIs(t, err, io.EOF)
	}
	grown := make([]byte, c.Size)
	_, err = c.ReadAt(grown, 0)
	require.NoError(t, err)
	_, err = w.Finish()
	require.NoError(t, err)
	c, err = f.Content()
	require.NoError(t, err)
	assert.False(t, etags[c.ETag])
	assert.Zero(t, c.Head)
	finished := make([]byte, c.Size)
	_, err = c.ReadAt(finished, 0)
	require.NoError(t, err)
	assert.Equal(t, grown, finished)
}

// checkHead looks at what players seek by: each entry is where it says.
func checkHead(t testing.TB, b []byte, duration time.Duration) {
	t.Helper()
	tag := readTags(t, b[:flv.HeaderSize+flv.TagOverhead+HeadSize])[0]
	times, positions := keyframesOf(t, tag.Data)
	require.Equal(t, len(times), len(positions))
	props, _ := metadataProperties(tag.Data)
	said, _ := props.Get("duration")
	assert.InDelta(t, duration.Seconds(), said, 0.0005)
	size, _ := props.Get("filesize")
	assert.EqualValues(t, len(b), size)
	for i, pos := range positions {
		h := parseHeader(b[pos:])
		p := Packet{Tag: flv.Tag{Type: h.typ, Data: b[pos+tagHeaderSize:][:h.size]}}
		p.classify()
		assert.Equal(t, i == 0, p.Header)
		if h.typ == flv.TypeVideo {
			assert.Equal(t, i > 0, p.Key)
		}
		if i > 0 {
			assert.InDelta(t, times[i], h.timestamp, 0.5)
		}
	}
}

// The metadata that players get is the same whoever gives it.
func TestMetadataStaysTheSame(t *testing.T) {
	fsys, _ := folder(t)
	meta, packets := clip(t, "h264-bframes-aac")
	w, err := Create(fsys, "a", Properties{App: "live", Name: "camera", Begin: begin, Metadata: meta})
	require.NoError(t, err)
	f, err := w.Open()
	require.NoError(t, err)
	defer f.Close()
	write(t, w, packets)
	_, err = w.Finish()
	require.NoError(t, err)
	again, err := Open(fsys, "a")
	require.NoError(t, err)
	defer again.Close()
	want, err := f.Cursor().Headers()
	require.NoError(t, err)
	c := again.Cursor()
	for _, ms := range []int64{0, 2500, 4500} {
		_, err := c.SeekTo(ms)
		require.NoError(t, err)
		got, err := c.Headers()
		require.NoError(t, err)
		require.Len(t, got, len(want))
		for i := range want {
			assert.Equal(t, want[i].Data, got[i].Data)
		}
	}
	_, keyframes := metadataProperties(want[0].Data)
	assert.False(t, keyframes)
}

// A file that is open goes on to be what it was, whatever becomes of its name.
func TestOpenFileStays(t *testing.T) {
	fsys, _ := folder(t)
	meta, packets := clip(t, "h264-bframes-aac")
	writeFile(t, fsys, "a", meta, packets)
	f, err := Open(fsys, "a")
	require.NoError(t, err)
	defer f.Close()
	own, err := f.Reopen()
	require.NoError(t, err)
	require.NoError(t, own.Close())

	w, err := Append(fsys, "a")
	require.NoError(t, err)
	own, err = f.Reopen()
	require.NoError(t, err, "it has another name")
	require.NoError(t, own.Close())
	later := append([]Packet(nil), packets...)
	for i := range later {
		later[i].Time += w.End()
	}
	write(t, w, later)
	c := f.Cursor()
	_, err = c.SeekTo(4500)
	require.NoError(t, err)
	require.NoError(t, w.WriteIndex())
	_, err = w.Finish()
	require.NoError(t, err)
	assert.Len(t, readAll(t, f.Cursor()), len(packets)-2)
	_, err = c.SeekTo(8000)
	require.ErrorIs(t, err, ErrBeyond)

	whole, err := Open(fsys, "a")
	require.NoError(t, err)
	defer whole.Close()
	at, err := whole.Cursor().SeekTo(8000)
	require.NoError(t, err)
	assert.InDelta(t, 7100, at, 200)

	require.NoError(t, fsys.Remove("a.flv"))
	_, err = f.Reopen()
	require.ErrorIs(t, err, os.ErrNotExist)
	assert.Len(t, readAll(t, f.Cursor()), len(packets)-2)
	require.NoError(t, f.Close())
	require.NoError(t, f.Close())
}

func TestReopenNeedsAFileOfTheSystem(t *testing.T) {
	_, packets := clip(t, "aac")
	m := newMemFS()
	writeFile(t, m, "a", nil, packets)
	f, err := Open(m, "a")
	require.NoError(t, err)
	defer f.Close()
	_, err = f.Reopen()
	require.ErrorIs(t, err, errors.ErrUnsupported)
}

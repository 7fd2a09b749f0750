package flvfile

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"sluice/flv"
)

// seeds adds files and indexes of all makes, without the reserve's zeros where that is
// possible, so that changes meet something.
func seeds(f *testing.F, add func(file, idx []byte)) {
	for _, name := range []string{"h264-bframes-aac", "aac"} {
		meta, packets := clip(f, name)
		packets = slices.Clone(packets[:30])
		for i := range packets {
			packets[i].Data = packets[i].Data[:min(60, len(packets[i].Data))]
		}
		m := newMemFS()
		writeFile(f, m, "a", meta, packets)
		add(m.files["a.flv"].b, m.files["a.idx"].b)
		plain := newMemFS()
		plain.put("a.flv", foreign(flv.AppendHeader(nil, true, true), packets, 1000, false))
		file, err := Open(plain, "a")
		require.NoError(f, err)
		_, err = file.Cursor().SeekTo(0)
		require.NoError(f, err)
		add(plain.files["a.flv"].b, plain.files["a.idx"].b)
	}
	add(nil, nil)
}

// expand puts the reserve back into a file of which the fuzzer sees only what stands around
// it.
func expand(tags []byte) []byte {
	h := head{ours: true}
	return append(h.bytes(nil), tags...)
}

// FuzzRecover recovers any bytes behind a head of ours, with any index. What comes out is a
// whole file that can be read.
func FuzzRecover(f *testing.F) {
	seeds(f, func(file, idx []byte) {
		if len(file) > dataStart {
			f.Add(file[dataStart:], idx)
			f.Add(file[dataStart:len(file)-7], idx[:len(idx)/2])
		}
	})
	f.Fuzz(func(t *testing.T, tags, idx []byte) {
		m := newMemFS()
		m.put("a.flv.part", expand(tags))
		m.put("a.idx", bytes.Clone(idx))
		info, err := Recover(m, "a")
		if errors.Is(err, fs.ErrNotExist) {
			require.Empty(t, m.names())
			return
		}
		require.NoError(t, err)
		b := m.files["a.flv"].b
		require.EqualValues(t, len(b), info.Size)
		require.True(t, bytes.HasPrefix(expand(tags)[dataStart:], b[dataStart:]))
		readTags(t, b)
		use(t, m)
		w, err := Append(m, "a")
		require.NoError(t, err)
		require.Equal(t, info.Duration.Milliseconds(), w.End())
		again, err := w.Finish()
		require.NoError(t, err)
		require.Equal(t, info, again)
	})
}

// FuzzOpen opens any bytes, or any behind a head of ours, with any index, and uses all there
// is.
func FuzzOpen(f *testing.F) {
	seeds(f, func(file, idx []byte) {
		if ours := len(file) > dataStart; ours {
			f.Add(file[dataStart:], idx, true)
		} else {
			f.Add(file, idx, false)
		}
	})
	f.Fuzz(func(t *testing.T, file, idx []byte, ours bool) {
		if ours {
			file = expand(file)
		}
		m := newMemFS()
		m.put("a.flv", bytes.Clone(file))
		m.put("a.idx", bytes.Clone(idx))
		use(t, m)
		if _, err := ReadInfo(m, "a"); err != nil {
			require.True(t, errors.Is(err, flv.ErrFormat), err)
		}
		w, err := Append(m, "a")
		if err == nil {
			_, err = w.Finish()
			require.NoError(t, err)
			use(t, m)
		}
	})
}

// use plays and seeks a file, and reads its content.
func use(t *testing.T, m *memFS) {
	f, err := Open(m, "a")
	if err != nil {
		require.ErrorIs(t, err, flv.ErrFormat)
		return
	}
	defer f.Close()
	c := f.Cursor()
	size := 0
	for err == nil {
		var p Packet
		p, err = c.Next()
		size += len(p.Data)
	}
	require.True(t, errors.Is(err, io.EOF) || errors.Is(err, flv.ErrFormat), err)
	require.LessOrEqual(t, size, len(m.files["a.flv"].b))
	for _, ms := range []int64{-1, 0, 1, 500, f.Info().Duration.Milliseconds(), 1 << 50} {
		at, err := c.SeekTo(ms)
		if err != nil {
			continue
		}
		require.GreaterOrEqual(t, at, int64(0))
		p, err := c.Next()
		require.NoError(t, err)
		require.Equal(t, at, p.Time)
		_, err = c.Headers()
		require.NoError(t, err)
	}
	content, err := f.Content()
	require.NoError(t, err)
	n, err := io.Copy(io.Discard, io.NewSectionReader(content, 0, content.Size))
	require.NoError(t, err)
	require.Equal(t, content.Size, n)
}

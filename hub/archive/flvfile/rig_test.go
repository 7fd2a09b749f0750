package flvfile

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
)

// begin is when recordings of tests begin.
var begin = time.Date(2026, 11, 28, 17, 5, 0, 123e6, time.UTC)

// folder returns an empty folder and its path.
func folder(t testing.TB) (FS, string) {
	t.Helper()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	t.Cleanup(func() { _ = root.Close() })
	return Root(root), dir
}

// clip returns the packets of a clip of testdata, times from 0, with the publisher's metadata.
func clip(t testing.TB, name string) (amf.ECMAArray, []Packet) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../../../testdata/clips", name+".flv"))
	require.NoError(t, err)
	var packets []Packet
	var meta amf.ECMAArray
	for _, tag := range readTags(t, b) {
		p := Packet{Tag: tag, Time: int64(tag.Timestamp)}
		p.classify()
		if p.Header && p.Type == flv.TypeScript {
			meta, _ = metadataProperties(p.Data)
			continue
		}
		p.Key = p.Key || name == "aac" && !p.Header
		packets = append(packets, p)
	}
	return meta, packets
}

// readTags reads a whole FLV file.
func readTags(t testing.TB, b []byte) (tags []flv.Tag) {
	t.Helper()
	r := flv.NewReader(bytes.NewReader(b))
	for {
		tag, err := r.Next()
		if errors.Is(err, io.EOF) {
			return tags
		}
		require.NoError(t, err)
		tags = append(tags, tag)
	}
}

// record writes packets into a finished file, some at a time.
func writeFile(t testing.TB, fsys FS, name string, meta amf.ECMAArray, packets []Packet) Info {
	t.Helper()
	w, err := Create(fsys, name, Properties{App: "live", Name: "camera", Begin: begin, Metadata: meta})
	require.NoError(t, err)
	write(t, w, packets)
	info, err := w.Finish()
	require.NoError(t, err)
	return info
}

// write writes packets, twenty at a time.
func write(t testing.TB, w *Writer, packets []Packet) {
	t.Helper()
	var scratch []byte
	for len(packets) > 0 {
		n := min(20, len(packets))
		var err error
		var written int
		scratch, written, err = w.Write(scratch, packets[:n])
		require.NoError(t, err)
		require.Equal(t, n, written)
		require.NoError(t, w.WriteIndex())
		packets = packets[n:]
	}
}

// readAll reads what a cursor gives up to the end.
func readAll(t testing.TB, c *Cursor) (packets []Packet) {
	t.Helper()
	for {
		p, err := c.Next()
		if errors.Is(err, io.EOF) {
			return packets
		}
		require.NoError(t, err)
		p.Data = bytes.Clone(p.Data)
		packets = append(packets, p)
	}
}

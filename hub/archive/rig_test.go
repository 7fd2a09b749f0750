package archive

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/hub"
	"sluice/hub/archive/flvfile"
)

// start is when the first recording of a test begins.
var start = time.Date(2026, 11, 28, 17, 5, 0, 123_000_000, time.UTC)

// logged is a log that can be read while it is written.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// open opens an archive that is closed when the test ends.
func open(t testing.TB, cfg Config) (*Archive, *logged) {
	t.Helper()
	log := &logged{}
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	a, err := Open(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, a.Close()) })
	return a, log
}

// reopen closes an archive and opens its folder again.
func reopen(t testing.TB, a *Archive) (*Archive, *logged) {
	t.Helper()
	require.NoError(t, a.Close())
	return open(t, a.cfg)
}

// film returns packets of sound that last so long.
func film(d time.Duration) []flvfile.Packet {
	packets := []flvfile.Packet{{
		Tag:    flv.Tag{Type: flv.TypeAudio, Data: []byte{0xaf, 0, 0x12, 0x10}},
		Header: true,
	}}
	for ms := int64(0); ms < d.Milliseconds(); ms += 100 {
		packets = append(packets, flvfile.Packet{
			Tag:  flv.Tag{Type: flv.TypeAudio, Timestamp: uint32(ms), Data: []byte{0xaf, 1, byte(ms), 2, 3, 4}},
			Time: ms, Key: true,
		})
	}
	return packets
}

// begin begins a recording and writes a film of a second.
func begin(t testing.TB, a *Archive, key hub.Key, at time.Time) *Writer {
	t.Helper()
	w, err := a.Create(key, at, amf.ECMAArray{{Name: "encoder", Value: "test"}})
	require.NoError(t, err)
	_, n, err := w.Write(nil, film(time.Second))
	require.NoError(t, err)
	require.Equal(t, 11, n)
	return w
}

// record makes a finished recording.
func record(t testing.TB, a *Archive, key hub.Key, at time.Time) Recording {
	t.Helper()
	r, err := begin(t, a, key, at).Finish(StateFinished)
	require.NoError(t, err)
	return r
}

// foreign returns an FLV file as others make it, which lasts so long.
func foreign(d time.Duration) []byte {
	b := flv.AppendHeader(nil, true, false)
	b = flv.AppendTag(b, flv.Tag{Type: flv.TypeScript, Data: amf.AppendAMF0(nil, "onMetaData", amf.ECMAArray{
		{Name: "duration", Value: d.Seconds()}, {Name: "audiocodecid", Value: 10.0},
	})})
	for _, p := range film(d) {
		b = flv.AppendTag(b, p.Tag)
	}
	return b
}

// put lays a file into the folder by hand, with a time at which it was changed.
func put(t testing.TB, a *Archive, name string, content []byte, changed time.Time) {
	t.Helper()
	at := filepath.Join(a.cfg.Dir, filepath.FromSlash(name))
	require.NoError(t, os.MkdirAll(filepath.Dir(at), 0o755))
	require.NoError(t, os.WriteFile(at, content, 0o644))
	require.NoError(t, os.Chtimes(at, changed, changed))
}

// ids returns the IDs of a stream's recordings, the newest first.
func ids(t testing.TB, a *Archive, key hub.Key) (ids []string) {
	t.Helper()
	page, next, err := a.Recordings(key, "", maxPage)
	require.NoError(t, err)
	require.Empty(t, next)
	for _, r := range page {
		ids = append(ids, r.ID)
	}
	return ids
}

// play reads a recording to its end and returns how many packets there are.
func play(t testing.TB, f *File) (n int) {
	t.Helper()
	for c := f.Cursor(); ; n++ {
		if _, err := c.Next(); err != nil {
			require.ErrorIs(t, err, io.EOF)
			return n
		}
	}
}

// files lists what stands in the folder.
func files(t testing.TB, dir string) (names []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(at string, d os.DirEntry, err error) error {
		if name, _ := filepath.Rel(dir, at); name != "." && name != lockName {
			names = append(names, filepath.ToSlash(name))
		}
		return err
	}))
	return names
}

package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
	"sluice/hub/archive/flvfile"
)

// Every case has the recordings a0, b0, a1, b1, a2, b2 of the streams a and b, a minute apart
// and of one size; the last one of b is being written.
func TestMakeRoom(t *testing.T) {
	const never = 1 << 60
	for _, c := range []struct {
		name           string
		keep           time.Duration
		total, stream  int64 // in recordings
		minFree, free  int64 // in recordings
		pinned, played string
		gone           string
		short          int64
	}{
		{name: "no bounds"},
		{name: "age", keep: 4*time.Minute + time.Second, gone: "a0 b0"},
		{name: "age, pinned", keep: 4*time.Minute + time.Second, pinned: "a0", gone: "b0"},
		{name: "age of all", keep: time.Second, gone: "a0 b0 a1 b1 a2"},
		{name: "total", total: 3, gone: "a0 b0"},
		{name: "total, just so", total: 5},
		{name: "total, pinned count and stay", total: 2, pinned: "a0 b0", gone: "a1 b1 a2"},
		{name: "total, less than one", total: 0, stream: 0, keep: time.Nanosecond, gone: "a0 b0 a1 b1 a2"},
		{name: "stream", stream: 1, gone: "a0 a1 b0"},
		{name: "stream, pinned", stream: 1, pinned: "a1", gone: "a0 a2 b0"},
		{name: "stream then total", stream: 2, total: 3, gone: "a0 b0"},
		{name: "total takes what is left", stream: 1, total: 1, gone: "a0 a1 b0 b1"},
		{name: "free", minFree: 10, free: 8, gone: "a0 b0"},
		{name: "free, enough", minFree: 10, free: 10},
		{name: "free, what is played counts for nothing", minFree: 10, free: 8, played: "a0", gone: "a0 b0 a1", short: 0},
		{name: "free, all of it", minFree: never, gone: "a0 b0 a1 b1 a2", short: never},
		{name: "age makes it free", keep: 4*time.Minute + time.Second, minFree: 10, free: 8, gone: "a0 b0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRetention(t)
				r.a.cfg.Keep, r.a.cfg.KeepBytes, r.a.cfg.KeepBytesPerStream = c.keep, c.total*r.size, c.stream*r.size
				if r.a.cfg.MinFree = c.minFree; c.minFree < never {
					r.a.cfg.MinFree *= r.size
				}
				r.atFirst = c.free * r.size
				for name := range strings.FieldsSeq(c.pinned) {
					require.NoError(t, r.a.Pin(r.key(name), r.ids[name], true))
				}
				if c.played != "" {
					f, _, err := r.a.Open(r.key(c.played), r.ids[c.played])
					require.NoError(t, err)
					defer f.Close()
				}
				short, err := r.a.MakeRoom(t.Context())
				require.NoError(t, err)
				if c.short > 0 {
					assert.Equal(t, c.short-r.now(), short)
				} else {
					assert.Zero(t, short)
				}
				var gone []string
				for _, name := range r.names {
					if _, err := r.a.Recording(r.key(name), r.ids[name]); errors.Is(err, ErrNotFound) {
						gone = append(gone, name)
					}
				}
				assert.ElementsMatch(t, strings.Fields(c.gone), gone)
				assert.Equal(t, len(gone), strings.Count(r.log.String(), "recording deleted"))
				require.NoError(t, r.writer.Close())
				require.NoError(t, r.a.Close())
			})
		})
	}
}

// retention is an archive whose file system has atFirst bytes free when nothing is
// deleted yet.
type retention struct {
	a       *Archive
	log     *logged
	writer  *Writer // of b2
	names   []string
	ids     map[string]string
	size    int64 // of a recording
	atFirst int64
}

func newRetention(t *testing.T) *retention {
	r := &retention{ids: map[string]string{}}
	r.a, r.log = open(t, Config{Dir: t.TempDir()})
	r.a.free = func() (int64, bool, error) { return r.now(), true, nil }
	for i := range 3 {
		for _, stream := range []string{"a", "b"} {
			name := fmt.Sprint(stream, i)
			r.names = append(r.names, name)
			r.writer = begin(t, r.a, r.key(name), time.Now())
			r.ids[name] = r.writer.Recording().ID
			time.Sleep(time.Minute)
			if name != "b2" {
				finished, err := r.writer.Finish(StateFinished)
				require.NoError(t, err)
				r.size = finished.Size
			}
		}
	}
	return r
}

func (r *retention) key(name string) hub.Key { return hub.Key{App: "live", Name: name[:1]} }

// now returns how many bytes are free: more by what was deleted.
func (r *retention) now() int64 {
	if r.size == 0 {
		return r.atFirst
	}
	r.a.mu.Lock()
	defer r.a.mu.Unlock()
	return r.atFirst + 5*r.size - r.a.bytes
}

// stuck is a folder in which files cannot be removed.
type stuck struct{ flvfile.FS }

func (s stuck) Remove(name string) error {
	if strings.HasSuffix(name, flvfile.Suffix) {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrPermission}
	}
	return s.FS.Remove(name)
}

func TestFilesThatCannotBeDeleted(t *testing.T) {
	a, log := open(t, Config{Dir: t.TempDir(), KeepBytes: 1})
	for i := range 2 * maxFailures {
		record(t, a, me, start.Add(time.Duration(i)*time.Second))
	}
	a.fs = stuck{a.fs}
	_, err := a.MakeRoom(t.Context())
	assert.ErrorIs(t, err, fs.ErrPermission)
	assert.Len(t, ids(t, a, me), 2*maxFailures, "they stay in the list")
	assert.ErrorIs(t, a.Delete(me, ids(t, a, me)[0]), fs.ErrPermission)
	assert.Empty(t, log.String())
	a.fs = flvfile.Root(a.root)
	_, err = a.MakeRoom(t.Context())
	require.NoError(t, err)
	assert.Empty(t, ids(t, a, me))
	assert.Empty(t, files(t, a.cfg.Dir))
}

func TestMakeRoomEndsEarly(t *testing.T) {
	a, _ := open(t, Config{Dir: t.TempDir(), KeepBytes: 1, MinFree: 1})
	record(t, a, me, start)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := a.MakeRoom(ctx)
	assert.ErrorIs(t, err, context.Canceled)
	assert.Len(t, ids(t, a, me), 1)
	a.free = func() (int64, bool, error) { return 0, false, fs.ErrInvalid }
	_, err = a.MakeRoom(t.Context())
	assert.ErrorIs(t, err, fs.ErrInvalid)
}

// Bytes that are free are those of the file system, where the system tells.
func TestFreeBytes(t *testing.T) {
	f, err := os.Open(filepath.Join(t.TempDir()))
	require.NoError(t, err)
	defer f.Close()
	n, known, err := freeBytes(f)
	require.NoError(t, err)
	if known {
		assert.Positive(t, n)
	}
}

// The disk is at least as large as what is free on it.
func TestDisk(t *testing.T) {
	a, _ := open(t, Config{Dir: t.TempDir()})
	free, total, known, err := a.Disk()
	require.NoError(t, err)
	if known {
		assert.Positive(t, free)
		assert.Greater(t, total, free)
	}
	a.free = func() (int64, bool, error) { return 0, false, fs.ErrInvalid }
	_, _, _, err = a.Disk()
	assert.ErrorIs(t, err, fs.ErrInvalid)
}

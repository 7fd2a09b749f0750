package archive

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub/archive/flvfile"
)

// faulty is a folder that refuses what is switched on.
type faulty struct {
	flvfile.FS
	create, rename, read atomic.Bool
}

var errFault = errors.New("input/output error")

func (f *faulty) OpenFile(name string, flag int, perm fs.FileMode) (flvfile.Handle, error) {
	if flag&os.O_CREATE != 0 && f.create.Load() || flag&os.O_CREATE == 0 && f.read.Load() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errFault}
	}
	return f.FS.OpenFile(name, flag, perm)
}

func (f *faulty) Rename(from, to string) error {
	if f.rename.Load() {
		return &fs.PathError{Op: "rename", Path: from, Err: errFault}
	}
	return f.FS.Rename(from, to)
}

// openFaulty opens an archive in a folder that can refuse.
func openFaulty(t *testing.T) (*Archive, *logged, *faulty) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	t.Cleanup(func() { root.Close() })
	f := &faulty{FS: flvfile.Root(root)}
	a, log := open(t, Config{Dir: dir, FS: f})
	return a, log, f
}

// A recording that cannot be finished stays one that is being written, until it can.
func TestFinishThatFails(t *testing.T) {
	a, _, disk := openFaulty(t)
	w := begin(t, a, me, start)
	disk.rename.Store(true)
	r, err := w.Finish(StateFinished)
	require.ErrorIs(t, err, errFault)
	assert.Equal(t, StateRecording, r.State)
	f, _, err := a.Open(me, Latest)
	require.NoError(t, err)
	a.scan(t.Context())
	assert.Len(t, ids(t, a, me), 1)
	disk.rename.Store(false)
	r, err = w.Finish(StateFinished)
	require.NoError(t, err)
	assert.Equal(t, StateFinished, r.State)
	assert.Equal(t, 10, play(t, f))
	require.NoError(t, f.Close())
	checkCatalogue(t, a)
}

// One that is given up is finished when the folder is opened again.
func TestRecordingsGivenUp(t *testing.T) {
	a, _, disk := openFaulty(t)
	w := begin(t, a, me, start)
	disk.rename.Store(true)
	_, err := w.Finish(StateDiskFull)
	require.ErrorIs(t, err, errFault)
	require.NoError(t, w.Close())
	assert.Empty(t, ids(t, a, me))
	a.scan(t.Context())
	assert.Empty(t, ids(t, a, me))
	next := begin(t, a, me, start)
	assert.Equal(t, "20261128T170500.123Z-2", next.Recording().ID, "its name stays taken")
	disk.rename.Store(false)
	_, err = next.Finish(StateFinished)
	require.NoError(t, err)
	a, log := reopen(t, a)
	assert.Equal(t, []string{"20261128T170500.123Z-2", "20261128T170500.123Z"}, ids(t, a, me))
	assert.Equal(t, 1, strings.Count(log.String(), "recording that was not finished is now"))
	checkCatalogue(t, a)
}

func TestCreateAndAppendThatFail(t *testing.T) {
	a, _, disk := openFaulty(t)
	disk.create.Store(true)
	_, err := a.Create(me, start, nil)
	require.ErrorIs(t, err, errFault)
	assert.Contains(t, err.Error(), "archive: ")
	assert.Empty(t, ids(t, a, me))
	disk.create.Store(false)
	r := record(t, a, me, start)
	assert.Equal(t, "20261128T170500.123Z", r.ID, "the name is free again")
	disk.rename.Store(true)
	_, err = a.Append(me)
	require.ErrorIs(t, err, errFault)
	same, err := a.Recording(me, r.ID)
	require.NoError(t, err)
	assert.Equal(t, r, same)
	disk.rename.Store(false)
	checkCatalogue(t, a)

	require.NoError(t, os.WriteFile(filepath.Join(a.cfg.Dir, "file"), nil, 0o600))
	_, err = a.Create(me, start.AddDate(-1000, 0, 0), nil)
	assert.Error(t, err, "before all time")
	key := me
	key.App = "file"
	_, err = a.Create(key, start, nil)
	assert.Error(t, err, "a file where its folder should be")
}

// Why a file cannot be read is said to everybody who opens it, and it can be later.
func TestOpenThatFails(t *testing.T) {
	a, _, disk := openFaulty(t)
	r := record(t, a, me, start)
	disk.read.Store(true)
	for range 2 {
		_, _, err := a.Open(me, r.ID)
		require.ErrorIs(t, err, errFault)
		assert.Contains(t, err.Error(), "live/me/"+r.ID)
	}
	disk.read.Store(false)
	f, _, err := a.Open(me, r.ID)
	require.NoError(t, err)
	_, err = f.Cursor().Next()
	assert.NoError(t, err)
	c := f.Cursor()
	for err == nil {
		_, err = c.Next()
	}
	assert.ErrorIs(t, err, io.EOF)
	require.NoError(t, f.Close())
	checkCatalogue(t, a)
}

// What a dead process left behind and cannot be finished stays, and is told.
func TestRecoveryThatFails(t *testing.T) {
	a, _, disk := openFaulty(t)
	w := begin(t, a, me, start)
	require.NoError(t, w.Close())
	disk.rename.Store(true)
	a, log := reopen(t, a)
	assert.Empty(t, ids(t, a, me))
	assert.Contains(t, log.String(), "level=ERROR")
	assert.Contains(t, log.String(), errFault.Error())
	disk.rename.Store(false)
	a, _ = reopen(t, a)
	assert.Len(t, ids(t, a, me), 1)
	r, err := a.Recording(me, Latest)
	require.NoError(t, err)
	assert.Equal(t, time.Second, r.Duration)
}

// between runs something before a file is opened for reading, once, and before a rename.
type between struct {
	flvfile.FS
	open, rename func()
}

func (b *between) OpenFile(name string, flag int, perm fs.FileMode) (flvfile.Handle, error) {
	if do := b.open; do != nil && flag == os.O_RDONLY {
		b.open = nil
		do()
	}
	return b.FS.OpenFile(name, flag, perm)
}

func (b *between) Rename(from, to string) error {
	if do := b.rename; do != nil && strings.HasSuffix(to, flvfile.Suffix) {
		b.rename = nil
		do()
	}
	return b.FS.Rename(from, to)
}

// A recording that somebody appends to and finishes while it is being opened is opened all the
// same: for a moment an empty file has its name.
func TestOpenWhileRenamed(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	t.Cleanup(func() { root.Close() })
	disk := &between{FS: flvfile.Root(root)}
	a, _ := open(t, Config{Dir: dir, FS: disk})
	record(t, a, me, start)
	reserved, opened, finished := make(chan struct{}), make(chan struct{}), make(chan struct{})
	disk.open = func() {
		w, err := a.Append(me)
		require.NoError(t, err)
		_, _, err = w.Write(nil, []flvfile.Packet{shifted(film(time.Second)[1], w.End())})
		require.NoError(t, err)
		disk.rename = func() {
			close(reserved)
			<-opened
		}
		go func() {
			defer close(finished)
			_, err := w.Finish(StateFinished)
			assert.NoError(t, err)
		}()
		<-reserved
		time.AfterFunc(10*time.Millisecond, func() { close(opened) }) // Open waits for the rename then
	}
	f, _, err := a.Open(me, Latest)
	require.NoError(t, err)
	assert.Equal(t, 11, play(t, f))
	require.NoError(t, f.Close())
	<-finished
}

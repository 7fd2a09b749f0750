package archive

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
	"sluice/hub/archive/flvfile"
)

// Whatever is done at the same time, the catalogue is what stands in the folder.
func TestEverythingAtOnce(t *testing.T) {
	a, log := open(t, Config{Dir: t.TempDir(), KeepBytesPerStream: 2_000_000})
	rounds := 30
	if testing.Short() {
		rounds = 10
	}
	keys := []hub.Key{{App: "live", Name: "a"}, {App: "live", Name: "b"}, {App: "live/a", Name: "c"}}
	key := func() hub.Key { return keys[rand.IntN(len(keys))] }
	may := func(err error, allowed ...error) {
		for _, e := range allowed {
			if errors.Is(err, e) {
				return
			}
		}
		assert.NoError(t, err)
	}
	some := func(k hub.Key) string {
		page, _, err := a.Recordings(k, "", 10)
		assert.NoError(t, err)
		if len(page) == 0 {
			return Latest
		}
		return page[rand.IntN(len(page))].ID
	}
	users := []func(){
		func() { // records
			w, err := a.Create(key(), start, nil)
			if assert.NoError(t, err) {
				_, _, err = w.Write(nil, film(time.Second))
				assert.NoError(t, err)
				_, err = w.Finish(StateFinished)
				assert.NoError(t, err)
				_ = w.Recording()
			}
		},
		func() { // goes on
			w, err := a.Append(key())
			if may(err, ErrNotFound, ErrInUse); err == nil {
				_, _, err = w.Write(nil, []flvfile.Packet{shifted(film(time.Second)[1], w.End())})
				assert.NoError(t, err)
				_, err = w.Finish(StateFinished)
				assert.NoError(t, err)
			}
		},
		func() { // plays
			k := key()
			f, r, err := a.Open(k, some(k))
			if may(err, ErrNotFound); err == nil {
				for c := f.Cursor(); ; {
					if _, err := c.Next(); err != nil {
						may(err, io.EOF, flvfile.ErrNotYet)
						break
					}
				}
				assert.Equal(t, k, r.Key)
				assert.NoError(t, f.Close())
			}
		},
		func() { // puts by hand
			at := filepath.Join(a.cfg.Dir, "live/b", fmt.Sprint(rand.Uint32(), ".flv"))
			os.MkdirAll(filepath.Dir(at), 0o755)
			os.WriteFile(at, foreign(time.Second), 0o644)
			a.Recording(keys[1], strings.TrimSuffix(filepath.Base(at), ".flv"))
		},
		func() { may(a.Delete(keys[0], some(keys[0])), ErrNotFound, ErrInUse) },
		func() { may(a.Pin(keys[0], some(keys[0]), rand.IntN(2) == 0), ErrNotFound) },
		func() { a.scan(t.Context()) },
		func() { _, err := a.MakeRoom(t.Context()); may(err) },
		func() {
			_, _, err := a.Recordings(hub.Key{}, "", 3)
			may(err)
			_ = a.Usage()
		},
	}
	var group sync.WaitGroup
	for _, use := range append(users, users...) {
		group.Go(func() {
			for range rounds {
				use()
			}
		})
	}
	group.Wait()
	a.scan(t.Context())
	checkCatalogue(t, a)
	before, _, err := a.Recordings(hub.Key{}, "", 0)
	require.NoError(t, err)
	used := a.Usage()
	assert.NotContains(t, log.String(), "level=WARN")
	a, _ = reopen(t, a)
	checkCatalogue(t, a)
	after, _, err := a.Recordings(hub.Key{}, "", 0)
	require.NoError(t, err)
	assert.Equal(t, len(before), len(after))
	assert.Equal(t, used.Recordings, a.Usage().Recordings)
	assert.Equal(t, used.Bytes, a.Usage().Bytes)
}

// checkCatalogue compares the catalogue with the folder, and its parts with each other.
func checkCatalogue(t *testing.T, a *Archive) {
	t.Helper()
	var onDisk []string
	for _, name := range files(t, a.cfg.Dir) {
		assert.NotContains(t, name, flvfile.PartSuffix)
		if id, ok := strings.CutSuffix(name, flvfile.Suffix); ok {
			onDisk = append(onDisk, id)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	var listed []string
	var bytes int64
	inFolders, inStreams := 0, 0
	for _, f := range a.folders {
		inFolders += len(f.files)
		assert.IsIncreasing(t, append([]string{""}, entryIDs(f.files)...))
	}
	for _, s := range a.streams {
		inStreams += len(s.byTime)
		assert.ElementsMatch(t, s.byID, s.byTime)
		var sum int64
		for _, e := range s.byID {
			sum += e.size
			assert.Same(t, s, e.stream)
		}
		assert.Equal(t, sum, s.bytes)
		bytes += sum
	}
	for i, e := range a.byTime {
		listed = append(listed, e.path())
		assert.Same(t, e, findID(e.folder.files, e.id))
		assert.Same(t, e, findID(e.stream.byID, e.id))
		assert.True(t, e.shared == nil && e.claim == nil && e.writer == nil && !e.deleting)
		assert.True(t, i == 0 || byTime(a.byTime[i-1], e) < 0)
	}
	assert.ElementsMatch(t, onDisk, listed)
	assert.Equal(t, len(listed), inFolders)
	assert.Equal(t, len(listed), inStreams)
	assert.Equal(t, bytes, a.bytes)
	assert.Empty(t, a.writers)
}

func entryIDs(entries []*entry) (ids []string) {
	for _, e := range entries {
		ids = append(ids, e.id)
	}
	return ids
}

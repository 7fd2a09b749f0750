package archive

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// many is how many recordings TestManyRecordings has; SLUICE_TEST_LONG asks for more.
func many() int {
	if os.Getenv("SLUICE_TEST_LONG") != "" {
		return 100_000
	}
	return 1_000
}

// A folder with many recordings is opened in little time, a recording takes little memory,
// and what is asked of it costs the same as in a small one.
func TestManyRecordings(t *testing.T) {
	for _, streams := range []int{1, 100, many() / 4} {
		t.Run(fmt.Sprint(streams), func(t *testing.T) {
			a, _ := open(t, Config{Dir: t.TempDir()})
			n := many()
			for i := range streams {
				key := hub.Key{App: "live", Name: fmt.Sprintf("stream%d", i)}
				copies(t, a, key, record(t, a, key, start), n/streams-1)
			}
			require.NoError(t, a.Close())
			before := heap()
			began := time.Now()
			a, log := open(t, a.cfg)
			took := time.Since(began)
			each := (heap() - before) / int64(n)
			t.Logf("%d recordings of %d streams: opened in %v, %d bytes each", n, streams, took, each)
			assert.Empty(t, log.String())
			assert.Equal(t, n, a.Usage().Recordings)
			assert.Less(t, each, int64(400+streams*600/n))

			began = time.Now()
			seen := 0
			for after := ""; ; {
				page, next, err := a.Recordings(hub.Key{}, after, 50)
				require.NoError(t, err)
				seen += len(page)
				if after = next; next == "" {
					break
				}
			}
			assert.Equal(t, n, seen)
			t.Logf("a page of 50: %v", time.Since(began)/time.Duration(n/50))

			began = time.Now()
			a.scan(t.Context())
			t.Logf("a scan of what has not changed: %v", time.Since(began))

			key := hub.Key{App: "live", Name: "stream0"}
			w := begin(t, a, key, start.Add(time.Hour))
			began = time.Now()
			r, err := w.Finish(StateFinished)
			require.NoError(t, err)
			t.Logf("finishing one: %v", time.Since(began))
			began = time.Now()
			a.scan(t.Context())
			t.Logf("a scan after that: %v", time.Since(began))
			began = time.Now()
			require.NoError(t, a.Delete(key, r.ID))
			t.Logf("deleting one: %v", time.Since(began))
		})
	}
}

// copies links a recording under other IDs.
func copies(t *testing.T, a *Archive, key hub.Key, r Recording, n int) {
	t.Helper()
	at, err := folderOf(key)
	require.NoError(t, err)
	dir := filepath.Join(a.cfg.Dir, filepath.FromSlash(at))
	from := filepath.Join(dir, r.ID+".flv")
	const most = 50_000 // links of one file, in ext4 65,000
	for i := range n {
		to := filepath.Join(dir, newID(r.Begin.Add(time.Duration(i+1)*time.Second), 1)+".flv")
		if i%most == most-1 {
			b, err := os.ReadFile(from)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(to, b, 0o600))
			from = to
			continue
		}
		require.NoError(t, os.Link(from, to))
	}
}

// heap returns how much memory is in use.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

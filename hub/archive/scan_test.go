package archive

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// A file that is put there is in the list after the next scan, and at once when somebody
// asks for it.
func TestFilesPutThereByHand(t *testing.T) {
	a, log := open(t, Config{Dir: t.TempDir()})
	changed := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	want := func(key hub.Key, id string, r Recording) {
		t.Helper()
		assert.Equal(t, key, r.Key)
		assert.Equal(t, id, r.ID)
		assert.True(t, r.Foreign)
		assert.Empty(t, r.App)
		assert.Equal(t, StateFinished, r.State)
		assert.Equal(t, 19900*time.Millisecond, r.Duration, "up to the last frame")
		assert.Equal(t, changed, r.Changed)
		assert.Equal(t, changed.Add(-r.Duration), r.Begin)
		f, _, err := a.Open(key, id)
		require.NoError(t, err)
		assert.Equal(t, 200, play(t, f))
		require.NoError(t, f.Close())
	}
	put(t, a, "live/me/my film.flv", foreign(20*time.Second), changed)
	r, err := a.Recording(me, "my film")
	require.NoError(t, err, "in folders that are new")
	want(me, "my film", r)

	put(t, a, "live/me/second.flv", foreign(20*time.Second), changed)
	f, r, err := a.Open(me, "second")
	require.NoError(t, err, "in a folder that is known")
	want(me, "second", r)
	require.NoError(t, f.Close())

	studio := hub.Key{App: "a/b", Name: "c"}
	put(t, a, "a/b/c/third.flv", foreign(20*time.Second), changed)
	page, _, err := a.Recordings(studio, "", 0)
	require.NoError(t, err)
	require.Len(t, page, 1, "of a stream without any")
	want(studio, "third", page[0])

	put(t, a, "a/b/c/fourth.flv", foreign(20*time.Second), changed)
	assert.Equal(t, []string{"third"}, ids(t, a, studio))
	a.scan(t.Context())
	assert.Equal(t, []string{"fourth", "third"}, ids(t, a, studio))
	assert.Empty(t, log.String())

	require.NoError(t, os.RemoveAll(filepath.Join(a.cfg.Dir, "a")))
	require.NoError(t, os.Remove(filepath.Join(a.cfg.Dir, "live/me/second.flv")))
	_, _, err = a.Open(me, "second")
	assert.ErrorIs(t, err, ErrNotFound, "it has vanished")
	a.scan(t.Context())
	assert.Equal(t, []string{"my film"}, ids(t, a, me))
	assert.Empty(t, ids(t, a, studio))
	require.NoError(t, a.Delete(me, "my film"))
	assert.Empty(t, files(t, a.cfg.Dir))
	assert.Len(t, a.folders, 1)
}

func TestScansComeByThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := open(t, Config{Dir: t.TempDir()})
		record(t, a, me, start)
		put(t, a, "live/me/film.flv", foreign(time.Second), start.AddDate(0, 0, 1))
		assert.Len(t, ids(t, a, me), 1)
		time.Sleep(scanInterval + time.Second)
		synctest.Wait()
		assert.Len(t, ids(t, a, me), 2)
		require.NoError(t, a.Close())
	})
}

// A file that is still being copied is read again as it grows, even if its folder does not
// change.
func TestFilesThatAreBeingCopied(t *testing.T) {
	a, log := open(t, Config{Dir: t.TempDir()})
	whole := foreign(20 * time.Second)
	now := time.Now()
	for i, part := range []struct {
		bytes int
		there bool
	}{{0, false}, {5, false}, {1000, true}, {2000, true}, {len(whole), true}} {
		put(t, a, "live/me/film.flv", whole[:part.bytes], now.Add(time.Duration(i)*time.Second))
		a.scan(t.Context())
		page, _, err := a.Recordings(me, "", 0)
		require.NoError(t, err)
		if !part.there {
			assert.Empty(t, page)
			continue
		}
		require.Len(t, page, 1)
		assert.EqualValues(t, part.bytes, page[0].Size)
		assert.EqualValues(t, part.bytes, a.Usage().Bytes)
	}
	assert.Equal(t, 1, strings.Count(log.String(), "\n"), "%s", log)

	// Long after that it is replaced, which is noticed when it is opened.
	old := now.Add(-time.Hour)
	put(t, a, "live/me/film.flv", whole[:2000], old)
	a.scan(t.Context())
	f, _, err := a.Open(me, "film")
	require.NoError(t, err)
	before := play(t, f)
	put(t, a, "live/me/new.flv", whole, old)
	require.NoError(t, os.Rename(filepath.Join(a.cfg.Dir, "live/me/new.flv"), filepath.Join(a.cfg.Dir, "live/me/film.flv")))
	again, _, err := a.Open(me, "film")
	require.NoError(t, err)
	assert.Same(t, f.File, again.File, "as long as somebody reads the old one")
	require.NoError(t, f.Close())
	require.NoError(t, again.Close())
	f, r, err := a.Open(me, "film")
	require.NoError(t, err)
	assert.EqualValues(t, len(whole), r.Size)
	assert.Greater(t, play(t, f), before)
	require.NoError(t, f.Close())
}

// What is no recording is told once, and left out.
func TestFilesThatAreNoRecordings(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside.flv")
	require.NoError(t, os.WriteFile(outside, foreign(time.Second), 0o600))
	a, _ := open(t, Config{Dir: t.TempDir()})
	record(t, a, me, start)
	film := foreign(time.Second)
	for name, content := range map[string][]byte{
		"top.flv": film, "live/app.flv": film, "live/me/text.flv": []byte("no film"), "live/me/latest.flv": film,
		"live/me/\xff.flv": film, "live/me/a\nb.flv": film, "live/me/.hidden.flv": film, "live/me/film.mp4": film,
		"live/me/empty.flv": nil, "live/me/other.flv.part": film[:9], ".git/x/y.flv": film, "live/me/" + strings.Repeat("x", 250) + ".flv": film,
		strings.Repeat("d/", maxDepth) + "d/deep.flv": film,
	} {
		put(t, a, name, content, start)
	}
	require.NoError(t, os.Mkdir(filepath.Join(a.cfg.Dir, "live/me/folder.flv"), 0o755))
	require.NoError(t, os.Symlink(outside, filepath.Join(a.cfg.Dir, "live/me/out.flv")))
	require.NoError(t, os.Symlink("..", filepath.Join(a.cfg.Dir, "live/me/loop")))
	require.NoError(t, os.Symlink("me", filepath.Join(a.cfg.Dir, "live/you")))

	a, log := reopen(t, a)
	for range 3 {
		a.scan(t.Context())
		for _, id := range []string{"text", "latest.flv", "out", "loop", "empty"} {
			_, err := a.Recording(me, id)
			assert.ErrorIs(t, err, ErrNotFound)
		}
		_, err := a.Recording(hub.Key{App: "live", Name: "you"}, Latest)
		assert.ErrorIs(t, err, ErrNotFound, "folders are not followed")
		_, err = a.Recording(hub.Key{App: "live/me/loop", Name: "me"}, Latest)
		assert.ErrorIs(t, err, ErrNotFound, "folders are not followed")
	}
	page, _, err := a.Recordings(hub.Key{}, "", 0)
	require.NoError(t, err)
	assert.Len(t, page, 1)
	for _, reason := range []string{
		`folder=. file=top reason="it does not stand`, `folder=live file=app reason="it does not stand`, `file=text reason=`, `file=latest reason=`,
		`file="\xff" reason="its name is not UTF-8"`, `file="a\nb" reason="its name has control`, `file=out reason=`,
		`longer than 250 bytes`,
	} {
		assert.Equal(t, 1, strings.Count(log.String(), reason), "%s in\n%s", reason, log)
	}
	assert.Equal(t, 8, strings.Count(log.String(), "\n"), "%s", log)
	assert.FileExists(t, filepath.Join(a.cfg.Dir, "live/me/other.flv.part"), "what is not ours stays")
}

// What a file says of its stream counts only in the folder of that stream.
func TestFilesThatWereMoved(t *testing.T) {
	a, _ := open(t, Config{Dir: t.TempDir()})
	id := record(t, a, me, start).ID
	other := hub.Key{App: "live", Name: "other"}
	require.NoError(t, os.MkdirAll(filepath.Join(a.cfg.Dir, "live/other"), 0o755))
	require.NoError(t, os.Rename(filepath.Join(a.cfg.Dir, "live/me", id+".flv"), filepath.Join(a.cfg.Dir, "live/other/x.flv")))
	a.scan(t.Context())
	assert.Empty(t, ids(t, a, me))
	r, err := a.Recording(other, "x")
	require.NoError(t, err)
	assert.True(t, r.Foreign)
	assert.Equal(t, start, r.Begin)
	_, err = a.Append(other)
	assert.ErrorIs(t, err, ErrNotFound)
}

// Folders whose names are made by hand count with these, and a name in two of them once.
func TestFoldersMadeByHand(t *testing.T) {
	a, _ := open(t, Config{Dir: t.TempDir()})
	key := hub.Key{App: "live", Name: "50%"}
	put(t, a, "live/50%/x.flv", foreign(time.Second), start)
	a.scan(t.Context())
	assert.Equal(t, []string{"x"}, ids(t, a, key))
	put(t, a, "live/50%25/x.flv", foreign(time.Second), start)
	put(t, a, "live/50%25/y.flv", foreign(time.Second), start.Add(time.Second))
	a, log := reopen(t, a)
	assert.Equal(t, []string{"y", "x"}, ids(t, a, key))
	assert.Contains(t, log.String(), "another one of that name")
}

// A folder that may have changed again since it was read is read again, by lookups only
// where that is cheap.
func TestWhenAFolderIsReadAgain(t *testing.T) {
	now := time.Now().UnixNano()
	const s = int64(time.Second)
	for _, c := range []struct {
		name             string
		f                folder
		changed          int64
		scanned, lookups bool // they read it
	}{
		{"never read", folder{}, now, true, true},
		{"changed", folder{changed: now - 100*s, read: now - 50*s}, now, true, true},
		{"as it was", folder{changed: now - 100*s, read: now - 50*s}, now - 100*s, false, false},
		{"read too soon", folder{changed: now - s, read: now - s/2, took: time.Millisecond}, now - s, true, true},
		{"read too soon, large", folder{changed: now - s, read: now - s/2, took: time.Second}, now - s, true, false},
		{"read too soon, large, changed", folder{changed: now - s, read: now - s/2, took: time.Second}, now, true, true},
		{"read too soon, large, long ago", folder{changed: now - 20*s, read: now - 20*s, took: time.Second}, now - 20*s, true, true},
	} {
		assert.Equal(t, c.scanned, !c.f.sameLocked(c.changed, true), c.name)
		assert.Equal(t, c.lookups, !c.f.sameLocked(c.changed, false), c.name)
	}
}

package archive

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
	"sluice/hub/archive/flvfile"
)

var me = hub.Key{App: "live", Name: "me"}

func TestLifeOfARecording(t *testing.T) {
	a, _ := open(t, Config{Dir: filepath.Join(t.TempDir(), "made", "rec")})
	w := begin(t, a, me, start)
	const id = "20261128T170500.123Z"

	r, err := a.Recording(me, Latest)
	require.NoError(t, err)
	assert.Equal(t, id, r.ID)
	assert.Equal(t, StateRecording, r.State)
	assert.Equal(t, time.Second, r.Duration, "live figures")
	assert.Equal(t, start, r.Begin)
	assert.Equal(t, r, w.Recording())
	assert.ErrorIs(t, a.Delete(me, id), ErrInUse)
	_, err = a.Append(me)
	assert.ErrorIs(t, err, ErrInUse)
	used := a.Usage()
	assert.Equal(t, Usage{1, r.Size, used.Free}, used)

	growing, r, err := a.Open(me, id)
	require.NoError(t, err)
	assert.True(t, growing.Growing())
	assert.Equal(t, StateRecording, r.State)
	second, _, err := a.Open(me, Latest)
	require.NoError(t, err)
	assert.Same(t, growing.File, second.File, "shared")
	require.NoError(t, second.Close())

	r, err = w.Finish(StateDiskFull)
	require.NoError(t, err)
	assert.Equal(t, StateDiskFull, r.State)
	assert.Equal(t, r, w.Recording())
	_, err = w.Finish(StateFinished)
	assert.ErrorIs(t, err, net.ErrClosed)
	require.NoError(t, w.Close())
	assert.Equal(t, 10, play(t, growing))
	assert.Equal(t, []string{"live", "live/me", "live/me/" + id + ".flv", "live/me/" + id + ".idx"}, files(t, a.cfg.Dir))

	same, err := a.Recording(me, id)
	require.NoError(t, err)
	assert.Equal(t, r, same)
	a, log := reopen(t, a)
	assert.Empty(t, log.String())
	again, err := a.Recording(me, id)
	require.NoError(t, err)
	r.State = StateFinished // that the disk was full is forgotten
	assert.Equal(t, r, again)

	f, _, err := a.Open(me, id)
	require.NoError(t, err)
	require.NoError(t, a.Delete(me, id))
	assert.Empty(t, files(t, a.cfg.Dir), "folders too")
	assert.Equal(t, 10, play(t, f), "who plays it goes on")
	require.NoError(t, f.Close())
	require.NoError(t, f.Close(), "twice does no harm")
	require.NoError(t, growing.Close())
	_, _, err = a.Open(me, id)
	assert.ErrorIs(t, err, ErrNotFound)
	assert.ErrorIs(t, a.Delete(me, id), ErrNotFound)
	assert.Contains(t, log.String(), "recording deleted")
	used = a.Usage()
	assert.Equal(t, Usage{Free: used.Free}, used)
}

func TestAppendGoesOn(t *testing.T) {
	a, _ := open(t, Config{Dir: t.TempDir()})
	_, err := a.Append(me)
	assert.ErrorIs(t, err, ErrNotFound)
	record(t, a, me, start)
	before := record(t, a, me, start.Add(time.Hour))
	f, _, err := a.Open(me, Latest)
	require.NoError(t, err)
	w, err := a.Append(me)
	require.NoError(t, err)
	assert.Equal(t, before.ID, w.Recording().ID)
	assert.Equal(t, StateRecording, w.Recording().State)
	growing, _, err := a.Open(me, before.ID)
	require.NoError(t, err)
	assert.NotSame(t, f.File, growing.File)
	_, _, err = w.Write(nil, []flvfile.Packet{shifted(film(time.Second)[1], w.End())})
	require.NoError(t, err)
	r, err := w.Finish(StateFinished)
	require.NoError(t, err)
	assert.Greater(t, r.Size, before.Size)
	assert.Equal(t, 11, play(t, growing))
	assert.Equal(t, 10, play(t, f), "to the old end")
	require.NoError(t, f.Close())
	require.NoError(t, growing.Close())
	a, _ = reopen(t, a)
	assert.Len(t, ids(t, a, me), 2)

	put(t, a, "live/me/film.flv", foreign(time.Second), start.AddDate(1, 0, 0))
	_, err = a.Append(me)
	assert.ErrorIs(t, err, ErrNotFound, "the newest is none of ours")
}

func shifted(p flvfile.Packet, ms int64) flvfile.Packet {
	p.Time += ms
	return p
}

func TestRecordingsOfOneMillisecond(t *testing.T) {
	a, _ := open(t, Config{Dir: t.TempDir()})
	for range 12 {
		record(t, a, me, start.Add(999*time.Microsecond))
	}
	want := []string{"20261128T170500.123Z"}
	for _, n := range []string{"2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"} {
		want = append([]string{want[len(want)-1][:20] + "-" + n}, want...)
	}
	assert.Equal(t, want, ids(t, a, me))
	a, _ = reopen(t, a)
	assert.Equal(t, want, ids(t, a, me), "the same order as before")
}

func TestRecordingsWithoutPackets(t *testing.T) {
	a, _ := open(t, Config{Dir: t.TempDir()})
	w, err := a.Create(me, start, nil)
	require.NoError(t, err)
	require.NoError(t, a.Pin(me, w.Recording().ID, true))
	_, err = w.Finish(StateFinished)
	assert.ErrorIs(t, err, fs.ErrNotExist)
	assert.Empty(t, ids(t, a, me))
	assert.Empty(t, files(t, a.cfg.Dir))
}

func TestWhatADeadProcessLeft(t *testing.T) {
	a, _ := open(t, Config{Dir: t.TempDir()})
	whole := begin(t, a, me, start)
	empty, err := a.Create(me, start.Add(time.Second), nil)
	require.NoError(t, err)
	finished := record(t, a, me, start.Add(time.Minute))
	require.NoError(t, whole.Close()) // as good as dead
	require.NoError(t, empty.Close())
	assert.Equal(t, []string{finished.ID}, ids(t, a, me))
	for _, stale := range []string{"20200101T000000.000Z.idx", "20200101T000000.000Z.pin", "20200101T000001.000Z.flv"} {
		put(t, a, "live/me/"+stale, nil, start)
	}
	a, log := reopen(t, a)
	assert.Equal(t, []string{finished.ID, whole.entry.id}, ids(t, a, me))
	r, err := a.Recording(me, whole.entry.id)
	require.NoError(t, err)
	assert.Equal(t, StateFinished, r.State)
	assert.Equal(t, time.Second, r.Duration)
	assert.Equal(t, []Recording{r}, a.Recovered())
	assert.FileExists(t, filepath.Join(a.cfg.Dir, filepath.FromSlash(r.Path())))
	assert.Equal(t, 4, strings.Count(log.String(), "\n"), "%s", log)
	for _, line := range []string{"is now\" folder=live/me id=20261128T170500.123Z duration=1s", "was empty\" folder=live/me id=20261128T170501.123Z", "000Z.idx", "000Z.pin"} {
		assert.Contains(t, log.String(), line)
	}
	for _, name := range files(t, a.cfg.Dir) {
		assert.NotContains(t, name, ".part")
	}
}

func TestPinsOutlastTheProcess(t *testing.T) {
	a, _ := open(t, Config{Dir: t.TempDir()})
	w := begin(t, a, me, start)
	id := w.Recording().ID
	require.NoError(t, a.Pin(me, id, true))
	r, err := w.Finish(StateFinished)
	require.NoError(t, err)
	assert.True(t, r.Pinned)
	a, _ = reopen(t, a)
	r, err = a.Recording(me, id)
	require.NoError(t, err)
	assert.True(t, r.Pinned)
	require.NoError(t, a.Pin(me, id, false))
	require.NoError(t, a.Pin(me, id, false))
	a, _ = reopen(t, a)
	r, err = a.Recording(me, id)
	require.NoError(t, err)
	assert.False(t, r.Pinned)
	assert.ErrorIs(t, a.Pin(me, "other", true), ErrNotFound)
	assert.ErrorIs(t, a.Pin(me, Latest, true), ErrNotFound)
	require.NoError(t, a.Pin(me, id, true))
	require.NoError(t, a.Delete(me, id))
	assert.Empty(t, files(t, a.cfg.Dir))
}

func TestPages(t *testing.T) {
	a, _ := open(t, Config{Dir: t.TempDir()})
	other := hub.Key{App: "live", Name: "other"}
	var want []string
	for i := range 10 {
		record(t, a, other, start) // all of the same moment
		want = append([]string{record(t, a, me, start.Add(time.Duration(i)*time.Second)).ID}, want...)
	}
	var got []string
	after, pages := "", 0
	for {
		page, next, err := a.Recordings(me, after, 3)
		require.NoError(t, err)
		for _, r := range page {
			got = append(got, r.ID)
		}
		if pages++; pages == 2 {
			require.NoError(t, a.Delete(me, want[5]), "the one at which the page ended")
			record(t, a, me, start.Add(time.Hour))
		}
		if after = next; next == "" {
			break
		}
		assert.NotContains(t, next, "me", "says nothing of what it is")
	}
	assert.Equal(t, want, got)
	assert.Equal(t, 4, pages)
	all := 0
	for after := ""; ; all += 2 {
		page, next, err := a.Recordings(hub.Key{}, after, 2)
		require.NoError(t, err)
		require.Len(t, page, 2)
		if after = next; next == "" {
			break
		}
	}
	assert.Equal(t, 18, all)
	for _, bad := range []string{"x", ".", "1.", "a.-1", "1.2.3", strings.Repeat("9", 1000) + ".1"} {
		_, _, err := a.Recordings(me, bad, 0)
		assert.ErrorIs(t, err, ErrPlace, bad)
	}
	page, next, err := a.Recordings(hub.Key{App: "no", Name: "such"}, "", 10)
	assert.Empty(t, page)
	assert.Empty(t, next)
	assert.NoError(t, err)
}

// Names of every kind stay within the folder, and come back as they were.
func TestHostileNames(t *testing.T) {
	parent := t.TempDir()
	a, _ := open(t, Config{Dir: filepath.Join(parent, "rec")})
	keys := []hub.Key{
		{App: "..", Name: ".."}, {App: "../..", Name: "etc"}, {App: "/", Name: "/"}, {App: "/etc", Name: "passwd"},
		{App: "live", Name: "a/b"}, {App: "live/a", Name: "b"}, {App: "live", Name: "a%2Fb"}, {App: "live", Name: "%2e%2e"},
		{App: "live", Name: "nul\x00l"}, {App: "\xff", Name: "\xfe\ufffd"}, {App: `C:\`, Name: `..\x`},
		{App: "con", Name: "LPT1.flv"}, {App: "x.flv", Name: "y.part"}, {App: "live", Name: ".lock"}, {App: ".lock", Name: "x"},
		{App: "live", Name: "x."}, {App: "live", Name: "x "}, {App: "live", Name: "x"}, {App: "live", Name: "X"},
		{App: "прямой эфир", Name: "Ελλάδα"}, {App: "直播", Name: strings.Repeat("直", 84)}, {App: "ไทย", Name: "עברית العربية हिन्दी"},
		{App: "live", Name: strings.Repeat("直", 85)}, {App: "live", Name: strings.Repeat("?", 255)}, {App: "live", Name: strings.Repeat("?", 254) + "!"},
		{App: strings.Repeat("a", 255), Name: strings.Repeat("b", 255)}, {App: strings.Repeat("d/", 126) + "d", Name: "deep"},
	}
	for range 2 {
		for _, key := range keys {
			record(t, a, key, start)
		}
		a, _ = reopen(t, a)
		for _, key := range keys {
			r, err := a.Recording(key, Latest)
			require.NoError(t, err, "%q", key)
			assert.Equal(t, key, r.Key)
			assert.False(t, r.Foreign, "%q", key)
			f, _, err := a.Open(key, r.ID)
			require.NoError(t, err)
			assert.Equal(t, 10, play(t, f))
			require.NoError(t, f.Close())
		}
	}
	entries, err := os.ReadDir(parent)
	require.NoError(t, err)
	assert.Len(t, entries, 1)
	for _, key := range keys {
		for _, id := range ids(t, a, key) {
			require.NoError(t, a.Delete(key, id))
		}
	}
	assert.Empty(t, files(t, a.cfg.Dir))
	for _, key := range []hub.Key{{}, {App: "x"}, {Name: "x"}, {App: strings.Repeat("a", 2000), Name: "x"}, {App: strings.Repeat("a/", 500), Name: "x"}} {
		_, err := a.Create(key, start, nil)
		assert.Error(t, err)
		_, err = a.Recording(key, "x")
		assert.ErrorIs(t, err, ErrNotFound)
	}
}

func TestHostileIDs(t *testing.T) {
	a, _ := open(t, Config{Dir: t.TempDir()})
	id := record(t, a, me, start).ID
	for _, bad := range []string{"", ".", "..", "../me/" + id, "/" + id, id + ".flv", id + "/", id + "\x00", "\xff", strings.Repeat("x", 10_000), ".lock", "*", "CON"} {
		_, err := a.Recording(me, bad)
		assert.ErrorIs(t, err, ErrNotFound, bad)
		_, _, err = a.Open(me, bad)
		assert.ErrorIs(t, err, ErrNotFound, bad)
		assert.ErrorIs(t, a.Delete(me, bad), ErrNotFound, bad)
		assert.ErrorIs(t, a.Pin(me, bad, true), ErrNotFound, bad)
	}
	assert.ErrorIs(t, a.Delete(me, Latest), ErrNotFound, "what to delete has a name")
}

func TestFoldersThatCannotBeOpened(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for _, at := range []string{file, filepath.Join(file, "x"), "/dev/null/x", "/proc/sluice", "/proc/self"} {
		_, err := Open(Config{Dir: at})
		require.Error(t, err)
		assert.Contains(t, err.Error(), "archive: "+at+": ")
		assert.Equal(t, 1, strings.Count(err.Error(), at), "the folder is named once: %v", err)
	}
}

// A second process is told that the folder is taken.
func TestTwoProcesses(t *testing.T) {
	if dir := os.Getenv("ARCHIVE_TEST_DIR"); dir != "" {
		a, err := Open(Config{Dir: dir})
		if err == nil {
			a.Close()
			t.Log("second process: opened")
			return
		}
		t.Logf("second process: %v, %v", errors.Is(err, ErrLocked), err)
		return
	}
	a, _ := open(t, Config{Dir: t.TempDir()})
	second := func() string {
		cmd := exec.Command(os.Args[0], "-test.run=^TestTwoProcesses$", "-test.v")
		cmd.Env = append(os.Environ(), "ARCHIVE_TEST_DIR="+a.cfg.Dir)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		return string(out)
	}
	assert.Contains(t, second(), "second process: true, archive: "+a.cfg.Dir+": the folder is in use by another process")
	_, err := Open(a.cfg)
	assert.ErrorIs(t, err, ErrLocked)
	require.NoError(t, a.Close())
	assert.Contains(t, second(), "second process: opened")
}

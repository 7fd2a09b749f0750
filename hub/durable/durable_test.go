package durable

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestReplace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	holds := func(want string) {
		t.Helper()
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		assert.Equal(t, want, string(text))
		files, err := os.ReadDir(dir)
		require.NoError(t, err)
		assert.Len(t, files, 1, "nothing is left behind")
		if runtime.GOOS != "windows" {
			info, err := files[0].Info()
			require.NoError(t, err)
			assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
		}
	}
	require.NoError(t, Replace(path, []byte("one")))
	holds("one")
	require.NoError(t, os.WriteFile(path+".new", []byte("left by a crash, and longer"), 0o644))
	require.NoError(t, Replace(path, []byte("two")))
	holds("two")

	// What fails leaves the file as it was.
	require.NoError(t, os.Mkdir(path+".new", 0o700))
	assert.Error(t, Replace(path, []byte("three")))
	require.NoError(t, os.Remove(path+".new"))
	holds("two")
	folder := filepath.Join(dir, "folder")
	require.NoError(t, os.MkdirAll(filepath.Join(folder, "x"), 0o700))
	assert.Error(t, Replace(folder, []byte("four")), "a folder is in the way")
	require.NoError(t, os.RemoveAll(folder))
	holds("two")
	assert.ErrorIs(t, Replace(filepath.Join(dir, "none", "file"), nil), os.ErrNotExist)
}

// A folder is one process's, and nobody's when that has died.
func TestLock(t *testing.T) {
	if dir := os.Getenv("DURABLE_TEST_DIR"); dir != "" {
		if _, err := Lock(dir, "lock"); err != nil {
			t.Fatal(err)
		}
		os.Exit(0) // without closing it
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestLock$")
	cmd.Env = append(os.Environ(), "DURABLE_TEST_DIR="+dir)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	if _, err = Lock(filepath.Join(dir, "none"), "lock"); !assert.ErrorIs(t, err, os.ErrNotExist) {
		return
	}
	lock, err := Lock(dir, "lock")
	require.NoError(t, err)
	if _, err = Lock(dir, "lock"); err == nil {
		t.Skip("this system has no such locks")
	}
	assert.ErrorIs(t, err, ErrLocked)
	require.NoError(t, lock.Close())
	lock, err = Lock(dir, "lock")
	require.NoError(t, err)
	require.NoError(t, lock.Close())
}

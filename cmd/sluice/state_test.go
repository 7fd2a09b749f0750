package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A folder of state is one process's: two would write over each other's bans and events. It may
// be the folder of the recordings, too.
func TestStateIsOfOneProcess(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("folders are not locked there")
	}
	dir := t.TempDir()
	environ := []string{"SLUICE_RTMP_ADDR=127.0.0.1:0", "SLUICE_HTTP_ADDR=127.0.0.1:0", "SLUICE_STATE_DIR=" + dir, "SLUICE_RECORD_DIR=" + dir}
	out, stop := start(t, environ...)
	out.find(t, `Sluice .* is ready`)
	var stderr bytes.Buffer
	assert.Equal(t, exitUsage, run(t.Context(), nil, environ[:3], io.Discard, &stderr))
	assert.Equal(t, "sluice: cannot start: SLUICE_STATE_DIR=\""+dir+"\": the folder is in use by another process\n", stderr.String())
	assert.Equal(t, exitOK, stop())
	out, stop = start(t, environ...)
	out.find(t, `Sluice .* is ready`)
	assert.Equal(t, exitOK, stop())
}

// The salt is the same after a restart, and one that is damaged is not replaced: bans would be
// of nobody.
func TestSalt(t *testing.T) {
	dir := t.TempDir()
	salt, err := loadSalt(dir)
	require.NoError(t, err)
	assert.Len(t, salt, saltSize)
	same, err := loadSalt(dir)
	require.NoError(t, err)
	assert.Equal(t, salt, same)
	other, err := loadSalt("")
	require.NoError(t, err)
	assert.NotEqual(t, salt, other)
	require.NoError(t, os.Remove(filepath.Join(dir, "salt")))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "salt.new"), salt[:5], 0o600)) // a crash as it was made
	_, err = loadSalt(dir)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "salt"), salt[:5], 0o600))
	_, err = loadSalt(dir)
	assert.ErrorContains(t, err, "is damaged: it has 5 bytes and not 32")
}

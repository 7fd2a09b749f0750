package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestGather(t *testing.T) {
	modules := t.TempDir()
	for _, l := range licensed {
		dir := filepath.Join(modules, l.name)
		require.NoError(t, os.Mkdir(dir, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, l.file), []byte("\nterms of "+l.name+"\n\n"), 0o644))
	}
	text, err := gather(modules)
	require.NoError(t, err)
	assert.Equal(t, "==== mpegts.js ====\n\nterms of mpegts.js\n\n"+
		"==== es6-promise ====\n\nterms of es6-promise\n\n"+
		"==== events ====\n\nterms of events\n\n", string(text))

	require.NoError(t, os.Remove(filepath.Join(modules, "events", "LICENSE")))
	_, err = gather(modules)
	require.ErrorIs(t, err, fs.ErrNotExist)
	assert.Contains(t, err.Error(), "licence of events")
}

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
		"==== events ====\n\nterms of events\n\n"+
		"==== lean-qr ====\n\nterms of lean-qr\n\n", string(text))

	require.NoError(t, os.Remove(filepath.Join(modules, "events", "LICENSE")))
	_, err = gather(modules)
	require.ErrorIs(t, err, fs.ErrNotExist)
	assert.Contains(t, err.Error(), "licence of events")
}

func TestCorrect(t *testing.T) {
	in := []byte("a;" + corrections[0].wrong + ";b;" + corrections[1].wrong + ";c")
	out, err := correct(in)
	require.NoError(t, err)
	assert.Equal(t, notice+"a;"+corrections[0].right+";b;"+corrections[1].right+";c", string(out))

	_, err = correct(append(in, corrections[1].wrong...))
	assert.ErrorContains(t, err, "2 places")
	_, err = correct([]byte("another version"))
	assert.ErrorContains(t, err, "0 places")
}

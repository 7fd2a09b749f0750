//go:build unix

package certificate

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A file that becomes a named pipe between the look at what it is and its opening holds up nothing.
func TestFileBecomesAPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, syscall.Mkfifo(path, 0o600))
	_, err := readBounded(path)
	assert.ErrorIs(t, err, errNoFile)
}

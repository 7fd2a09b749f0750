package hub

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A viewer that is closed between the end of its stream and its way to the next
// one does not arrive there, where nobody would close it again.
func TestClosedViewerIsNotAttached(t *testing.T) {
	h := New(Config{})
	v, err := h.Watch(h.NewSession(RoleWatch, Key{"live", "demo"}, Client{}), WatchOptions{})
	require.NoError(t, err)
	v.Close()
	assert.ErrorIs(t, h.attach(v, Key{"live", "demo"}), errViewerClosed)
	assert.Empty(t, h.Streams())
	assert.NoError(t, h.Shutdown(t.Context()))
}

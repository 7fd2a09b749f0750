//lint:file-ignore SA1019 the WebSocket library is given, and final at this version.

package e2e

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"nhooyr.io/websocket"
)

// ends are viewers whose end can be looked at more closely than in a browser.
type ends struct {
	t      *testing.T
	socket *socketPull
	http   *pull
}

// ends has two of them come, who have data when it returns.
func (a *audience) ends() *ends {
	a.t.Helper()
	e := &ends{a.t, a.s.recordSocket(a.key), a.s.pull(curl, a.key)}
	e.http.reaches(500)
	until(a.t, "the WebSocket has data", func() bool { return read(a.t, e.socket.path).length() >= 500 })
	return e
}

// codecChanged waits for the end, which must be a proper one: the last chunk over
// HTTP, and over WebSocket a close that says why.
func (e *ends) codecChanged() {
	e.t.Helper()
	e.http.done()
	e.socket.wait()
	var end websocket.CloseError
	require.True(e.t, errors.As(e.socket.err, &end), e.socket.err)
	assert.Equal(e.t, "codec changed", end.Reason)
}

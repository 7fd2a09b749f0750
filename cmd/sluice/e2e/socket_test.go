//lint:file-ignore SA1019 the WebSocket library is given, and final at this version.

package e2e

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"nhooyr.io/websocket"
)

// socketPull records a stream over WebSocket until it ends.
type socketPull struct {
	t     *testing.T
	path  string
	err   error // with which it ended, once ended
	ended chan struct{}
}

// recordSocket starts to record a stream over WebSocket.
func (s *server) recordSocket(key string) *socketPull {
	s.t.Helper()
	p := &socketPull{t: s.t, path: filepath.Join(s.t.TempDir(), "socket.flv"), ended: make(chan struct{})}
	file, err := os.Create(p.path)
	require.NoError(s.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	conn, _, err := websocket.Dial(ctx, s.flvURL("ws", key), nil)
	require.NoError(s.t, err)
	conn.SetReadLimit(1 << 24)
	go func() {
		defer close(p.ended)
		defer file.Close()
		for p.err == nil {
			var message []byte
			if _, message, p.err = conn.Read(ctx); p.err == nil {
				_, p.err = file.Write(message)
			}
		}
	}()
	s.t.Cleanup(func() {
		conn.CloseNow()
		cancel()
		<-p.ended
	})
	return p
}

// wait waits for the stream's proper end and returns the file.
func (p *socketPull) wait() string {
	p.t.Helper()
	until(p.t, "the WebSocket is closed", func() bool {
		select {
		case <-p.ended:
			return true
		default:
			return false
		}
	})
	assert.Equal(p.t, websocket.StatusNormalClosure, websocket.CloseStatus(p.err), p.err)
	return p.path
}

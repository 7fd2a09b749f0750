package rtmp

import (
	"bytes"
	"log/slog"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// deadPeer is a connection that the system gave up: it says so once.
type deadPeer struct {
	tape
	told bool
}

func (v *deadPeer) Read(p []byte) (int, error) {
	if len(v.input) == 0 && !v.told {
		v.told = true
		return 0, &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ETIMEDOUT)}
	}
	return v.tape.Read(p)
}

// TryRead, and what follows, make it a pool of one connection.
func (v *deadPeer) TryRead(p []byte) (int, error) { return v.Read(p) }
func (*deadPeer) Wait(time.Time)                  {}
func (*deadPeer) Wake()                           {}

// A dead peer is not logged as one that closed.
func TestDeadPeer(t *testing.T) {
	for name, poll := range map[string]func(*deadPeer) func(net.Conn, func()) (Polled, error){
		"goroutine": func(*deadPeer) func(net.Conn, func()) (Polled, error) { return nil },
		"pool": func(v *deadPeer) func(net.Conn, func()) (Polled, error) {
			return func(net.Conn, func()) (Polled, error) { return pooled{v}, nil }
		},
	} {
		t.Run(name, func(t *testing.T) {
			var log logBuffer
			v := &deadPeer{tape: tape{input: bytes.Clone(hello), piece: 4096}}
			srv := &Server{Handler: &rig{}, Logger: slog.New(slog.NewTextHandler(&log, debugLevel)), Poll: poll(v)}
			assert.True(t, newSession(srv, v, 1).run())
			reason, _ := log.endLine(t)
			assert.Equal(t, `"client vanished"`, reason)
		})
	}
}

// pooled leaves closing to the session.
type pooled struct{ *deadPeer }

func (pooled) Close() {}

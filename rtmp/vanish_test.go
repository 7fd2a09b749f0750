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

// vanished is a connection that the system gave up: it says so once.
type vanished struct {
	tape
	told bool
}

func (v *vanished) Read(p []byte) (int, error) {
	if len(v.input) == 0 && !v.told {
		v.told = true
		return 0, &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ETIMEDOUT)}
	}
	return v.tape.Read(p)
}

// TryRead, and what follows, make it a pool of one connection.
func (v *vanished) TryRead(p []byte) (int, error) { return v.Read(p) }
func (*vanished) Wait(time.Time)                  {}
func (*vanished) Wake()                           {}

// Those who vanished did not close.
func TestVanished(t *testing.T) {
	for name, await := range map[string]func(*vanished) func(net.Conn, func()) (Waiting, error){
		"goroutine": func(*vanished) func(net.Conn, func()) (Waiting, error) { return nil },
		"pool": func(v *vanished) func(net.Conn, func()) (Waiting, error) {
			return func(net.Conn, func()) (Waiting, error) { return pooled{v}, nil }
		},
	} {
		t.Run(name, func(t *testing.T) {
			var log logBuffer
			v := &vanished{tape: tape{input: bytes.Clone(hello), piece: 4096}}
			srv := &Server{Handler: &house{}, Logger: slog.New(slog.NewTextHandler(&log, nil)), Await: await(v)}
			assert.True(t, newSession(srv, v, 1).run())
			reason, _ := log.endLine(t)
			assert.Equal(t, `"client vanished"`, reason)
		})
	}
}

// pooled leaves closing to the session.
type pooled struct{ *vanished }

func (pooled) Close() {}

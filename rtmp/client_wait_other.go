//go:build !linux

package rtmp

import "net"

// unbuffered is for Linux.
type unbuffered struct{ Polled }

// newUnbuffered returns nil: a player's goroutine waits in a read, and holds a buffer for it.
func newUnbuffered(net.Conn) *unbuffered { return nil }

// await is never called.
func (u *unbuffered) await() error { return nil }

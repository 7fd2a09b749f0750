//go:build !linux

package fanout

import (
	"syscall"

	"sluice/hub"
)

// backlog would tell how many bytes the peer has not acknowledged.
func backlog(syscall.RawConn) (n int, ok bool) { return 0, false }

// boundUnsent would keep the kernel from taking what it can't send yet.
func boundUnsent(syscall.RawConn, int) {}

// look would tell what the system knows of a connection.
func look(syscall.RawConn, *hub.Delivery) {}

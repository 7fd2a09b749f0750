//go:build !linux

package fanout

import (
	"syscall"

	"sluice/hub"
)

// boundUnsent would keep the kernel from taking what it can't send yet.
func boundUnsent(syscall.RawConn, int) {}

// look would tell what the system knows of a connection.
func look(syscall.RawConn, *hub.Delivery) {}

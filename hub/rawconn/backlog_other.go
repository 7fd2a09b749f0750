//go:build !linux

package rawconn

import "syscall"

// Unacknowledged would tell how many bytes the peer has not acknowledged.
func Unacknowledged(syscall.RawConn) (n int, ok bool) { return 0, false }

//go:build !linux

package fanout

import "syscall"

// backlog would tell how many bytes the peer has not acknowledged.
func backlog(syscall.RawConn) (n int, ok bool) { return 0, false }

// boundUnsent would keep the kernel from taking what it can't send yet.
func boundUnsent(syscall.RawConn, int) {}

//go:build unix && !linux

package rawconn

import "syscall"

// send makes one write to a descriptor that does not block.
func send(fd int, p []byte) (int, error) {
	for {
		n, err := syscall.Write(fd, p)
		if err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}

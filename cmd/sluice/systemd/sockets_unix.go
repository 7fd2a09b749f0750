//go:build unix

package systemd

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
)

var (
	errNoSocket = errors.New("it is no socket")
	errNotTCP   = errors.New("it is no TCP socket: ListenStream= in its socket unit must be a port, or an address with a port")
	errNoListen = errors.New("it does not listen")
)

// take returns the listener of a file descriptor that was passed, which is closed then: the
// listener has one of its own, close-on-exec like all that Go opens. What is no such socket is left
// as it is, since it may be somebody else's, such as the Go runtime's.
func take(fd int) (net.Listener, error) {
	if err := check(fd); err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "passed socket")
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("it cannot be used: %w", err)
	}
	return l, nil
}

// check says what a file descriptor lacks to be a TCP socket that listens.
func check(fd int) error {
	kind, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_TYPE)
	switch {
	case errors.Is(err, syscall.EBADF):
		return fmt.Errorf("there is no file descriptor %d", fd)
	case err != nil:
		return errNoSocket
	case kind != syscall.SOCK_STREAM:
		return errNotTCP
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		return errNotTCP
	}
	switch name := name.(type) {
	case *syscall.SockaddrInet4, *syscall.SockaddrInet6:
	case *syscall.SockaddrUnix:
		return fmt.Errorf("%w, not %.*q", errNotTCP, maxShownName, strings.TrimPrefix(name.Name, "\x00"))
	default:
		return errNotTCP
	}
	if on, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN); err != nil || on == 0 {
		return errNoListen
	}
	return nil
}

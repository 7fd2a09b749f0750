//go:build !unix

package systemd

import (
	"errors"
	"net"
)

// take takes nothing: there is no systemd on this system.
func take(int) (net.Listener, error) { return nil, errors.ErrUnsupported }

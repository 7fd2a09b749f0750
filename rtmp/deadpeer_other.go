//go:build !linux

package rtmp

import (
	"net"
	"time"
)

// boundDeadPeer is for Linux. Elsewhere the probes hold that Go's listeners switch on.
func boundDeadPeer(net.Conn, time.Duration) error { return nil }

//go:build !linux

package rtmp

import (
	"net"
	"time"
)

// boundDeadPeer is for Linux. Elsewhere the probes hold that Go's listeners switch on.
func boundDeadPeer(net.Conn, time.Duration) error { return nil }

// hungUp knows nothing here: a client that leaves while its session reads nothing is
// noticed when the session reads again.
func hungUp(net.Conn) error { return nil }

// received would tell how many bytes wait to be read.
func received(net.Conn) int { return 0 }

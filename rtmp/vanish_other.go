//go:build !linux

package rtmp

import (
	"net"
	"time"
)

// boundVanish is for Linux. Elsewhere the probes hold that Go's listeners switch on.
func boundVanish(net.Conn, time.Duration) error { return nil }

//go:build !linux

package systemd

import "time"

// monotonic knows no clock: there is no systemd on this system.
func monotonic() (time.Duration, bool) { return 0, false }

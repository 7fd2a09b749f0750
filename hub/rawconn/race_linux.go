//go:build linux && race

package rawconn

import "syscall"

// tellRaceDetector makes what follows a read of the other end follow what came
// before this write, as every write by package syscall does. This one fails.
func tellRaceDetector() { syscall.Write(-1, nil) }

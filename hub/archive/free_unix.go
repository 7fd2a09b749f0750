//go:build darwin || linux

package archive

import (
	"os"

	"golang.org/x/sys/unix"
)

// freeBytes returns how many bytes of a file's file system this process may still use.
func freeBytes(f *os.File) (bytes int64, known bool, err error) {
	var s unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &s); err != nil {
		return 0, false, err
	}
	return int64(s.Bavail) * int64(s.Bsize), true, nil
}

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

// totalBytes returns how many bytes a file's file system has.
func totalBytes(f *os.File) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &s); err != nil {
		return 0, err
	}
	return int64(s.Blocks) * int64(s.Bsize), nil
}

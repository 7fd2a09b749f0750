package archive

import "golang.org/x/sys/unix"

// Sync has the system bring everything to the disk that was written on the folder's file
// system, names included. It takes as long as the disk does.
func (a *Archive) Sync() error {
	dir, err := a.root.Open(".")
	if err != nil {
		return err
	}
	defer dir.Close()
	return unix.Syncfs(int(dir.Fd()))
}

package flvfile

import (
	"io/fs"
	"os"
)

// Root returns the FS of a folder: no name leads out of it. Its handles are *os.File.
func Root(r *os.Root) FS { return root{r} }

type root struct{ *os.Root }

func (r root) OpenFile(name string, flag int, perm fs.FileMode) (Handle, error) {
	f, err := r.Root.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err // and no nil *os.File in an interface
	}
	return f, nil
}

package flvfile

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"sync"
	"time"
)

// memFS is a folder in memory, with faults on demand.
type memFS struct {
	mu    sync.Mutex
	files map[string]*memFile

	// fault, if set, is asked before each change: an operation, a name and for writes how
	// many bytes. It returns how many of them are written, and the error.
	fault    func(op, name string, n int) (int, error)
	readOnly bool
}

type memFile struct {
	mu   sync.Mutex
	name string
	b    []byte
}

func newMemFS() *memFS { return &memFS{files: map[string]*memFile{}} }

// with returns a copy of the folder that shares no bytes with it.
func (m *memFS) clone() *memFS {
	c := newMemFS()
	for name, f := range m.files {
		c.files[name] = &memFile{name: name, b: bytes.Clone(f.b)}
	}
	return c
}

func (m *memFS) put(name string, b []byte) { m.files[name] = &memFile{name: name, b: b} }

func (m *memFS) names() (names []string) {
	for name := range maps.Keys(m.files) {
		names = append(names, name)
	}
	return names
}

func (m *memFS) ask(op, name string, n int) (int, error) {
	if m.readOnly {
		return 0, fs.ErrPermission
	}
	if m.fault == nil {
		return n, nil
	}
	return m.fault(op, name, n)
}

func (m *memFS) OpenFile(name string, flag int, _ fs.FileMode) (Handle, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if flag&(os.O_WRONLY|os.O_RDWR) != 0 {
		if _, err := m.ask("open", name, 0); err != nil {
			return nil, err
		}
	}
	f := m.files[name]
	switch {
	case f == nil && flag&os.O_CREATE == 0:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	case f != nil && flag&os.O_EXCL != 0:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrExist}
	case f == nil:
		f = &memFile{name: name}
		m.files[name] = f
	case flag&os.O_TRUNC != 0:
		f.b = nil
	}
	return &memHandle{fs: m, memFile: f}, nil
}

func (m *memFS) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.ask("rename", from, 0); err != nil {
		return err
	}
	f := m.files[from]
	if f == nil {
		return fs.ErrNotExist
	}
	delete(m.files, from)
	m.files[to], f.name = f, to
	return nil
}

func (m *memFS) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.ask("remove", name, 0); err != nil {
		return err
	}
	if m.files[name] == nil {
		return fs.ErrNotExist
	}
	delete(m.files, name)
	return nil
}

type memHandle struct {
	fs *memFS
	*memFile
}

func (h *memHandle) ReadAt(b []byte, off int64) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if off < 0 {
		return 0, errors.New("negative offset")
	}
	if off >= int64(len(h.b)) {
		return 0, io.EOF
	}
	n := copy(b, h.b[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (h *memHandle) WriteAt(b []byte, off int64) (int, error) {
	n, err := h.fs.ask("write", h.name, len(b))
	h.mu.Lock()
	defer h.mu.Unlock()
	if need := int(off) + n; n > 0 && need > len(h.b) {
		h.b = append(h.b, make([]byte, need-len(h.b))...)
	}
	if n > 0 {
		copy(h.b[off:], b[:n])
	}
	return n, err
}

func (h *memHandle) Truncate(size int64) error {
	if _, err := h.fs.ask("truncate", h.name, 0); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if size < int64(len(h.b)) {
		h.b = h.b[:size:size]
	} else {
		h.b = append(h.b, make([]byte, size-int64(len(h.b)))...)
	}
	return nil
}

func (h *memHandle) Sync() error  { return nil }
func (h *memHandle) Close() error { return nil }
func (h *memHandle) Stat() (fs.FileInfo, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return memInfo{h.name, int64(len(h.b))}, nil
}

type memInfo struct {
	name string
	size int64
}

func (i memInfo) Name() string       { return i.name }
func (i memInfo) Size() int64        { return i.size }
func (i memInfo) Mode() fs.FileMode  { return 0o644 }
func (i memInfo) ModTime() time.Time { return begin }
func (i memInfo) IsDir() bool        { return false }
func (i memInfo) Sys() any           { return nil }

package flvfile

import "errors"

// Writer writes one file. One goroutine at a time calls its methods, apart from Open and
// Info, which anybody may call.
//
// It keeps no buffer of its own: there may be thousands of them.
type Writer struct{}

// Create begins a file NAME.flv.part, which must not exist yet (fs.ErrExist), nor may
// NAME.flv. The head is written at once.
func Create(fsys FS, name string, p Properties) (*Writer, error) { return nil, errors.ErrUnsupported }

// Append goes on with a finished file of ours, which becomes NAME.flv.part again. Times
// of packets go on from its end: see Writer.End.
func Append(fsys FS, name string) (*Writer, error) { return nil, errors.ErrUnsupported }

// Recover finishes NAME.flv.part after its process died: what follows its last whole tag
// is cut off, the index is completed, the head patched, the file renamed. A file without a
// single tag is removed, and fs.ErrNotExist returned.
func Recover(fsys FS, name string) (Info, error) { return Info{}, errors.ErrUnsupported }

// Headers returns metadata and codec headers that are in force at the end of the file.
func (w *Writer) Headers() []Packet { return nil }

// End returns when the next packet is due: the end of the last one, in ms. 0 in a new
// file.
func (w *Writer) End() int64 { return 0 }

// Write appends packets in one write: they are framed into scratch, which is returned, as
// it may have grown. On an error the file is cut back to its last whole tag; written tells
// how many packets stand.
func (w *Writer) Write(scratch []byte, packets []Packet) (_ []byte, written int, err error) {
	return scratch, 0, errors.ErrUnsupported
}

// Gap notes that the next packet comes after something that is missing, ms long.
func (w *Writer) Gap(ms int64) {}

// WriteIndex appends to the index file what is due. What is not written there when the
// process dies is found again by Recover.
func (w *Writer) WriteIndex() error { return errors.ErrUnsupported }

// Sync has the system write everything to the disk that Write was given.
func (w *Writer) Sync() error { return errors.ErrUnsupported }

// Finish patches the head, completes the index and renames the file. Readers who have it
// open find its end. A file without a single packet is removed, and fs.ErrNotExist
// returned.
func (w *Writer) Finish() (Info, error) { return Info{}, errors.ErrUnsupported }

// Info returns what is known of the file by now.
func (w *Writer) Info() Info { return Info{} }

// Open opens the file for reading while it is written.
func (w *Writer) Open() (*File, error) { return nil, errors.ErrUnsupported }

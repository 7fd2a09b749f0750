package flvfile

import (
	"context"
	"errors"
	"io"
	"time"
)

// File is a file that is read, by any number of goroutines at a time. It must be closed
// when nobody reads it any more.
type File struct{}

// Open opens a finished file NAME.flv: one of ours, or any FLV file. Where there is no
// index beside it, or that does not fit, it is made by a scan of the tag headers when it
// is first needed, and kept beside the file if that can be written.
func Open(fsys FS, name string) (*File, error) { return nil, errors.ErrUnsupported }

// ReadInfo returns what the head of NAME.flv says, without opening an index.
func ReadInfo(fsys FS, name string) (Info, error) { return Info{}, errors.ErrUnsupported }

// Info returns what is known of the file by now.
func (f *File) Info() Info { return Info{} }

// Growing reports whether the file is still written.
func (f *File) Growing() bool { return false }

// Close closes the file.
func (f *File) Close() error { return errors.ErrUnsupported }

// Cursor returns a cursor at the beginning of the file.
func (f *File) Cursor() *Cursor { return nil }

// Cursor is a position in a file, for one goroutine at a time. It needs no closing.
type Cursor struct{}

// SeekTo puts the cursor at the key frame at or before a time, the first one if there is none
// before; in a file of sound at the last packet of sound at or before it. It returns the
// time of that packet. Next then gives that packet. A time behind the end is ErrBeyond, and
// moves nothing.
func (c *Cursor) SeekTo(ms int64) (at int64, err error) { return 0, errors.ErrUnsupported }

// Headers returns the metadata (its body as it is in the file, or as Content gives it), and
// the codec headers in force at the cursor, in the order in which a player needs them.
// Their times are that of the cursor's next packet.
func (c *Cursor) Headers() ([]Packet, error) { return nil, errors.ErrUnsupported }

// Next returns the next packet, headers that change included but not those before the
// first packet, which Headers gives; its data is valid until the next call. At the end of
// the file it is io.EOF, or ErrNotYet while the file is written.
func (c *Cursor) Next() (Packet, error) { return Packet{}, errors.ErrUnsupported }

// Offset returns the position of the next packet's tag in the file, in bytes.
func (c *Cursor) Offset() int64 { return 0 }

// Wait waits, after ErrNotYet, for something that Next can return, or for the end of the file, or
// of ctx, whose error it then returns.
func (c *Cursor) Wait(ctx context.Context) error { return errors.ErrUnsupported }

// Content is the file as bytes, as it was at one moment. While it grows, and where a file
// from elsewhere has no key frames in its metadata, the head is made up in memory, so that
// players can seek by it; the rest is the file as it is.
type Content struct {
	Size    int64
	ETag    string // strong, with its quotes; another one for other bytes
	ModTime time.Time

	io.ReaderAt // of all bytes. Reads that lie behind the head go to the file directly
	// Head is how many bytes are made up; 0 where the whole content is the file as it is.
	Head int64
}

// Content returns the bytes of the file as it is now, with a true duration and as many key
// frames as its head has room for.
func (f *File) Content() (*Content, error) { return nil, errors.ErrUnsupported }

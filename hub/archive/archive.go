// Package archive is the folder with the recordings: which there are, and the way to
// each of them. Package flvfile has what is in one file.
//
//	DIR/APP/NAME/ID.flv
//
// APP may be several folders. What a file system cannot bear in a segment is
// percent-encoded. ID is the time at which the recording began, 20261128T170500.123Z; a
// second one of that millisecond is 20261128T170500.123Z-2. Files that were put there by
// hand count with whatever name they have.
//
// Everything is reached through an os.Root: no name leads out of the folder.
package archive

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"sluice/flv/amf"
	"sluice/hub"
	"sluice/hub/archive/flvfile"
)

// Latest stands for the ID of the newest recording of a stream.
const Latest = "latest"

// State is how far a recording is.
type State string

// States.
const (
	StateRecording State = "recording"
	StateFinished  State = "finished"
	StateDiskFull  State = "disk full" // finished, because the disk was full
)

// Recording is what is known of one recording without a look at the disk.
type Recording struct {
	Key hub.Key
	ID  string
	flvfile.Info
	State   State
	Pinned  bool      // it is never deleted to make room
	Foreign bool      // it was put there by hand
	Changed time.Time // when it was written last
}

// Config says where recordings stand and how many are kept.
type Config struct {
	Dir string // must exist, or be made; must be writable
	// Keep, KeepBytes and KeepBytesPerStream bound the finished recordings: by age since their end, in bytes
	// together, and in bytes of one stream. The oldest go first. 0 is no bound.
	Keep               time.Duration
	KeepBytes          int64
	KeepBytesPerStream int64
	// MinFree is how many bytes of the file system are to stay free.
	MinFree int64
	Logger  *slog.Logger // nil for slog.Default
	// FS replaces the folder's files, for tests that need faults; nil for those of Dir.
	FS flvfile.FS
}

// Archive is an open folder. Its methods may be called from any goroutine.
type Archive struct{}

// ErrNotFound says that there is no such recording.
var ErrNotFound = errors.New("archive: no such recording")

// ErrInUse says that a recording cannot be deleted because it is being written.
var ErrInUse = errors.New("archive: the recording is being written")

// Open opens the folder, finishes what a process that died has left behind, and reads what
// there is. Only one process may have it open; another is told so.
func Open(cfg Config) (*Archive, error) { return nil, errors.ErrUnsupported }

// Close lets go of the folder. Nothing is written by then.
func (a *Archive) Close() error { return nil }

// Recordings returns recordings, the newest first: of one stream, or of all with the zero
// Key. after is the next of the page before, empty for the first one; next is empty
// behind the last.
func (a *Archive) Recordings(key hub.Key, after string, limit int) (page []Recording, next string, err error) {
	return nil, "", errors.ErrUnsupported
}

// Recording returns one recording; id may be Latest. The error is ErrNotFound.
func (a *Archive) Recording(key hub.Key, id string) (Recording, error) {
	return Recording{}, ErrNotFound
}

// Open opens a recording, finished or not, for reading; id may be Latest. Players of one file share what is known of it. The error
// is ErrNotFound, or why the file cannot be read.
func (a *Archive) Open(key hub.Key, id string) (*flvfile.File, Recording, error) {
	return nil, Recording{}, ErrNotFound
}

// Delete removes a finished recording. Who plays it goes on to its end.
func (a *Archive) Delete(key hub.Key, id string) error { return ErrNotFound }

// Pin keeps a recording from being deleted to make room, or no longer.
func (a *Archive) Pin(key hub.Key, id string, on bool) error { return ErrNotFound }

// Create begins a recording.
func (a *Archive) Create(key hub.Key, begin time.Time, metadata amf.ECMAArray) (*Writer, error) {
	return nil, errors.ErrUnsupported
}

// Append goes on with the newest recording of a stream, ErrNotFound if there is none or it
// is none of ours.
func (a *Archive) Append(key hub.Key) (*Writer, error) { return nil, errors.ErrUnsupported }

// Writer is a recording that is written.
type Writer struct {
	*flvfile.Writer
}

// Recording returns what is known of it by now.
func (w *Writer) Recording() Recording { return Recording{} }

// Finish finishes the file with the given state, StateFinished or StateDiskFull.
func (w *Writer) Finish(state State) (Recording, error) { return Recording{}, nil }

// MakeRoom deletes the oldest finished recordings beyond what Config keeps, and further
// ones while less than MinFree is free. It returns how many bytes more would have to be
// free, 0 if there is room.
func (a *Archive) MakeRoom(ctx context.Context) (short int64, err error) { return 0, nil }

// Usage is what the folder takes.
type Usage struct {
	Recordings int
	Bytes      int64
	Free       int64 // of its file system
}

// Usage returns what the folder takes.
func (a *Archive) Usage() Usage { return Usage{} }

// Sync has the system bring everything that was written to the disk.
func (a *Archive) Sync() error { return nil }

// Package flvfile is one recording on disk: an FLV file whose first tag has room for an
// index of key frames, and the index of all of them in a file beside it.
//
//	NAME.flv.part        while it is written; any FLV player takes it as it is
//	NAME.flv             when it is finished
//	NAME.idx             the index: records of 16 bytes, only ever appended to
//
// The file:
//
//	FLV header
//	onMetaData     its body always has HeadSize bytes: duration, filesize, …, properties of
//	               the publisher, keyframes{times, filepositions}; what is left is filled
//	               up. It is written once at the beginning and once at the end, in place,
//	               so finishing costs the same for every size, and no other byte ever
//	               moves
//	tags           everything as it was sent; the first has time 0
//
// The package knows files and FLV; it knows neither streams nor where files stand.
//
// Where to read on: head.go has the first tag, record.go the index and its records,
// summary.go what is learnt of a file while its tags go by. Writer writes one, Recover
// (recover.go) finishes what a process left behind, File and Cursor read it, Content
// gives it as bytes. Writer and its readers meet in shared.go.
package flvfile

import (
	"errors"
	"io"
	"io/fs"
	"time"

	"sluice/flv"
	"sluice/flv/amf"
)

// What names of files end in.
const (
	Suffix      = ".flv"
	PartSuffix  = ".flv.part"
	IndexSuffix = ".idx"
)

// HeadSize is the size of the body of the first tag, in bytes.
const HeadSize = 64 << 10

// FS is where files stand; Root makes one of an *os.Root. Names have slashes.
type FS interface {
	// OpenFile takes the flags and errors of os.OpenFile.
	OpenFile(name string, flag int, perm fs.FileMode) (Handle, error)
	Rename(from, to string) error
	Remove(name string) error
}

// Handle is an open file; an *os.File is one.
type Handle interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	Sync() error
	Stat() (fs.FileInfo, error)
}

// Errors; test with errors.Is. A file that is no FLV file, or stops being one, is
// flv.ErrFormat.
var (
	// ErrNotYet is the end of a file that is still written.
	ErrNotYet = errors.New("flvfile: nothing more yet")
	// ErrBeyond says that a position is behind the end of the file.
	ErrBeyond = errors.New("flvfile: position is behind the end")
	// ErrGrows says that something can be had of a finished file only.
	ErrGrows = errors.New("flvfile: the file is still written")
	// ErrForeign says that a file was not written by this package.
	ErrForeign = errors.New("flvfile: the file comes from elsewhere")
)

// Info is what a file says of itself.
type Info struct {
	App, Name string        // of its stream, as it was published; empty in a file from elsewhere
	Begin     time.Time     // when its first packet came, UTC; zero if the file does not say
	Duration  time.Duration // up to the end of the last frame
	Size      int64         // bytes
	Video     flv.Codec
	Audio     flv.Codec
	Width     int
	Height    int
	Gaps      int           // where something is missing that a slow disk cost
	GapTime   time.Duration // of all of them together
}

// Packet is one tag of a file.
type Packet struct {
	flv.Tag       // its timestamp is Time, modulo 2^32
	Time    int64 // ms since the first packet of the file
	Header  bool  // metadata or a codec header, in force from here on
	Key     bool  // players can start here: a video key frame, or any frame of a file of sound
}

// Properties are what a file's metadata says at its beginning, besides what this package
// adds.
type Properties struct {
	App, Name string // together at most maxNames bytes
	Begin     time.Time
	Metadata  amf.ECMAArray // of the publisher; what is not a finite number, a boolean or a text is left out
}

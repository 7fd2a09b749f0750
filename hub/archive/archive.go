// Package archive is the folder with the recordings: which there are, and the way to
// each of them. Package flvfile has what is in one file.
//
//	DIR/APP/NAME/ID.flv
//
// APP may be several folders. What a file system cannot bear in a segment is
// percent-encoded (names.go). ID is the time at which the recording began,
// 20261128T170500.123Z; a second one of that millisecond is 20261128T170500.123Z-2. Files
// that were put there by hand count with whatever name they have. An empty file ID.pin
// beside says that a recording is pinned.
//
// A recording:
//
//	Create ─▶ recording ──Finish──▶ finished ────────┐
//	            ▲  │  └───Finish──▶ disk full ───────┤
//	            │  │                  │              ├──Delete, MakeRoom, by hand──▶ deleted
//	            │  │   Append         │              │
//	            └──┼──────────────────┴─── finished ─┘
//	               │                                 ▲
//	               └─the process dies─▶ ID.flv.part ─┘ at the next Open
//
// That the disk was full is forgotten when the process ends.
//
// The catalogue of all recordings is in memory, and lists are made from it. It is filled
// at Open, and kept by what this process does; what others do in the folder is noticed
// when something is asked for that is not there, and every ten seconds (scan.go).
//
// Everything is reached through an os.Root: no name leads out of the folder.
package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"sluice/hub"
	"sluice/hub/archive/flvfile"
	"sluice/hub/durable"
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
	Key          hub.Key
	ID           string
	flvfile.Info // its Begin is that of ID; in a file from elsewhere what its end and duration make of it
	State        State
	Pinned       bool      // it is never deleted to make room
	Foreign      bool      // it was put there by hand
	Changed      time.Time // when it was written last
	// Place is where it stands in the list, the after of what follows it; only in what Recordings returns.
	Place string
}

// Config says where recordings stand and how many are kept.
type Config struct {
	Dir string // is made if it does not exist; must be writable
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
type Archive struct {
	cfg  Config
	log  *slog.Logger
	root *os.Root
	fs   flvfile.FS
	lock *os.File // held as long as the folder is open
	// free returns how many bytes of the file system are free; known is false where the
	// system does not tell.
	free func() (bytes int64, known bool, err error)

	closing sync.Once
	stop    context.CancelFunc // ends watch
	stopped chan struct{}      // closed when watch has ended
	room    chan struct{}      // holds something while MakeRoom is at work
	pinning chan struct{}      // holds something while Pin is at work

	mu       sync.Mutex // guards what follows and all that hangs on it; nothing is read or written meanwhile
	streams  map[hub.Key]*stream
	folders  map[string]*folder
	byTime   []*entry // the oldest first
	bytes    int64    // of those that are finished
	writers  map[*Writer]struct{}
	reserved map[string]bool // paths of recordings that are about to begin
	seq      uint64
	loading  bool     // byTime is made when everything is there
	finished []placed // by load
}

// placed says which recording is meant.
type placed struct {
	key hub.Key
	id  string
}

// Errors; test with errors.Is.
var (
	// ErrNotFound says that there is no such recording.
	ErrNotFound = errors.New("archive: no such recording")
	// ErrInUse says that a recording cannot be deleted, or gone on with, because it is
	// being written.
	ErrInUse = errors.New("archive: the recording is being written")
	// ErrLocked says that another process has the folder open.
	ErrLocked = durable.ErrLocked
)

// Open opens the folder, finishes what a process that died has left behind, and reads what
// there is. Only one process may have it open; another gets ErrLocked (on Unix). The error
// names the folder and the reason. Close must be called.
func Open(cfg Config) (*Archive, error) {
	a := &Archive{
		cfg:      cfg,
		log:      cmp.Or(cfg.Logger, slog.Default()),
		stopped:  make(chan struct{}),
		room:     make(chan struct{}, 1),
		pinning:  make(chan struct{}, 1),
		streams:  map[hub.Key]*stream{},
		folders:  map[string]*folder{},
		writers:  map[*Writer]struct{}{},
		reserved: map[string]bool{},
		loading:  true,
	}
	if err := a.openFolder(); err != nil {
		return nil, fmt.Errorf("archive: %s: %w", cfg.Dir, err)
	}
	if err := a.load(); err != nil {
		a.closeFolder()
		return nil, fmt.Errorf("archive: %s: %w", cfg.Dir, err)
	}
	ctx, stop := context.WithCancel(context.Background())
	a.stop = stop
	go func() {
		defer close(a.stopped)
		a.watch(ctx)
	}()
	return a, nil
}

// Modes of what is made here. flvfile makes the files.
const (
	folderMode = 0o750
	fileMode   = 0o640
)

// Files of our own in DIR.
const (
	lockName  = ".lock"
	probeName = ".probe"
)

// openFolder opens and locks the folder, and tries whether it can be written.
func (a *Archive) openFolder() (err error) {
	if err := os.MkdirAll(a.cfg.Dir, folderMode); err != nil {
		return reason(err)
	}
	if a.root, err = os.OpenRoot(a.cfg.Dir); err != nil {
		return reason(err)
	}
	defer func() {
		if err != nil {
			a.closeFolder()
		}
	}()
	probe, err := a.root.OpenFile(probeName, os.O_CREATE|os.O_WRONLY, fileMode)
	if err != nil {
		return fmt.Errorf("not writable: %w", reason(err))
	}
	probe.Close()
	if err := a.root.Remove(probeName); err != nil {
		return fmt.Errorf("not writable: %w", reason(err))
	}
	if a.lock, err = a.root.OpenFile(lockName, os.O_CREATE|os.O_RDWR, fileMode); err != nil {
		return fmt.Errorf("not writable: %w", reason(err))
	}
	if err := durable.LockFile(a.lock); err != nil {
		return err
	}
	a.fs = a.cfg.FS
	if a.fs == nil {
		a.fs = flvfile.Root(a.root)
	}
	a.free = func() (int64, bool, error) { return freeBytes(a.lock) }
	return nil
}

// reason takes the path off an error: ours has that of the folder already.
func reason(err error) error {
	var at *os.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

func (a *Archive) closeFolder() {
	if a.lock != nil {
		a.lock.Close()
	}
	a.root.Close()
}

// Close lets go of the folder. Nothing is written by then; files that are open can be
// read to their ends.
func (a *Archive) Close() error {
	a.closing.Do(func() {
		a.stop()
		<-a.stopped
		a.closeFolder()
	})
	return nil
}

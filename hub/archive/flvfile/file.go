package flvfile

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"sluice/flv"
)

// File is a file that is read, by any number of goroutines at a time. It must be closed
// when nobody reads it any more.
//
// A finished file stays what it was when it was opened, also if it is deleted, or Append
// goes on with it.
type File struct {
	shared *shared
	closed atomic.Bool
}

// Open opens a finished file NAME.flv: one of ours, or any FLV file. Where there is no index
// beside it, or that does not fit, it is made by a scan of the tag headers when it is first
// needed, and kept beside the file if that can be written. The error is flv.ErrFormat where
// no FLV file stands.
func Open(fsys FS, name string) (*File, error) {
	f, err := fsys.OpenFile(name+Suffix, os.O_RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("flvfile: opening: %w", err)
	}
	_, h, err := openHead(f)
	if err == nil && !h.ours {
		err = h.explore(f)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("flvfile: opening: %w", err), f.Close())
	}
	return &File{shared: &shared{fsys: fsys, name: name, file: f, users: 1, head: h}}, nil
}

// ReadInfo returns what the head of NAME.flv says, without opening an index. The
// duration of a file from elsewhere is that of its last tag, if it has PreviousTagSize.
func ReadInfo(fsys FS, name string) (Info, error) {
	f, err := fsys.OpenFile(name+Suffix, os.O_RDONLY, 0)
	if err != nil {
		return Info{}, fmt.Errorf("flvfile: reading: %w", err)
	}
	defer f.Close()
	i, err := f.Stat()
	if err != nil {
		return Info{}, fmt.Errorf("flvfile: reading: %w", err)
	}
	if !i.Mode().IsRegular() {
		return Info{}, fmt.Errorf("flvfile: reading: %w", errNotRegular)
	}
	const enough = 4 << 10 // all that is ours stands in it
	h, err := readHead(f, i.Size(), enough)
	if err == nil {
		h.Size = i.Size()
		if !h.ours {
			err = h.explore(f)
		}
	}
	if err != nil {
		return Info{}, fmt.Errorf("flvfile: reading: %w", err)
	}
	return h.Info, nil
}

// maxExplored is how many tags at its beginning are looked at for what a file from elsewhere
// has, and how many headers may stand before its first packet.
const maxExplored = 64

// explore looks at the first tags and the last one of a file from elsewhere.
func (h *head) explore(f Handle) error {
	s := newSummary()
	based := false
	t := tags{file: f, pos: h.start, end: h.Size, ahead: scanAhead}
	for range maxExplored {
		at, body, err := t.skip()
		if isEnd(err) {
			break
		}
		if err != nil {
			return err
		}
		p := Packet{Tag: flv.Tag{Type: at.typ, Timestamp: at.timestamp, Data: body}}
		if err := t.complete(at, &p); err != nil {
			return err
		}
		s.note(&p)
		if media := at.typ == flv.TypeAudio || at.typ == flv.TypeVideo; media && !p.Header && !based {
			h.base, based = at.timestamp, true
		}
		if based && s.video.seen && s.audio.seen {
			break
		}
	}
	// A codec that only a header tells will have frames further on.
	s.video.seen, s.audio.seen = true, true
	if s.video.codec != 0 {
		h.Video, h.videoID = s.video.codec, s.video.id()
	}
	if s.audio.codec != 0 {
		h.Audio, h.audioID = s.audio.codec, s.audio.id()
	}
	if s.width > 0 {
		h.Width, h.Height = s.width, s.height
	}
	if last, ok := lastTag(f, *h); ok {
		c := clock{base: h.base}
		h.Duration = time.Duration(c.time(last.typ, last.timestamp)) * time.Millisecond
	}
	return nil
}

// lastTag returns the last tag of a file, if the file ends with its PreviousTagSize.
func lastTag(f Handle, h head) (header, bool) {
	t := tags{file: f, end: h.Size}
	b, err := t.bytes(h.Size-tagTail, tagTail, 0)
	if err != nil || h.Size <= h.start+flv.TagOverhead {
		return header{}, false
	}
	size := int64(b[0])<<24 | int64(b[1])<<16 | int64(b[2])<<8 | int64(b[3])
	if t.pos = h.Size - tagTail - size; t.pos < h.start {
		return header{}, false
	}
	at, err := t.peek()
	media := at.typ == flv.TypeAudio || at.typ == flv.TypeVideo
	return at, err == nil && media && at.next() == h.Size
}

// Info returns what is known of the file by now.
func (f *File) Info() Info {
	h, _ := f.shared.now()
	return h.Info
}

// Growing reports whether the file is still written.
func (f *File) Growing() bool {
	_, growing := f.shared.now()
	return growing
}

// Close closes the file. Only the first call has an effect.
func (f *File) Close() error {
	if f.closed.Swap(true) {
		return nil
	}
	return f.shared.release()
}

// ReadAt reads bytes of the file as they stand on disk.
func (f *File) ReadAt(b []byte, off int64) (int, error) { return f.shared.file.ReadAt(b, off) }

// Reopen opens the file once more, with an offset of its own, so that bytes of it can be
// sent by sendfile(2). The caller closes it. The error is errors.ErrUnsupported where files
// are none of the operating system's, and fs.ErrNotExist where another file has the name
// now, or none.
func (f *File) Reopen() (*os.File, error) {
	s := f.shared
	_, growing := s.now()
	names := []string{s.name + Suffix, s.name + PartSuffix}
	if growing {
		names[0], names[1] = names[1], names[0]
	}
	var failed error
	for _, name := range names {
		h, err := s.fsys.OpenFile(name, os.O_RDONLY, 0)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		if own, err := s.same(h); err == nil {
			return own, nil
		} else {
			failed = errors.Join(failed, err, h.Close())
		}
	}
	return nil, fmt.Errorf("flvfile: opening again: %w", failed)
}

// same returns h as a file of the operating system, if it is the same file as that of s.
func (s *shared) same(h Handle) (*os.File, error) {
	own, ok := h.(*os.File)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	a, err := own.Stat()
	if err != nil {
		return nil, err
	}
	b, err := s.file.Stat()
	if err != nil {
		return nil, err
	}
	if !os.SameFile(a, b) {
		return nil, os.ErrNotExist
	}
	return own, nil
}

// Cursor returns a cursor at the beginning of the file. The file must stay open as long as
// it is used.
func (f *File) Cursor() *Cursor {
	h, _ := f.shared.now()
	c := &Cursor{shared: f.shared, clock: clock{base: h.base}}
	c.tags = tags{file: f.shared.file, pos: h.start, end: h.Size, ahead: cursorAhead}
	c.refresh(h)
	return c
}

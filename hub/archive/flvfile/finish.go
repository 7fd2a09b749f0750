package flvfile

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"sluice/flv"
)

// WriteIndex appends to the index file what is due. What is not written there when the
// process dies is found again by Recover.
func (w *Writer) WriteIndex() error {
	s := w.shared
	s.mu.Lock()
	x, f := s.index, s.indexFile
	s.mu.Unlock()
	if len(x.pending) == 0 {
		return nil
	}
	if f == nil {
		var err error
		if f, err = s.fsys.OpenFile(s.name+IndexSuffix, os.O_RDWR|os.O_CREATE|os.O_TRUNC, filePerm); err != nil {
			return fmt.Errorf("flvfile: opening the index: %w", err)
		}
		s.update(func() { s.indexFile, s.index.file = f, f })
	}
	b := make([]byte, 0, len(x.pending)*recordSize)
	for _, r := range x.pending {
		b = r.append(b)
	}
	n, err := f.WriteAt(b, int64(x.written)*recordSize)
	if err == nil && n < len(b) {
		err = errShortWrite
	}
	if err != nil {
		return fmt.Errorf("flvfile: writing the index: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index.written += len(x.pending)
	if s.index.pending = s.index.pending[len(x.pending):]; len(s.index.pending) == 0 {
		s.index.pending = nil
	}
	return nil
}

// Sync has the system write everything to the disk that Write was given.
func (w *Writer) Sync() error {
	if err := w.shared.file.Sync(); err != nil {
		return fmt.Errorf("flvfile: syncing: %w", err)
	}
	return nil
}

// Headers returns metadata and codec headers that are in force at the end of the file.
func (w *Writer) Headers() ([]Packet, error) {
	x, h, err := w.shared.snapshot()
	if err != nil {
		return nil, err
	}
	return headersAt(w.shared.file, x, h, w.size, w.End())
}

// Close lets go of the file without finishing it: Recover can do that later. After Finish it
// does nothing.
func (w *Writer) Close() error {
	if w.closed {
		return nil
	}
	w.closed = true
	w.shared.update(func() { w.shared.growing = false })
	return w.shared.release()
}

// Finish patches the head, completes the index and renames the file. Readers who have it
// open find its end. A file without a single packet is removed, and fs.ErrNotExist
// returned. After another error the file is as it was, and Finish can be tried again, or
// Close called; where NAME.flv exists, the error is fs.ErrExist.
func (w *Writer) Finish() (Info, error) {
	s := w.shared
	if w.size == dataStart {
		return Info{}, w.discard()
	}
	if err := w.mend(); err != nil {
		return Info{}, fmt.Errorf("flvfile: finishing: %w", err)
	}
	if !w.ended {
		w.ended = true
		w.due = w.summary.appendRecord(w.due, record{pos: w.size, kind: kindEnd, time: w.End()})
		w.publish()
	}
	x, h, err := s.snapshot()
	if err != nil {
		return Info{}, err
	}
	// An index that cannot be written is made again when somebody needs it. A full disk
	// must not keep the file from being finished, for which no further room is needed.
	_ = w.WriteIndex()
	entries, err := x.entries(h.room(), dataStart, 0)
	if err != nil {
		return Info{}, err
	}
	h.seekable = len(entries) > 0
	if err := writeHead(s.file, h, entries); err != nil {
		return Info{}, fmt.Errorf("flvfile: writing the head: %w", err)
	}
	if err := moveExclusively(s.fsys, s.name+PartSuffix, s.name+Suffix); err != nil {
		return Info{}, fmt.Errorf("flvfile: finishing: %w", err)
	}
	s.update(func() { s.head.seekable = h.seekable })
	return h.Info, w.Close()
}

// discard removes a file without packets.
func (w *Writer) discard() error {
	s := w.shared
	err := errors.Join(
		fmt.Errorf("flvfile: the file has no packets: %w", fs.ErrNotExist),
		w.Close(),
		removeIfThere(s.fsys, s.name+PartSuffix),
	)
	if exists(s.fsys, s.name+Suffix) {
		return err // the index is that file's
	}
	return errors.Join(err, removeIfThere(s.fsys, s.name+IndexSuffix))
}

// Append goes on with a finished file of ours, which becomes NAME.flv.part again. Times of
// packets go on from its end: see Writer.End. The error is ErrForeign for a file from
// elsewhere.
func Append(fsys FS, name string) (*Writer, error) {
	f, err := fsys.OpenFile(name+Suffix, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("flvfile: appending: %w", err)
	}
	w, err := reopen(fsys, name, f)
	if err == nil {
		err = moveExclusively(fsys, name+Suffix, name+PartSuffix)
	}
	if err != nil {
		if w != nil && w.shared.indexFile != nil {
			err = errors.Join(err, w.shared.indexFile.Close())
		}
		return nil, errors.Join(fmt.Errorf("flvfile: appending: %w", err), f.Close())
	}
	return w, nil
}

// reopen makes the writer of a finished file.
func reopen(fsys FS, name string, f Handle) (*Writer, error) {
	size, h, err := openHead(f)
	switch {
	case err != nil:
		return nil, err
	case !h.ours:
		return nil, ErrForeign
	case size <= dataStart:
		return nil, fmt.Errorf("%w: no tags", flv.ErrFormat)
	}
	l, err := loadIndex(fsys, name, f, h)
	if err != nil {
		return nil, err
	}
	w := &Writer{size: size, begun: true}
	w.shared = &shared{fsys: fsys, name: name, file: f, users: 1, growing: true, loaded: true}
	w.shared.head, w.shared.index, w.shared.indexFile = l.head, l.index, l.file
	if l.file != nil { // the index has an end of its own, and may be longer than that
		if err := l.file.Truncate(int64(l.index.written) * recordSize); err != nil {
			return w, err
		}
	}
	w.summary, err = summarize(f, l.index, l.head)
	return w, err
}

// summarize returns what is known at the end of a file with a complete index.
func summarize(f Handle, x index, h head) (summary, error) {
	s, resume, err := restore(f, x, h)
	if err != nil {
		return summary{}, err
	}
	t := tags{file: f, pos: resume.pos, end: h.Size, ahead: scanAhead, strict: true}
	c := clock{last: resume.time}
	if err := s.scan(&t, &c, h.Size, nil); err != nil {
		return summary{}, err
	}
	if t.pos != h.Size {
		return summary{}, fmt.Errorf("%w: no tag at %d of %d", flv.ErrFormat, t.pos, h.Size)
	}
	s.until = h.Duration.Milliseconds()
	s.video.adopt(h.Video, h.videoID, s.until)
	s.audio.adopt(h.Audio, h.audioID, s.until)
	s.width, s.height = cmp.Or(s.width, h.Width), cmp.Or(s.height, h.Height)
	s.gaps, s.gapTime = max(s.gaps, h.Gaps), max(s.gapTime, h.GapTime.Milliseconds())
	return s, nil
}

package flvfile

import (
	"errors"
	"fmt"
	"os"

	"sluice/flv"
)

// Recover finishes NAME.flv.part after its process died: what follows its last whole tag
// is cut off, the index is completed, the head patched, the file renamed. A file without a
// single tag is removed, and fs.ErrNotExist returned; one that this package did not write
// stays as it is, and the error is ErrForeign. Where NAME.flv exists it is fs.ErrExist.
//
// It reads the index and the last tags only, unless they contradict each other.
func Recover(fsys FS, name string) (Info, error) {
	f, err := fsys.OpenFile(name+PartSuffix, os.O_RDWR, 0)
	if err != nil {
		return Info{}, fmt.Errorf("flvfile: recovering: %w", err)
	}
	h, err := partHead(f)
	if err == nil && h.Size > dataStart && exists(fsys, name+Suffix) {
		err = errExist(name)
	}
	if err != nil {
		return Info{}, errors.Join(fmt.Errorf("flvfile: recovering: %w", err), f.Close())
	}
	w := &Writer{size: dataStart, begun: true}
	w.shared = &shared{fsys: fsys, name: name, file: f, users: 1, growing: true, loaded: true}
	if h.Size > dataStart { // otherwise Finish removes it
		if err := w.salvage(h); err != nil {
			return Info{}, errors.Join(fmt.Errorf("flvfile: recovering: %w", err), w.Close())
		}
	}
	info, err := w.Finish()
	if err != nil {
		return Info{}, errors.Join(err, w.Close())
	}
	return info, nil
}

// salvage puts w at the end of the last whole tag of what a process left behind.
func (w *Writer) salvage(h head) error {
	x, err := openIndex(w.shared.fsys, w.shared.name)
	if err != nil {
		x = indexFile{} // Finish makes another one
	}
	w.shared.indexFile = x.file
	if err := w.resume(x, h); err != nil {
		return err
	}
	w.summary.gaps, w.summary.gapTime = max(w.summary.gaps, h.Gaps), max(w.summary.gapTime, h.GapTime.Milliseconds())
	w.torn = w.size != h.Size
	h.Size = w.size
	w.shared.head = h
	w.publish()
	return nil
}

// partHead returns the head of a file that was being written.
func partHead(f Handle) (head, error) {
	i, err := f.Stat()
	switch {
	case err != nil:
		return head{}, err
	case !i.Mode().IsRegular():
		return head{}, errNotRegular
	}
	h, err := readHead(f, i.Size(), HeadSize)
	if err != nil && !isFormat(err) && !isEOF(err) {
		return head{}, err
	}
	if h.ours {
		h.Size = i.Size()
		return h, nil
	}
	return lostHead(f, i.Size())
}

// lostHead returns what there is to know of a file whose head has not reached the disk, or not
// all of it.
func lostHead(f Handle, size int64) (head, error) {
	b := make([]byte, min(size, flv.HeaderSize+4))
	if n, err := f.ReadAt(b, 0); n < len(b) {
		return head{}, err
	}
	start := flv.AppendHeader(nil, true, true)
	start = append(start, byte(flv.TypeScript), HeadSize>>16, HeadSize>>8&0xff, HeadSize&0xff)
	for i := range b {
		const flags = 4
		if i != flags && b[i] != 0 && b[i] != start[i] {
			return head{}, ErrForeign
		}
	}
	h := head{start: dataStart, ours: true}
	h.Size = size
	if size <= dataStart {
		return h, nil
	}
	t := tags{file: f, pos: dataStart, end: size, ahead: skipAhead, strict: true}
	if _, _, err := t.skip(); err != nil {
		return head{}, ErrForeign
	}
	return h, nil
}

// maxRounds bounds how often the index is believed, and turns out to be wrong.
const maxRounds = 8

// resume finds the last whole tag, and completes the index up to it.
func (w *Writer) resume(x indexFile, h head) error {
	f, limit := w.shared.file, h.Size
	for round := 0; ; round++ {
		keep, from := 0, int64(0)
		if round < maxRounds && x.file != nil {
			keep, from = trusted(f, x, h, limit)
		}
		kept := index{file: x.file, written: keep}
		s, at, err := restore(f, kept, h)
		if errors.Is(err, errIndex) {
			round, kept, from = maxRounds, index{}, 0
			s, at, err = restore(f, kept, h)
		}
		if err != nil {
			return err
		}
		var due []record
		if kept.written == 0 {
			due = s.appendRecord(nil, h.fileRecord())
		}
		t := tags{file: f, pos: at.pos, end: h.Size, ahead: scanAhead, strict: true}
		c := clock{last: at.time}
		err = s.scan(&t, &c, from, func(records []record) error {
			due = append(due, records...)
			return nil
		})
		if err != nil {
			return err
		}
		if t.pos < from { // there is a hole before the tag that the index led to
			limit = t.pos
			continue
		}
		w.summary, w.size = s, t.pos
		w.shared.index = index{file: fileOrNothing(x.file), written: kept.written, pending: due}
		if x.file != nil {
			return x.file.Truncate(int64(kept.written) * recordSize)
		}
		return nil
	}
}

// trusted returns how many records of an index can be believed, and from which position on
// the tags are not in it: from the last record whose tag stands where it says, before limit.
func trusted(f Handle, x indexFile, h head, limit int64) (keep int, from int64) {
	all := index{file: x.file, written: x.records}
	good := 0
	var before record
	_ = all.each(func(i int, r record) bool { // behind an error nothing is believed
		ok := i > 0 && r.pos >= before.pos && r.time >= before.time || i == 0 && r == h.fileRecord()
		if ok = ok && r.pos < limit; ok {
			before, good = r, i+1
		}
		return ok
	})
	all.written = good
	const most = 256 // records that are tried
	for i, tried := good-1, 0; i > 0 && tried < most; i-- {
		r, err := all.at(i)
		if err != nil {
			return 0, 0
		}
		if r.kind.tagType() == 0 {
			continue
		}
		if tried++; verify(f, h, r) {
			return all.keepBefore(i, r.pos), r.pos
		}
	}
	return 0, 0
}

// keepBefore returns how many records are not of the tag at pos, as record i is; a gap
// before it counts as kept, since no tag tells of that.
func (x index) keepBefore(i int, pos int64) int {
	for ; i > 0; i-- {
		if r, err := x.at(i - 1); err != nil || r.pos < pos || r.kind == kindGap {
			break
		}
	}
	return i
}

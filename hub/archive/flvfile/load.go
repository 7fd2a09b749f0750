package flvfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"sluice/flv"
)

// loaded is the index of a finished file, with what it tells of it.
type loaded struct {
	index index
	file  Handle // of the index; nil where it is in memory only
	head  head
}

// openHead reads the head of an open file, and how large it is.
func openHead(f Handle) (size int64, h head, err error) {
	i, err := f.Stat()
	if err != nil {
		return 0, head{}, err
	}
	if !i.Mode().IsRegular() {
		return 0, head{}, errNotRegular
	}
	if h, err = readHead(f, i.Size(), maxForeign); err != nil {
		return 0, head{}, err
	}
	h.Size = i.Size()
	return i.Size(), h, nil
}

// loadIndex opens the index of a finished file, or makes it.
func loadIndex(fsys FS, name string, f Handle, h head) (loaded, error) {
	x, err := openIndex(fsys, name)
	if err != nil {
		return rebuildIndex(fsys, name, f, h)
	}
	l := loaded{index: index{file: x.file, written: x.records}, file: x.file, head: h}
	end, ok := l.complete(f)
	if !ok {
		if err := x.file.Close(); err != nil {
			return loaded{}, err
		}
		return rebuildIndex(fsys, name, f, h)
	}
	if !h.ours {
		switch err := l.learn(f, end); {
		case errors.Is(err, errIndex):
			if err := x.file.Close(); err != nil {
				return loaded{}, err
			}
			return rebuildIndex(fsys, name, f, h)
		case err != nil:
			return loaded{}, errors.Join(err, x.file.Close())
		}
	}
	return l, nil
}

type indexFile struct {
	file    Handle
	records int // whole ones
}

// openIndex opens an index file, for writing too if that is possible.
func openIndex(fsys FS, name string) (indexFile, error) {
	f, err := fsys.OpenFile(name+IndexSuffix, os.O_RDWR, 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		f, err = fsys.OpenFile(name+IndexSuffix, os.O_RDONLY, 0)
	}
	if err != nil {
		return indexFile{}, err
	}
	i, err := f.Stat()
	if err == nil && !i.Mode().IsRegular() {
		err = errNotRegular
	}
	if err != nil {
		return indexFile{}, errors.Join(err, f.Close())
	}
	return indexFile{f, int(min(i.Size()/recordSize, maxRecords))}, nil
}

// maxRecords bounds an index: half a year with a record each second.
const maxRecords = 1 << 24

// complete reports whether the index is that of the whole file, and returns its last record.
func (l *loaded) complete(f Handle) (end record, ok bool) {
	var last, before record // the last one of a tag
	good, until := true, 0
	err := l.index.each(func(i int, r record) bool {
		good = i > 0 && r.pos >= before.pos && (i == 1 || r.time >= before.time) || i == 0 && r == l.head.fileRecord()
		if before = r; i == 1 && !verify(f, l.head, r) {
			good = false
		}
		if r.kind.tagType() != 0 {
			last = r
		}
		if good && r.kind == kindEnd && r.pos+r.length() == l.head.Size {
			end, until = r, i+1
			return false // what follows belongs to a file that goes on behind the one that is open
		}
		return good
	})
	if err != nil || until == 0 {
		return record{}, false
	}
	l.index.written = until
	return end, last.kind == 0 || verify(f, l.head, last)
}

// fileRecord returns the first record of the file's index.
func (h *head) fileRecord() record {
	return record{pos: h.start, kind: kindFile, time: int64(h.base)}
}

// maxClamp is by how much the time of a record may be later than that of its tag, in ms, as
// times of records never decrease.
const maxClamp = 10_000

// verify reports whether a tag stands where a record says so, with another one before it.
func verify(f Handle, h head, r record) bool {
	want := r.kind.tagType()
	if want == 0 {
		return true
	}
	t := tags{file: f, pos: r.pos, end: h.Size, ahead: skipAhead, strict: h.ours}
	at, _, err := t.skip()
	if err != nil || at.typ != want {
		return false
	}
	if want == flv.TypeScript { // whose timestamps say little
		return true
	}
	if late := int32(uint32(r.time) - (at.timestamp - h.base)); late < 0 || h.ours && late > maxClamp {
		return false
	}
	if !h.ours || r.pos == h.start {
		return true
	}
	var b [tagHeaderSize]byte
	if _, err := f.ReadAt(b[:tagTail], r.pos-tagTail); err != nil {
		return false
	}
	size := int64(binary.BigEndian.Uint32(b[:]))
	if r.pos-tagTail-size < h.start || size < tagHeaderSize {
		return false
	}
	if _, err := f.ReadAt(b[:], r.pos-tagTail-size); err != nil {
		return false
	}
	return int64(parseHeader(b[:]).size) == size-tagHeaderSize
}

// rebuildIndex makes the index of a finished file by a scan of its tags, and keeps it beside
// the file if that can be written.
func rebuildIndex(fsys FS, name string, f Handle, h head) (loaded, error) {
	s := newSummary()
	first := h.fileRecord()
	records := s.appendRecord(nil, record{pos: first.pos, kind: kindFile})
	records[0].time = first.time
	t := tags{file: f, pos: h.start, end: h.Size, ahead: scanAhead}
	c := clock{base: h.base}
	err := s.scan(&t, &c, 0, func(due []record) error {
		if len(records)+len(due) > maxRecords {
			return fmt.Errorf("%w: more than %d records", errIndex, maxRecords)
		}
		records = append(records, due...)
		return nil
	})
	if err != nil {
		return loaded{}, fmt.Errorf("flvfile: making the index: %w", err)
	}
	end := s.appendRecord(nil, lengthRecord(kindEnd, t.pos, s.end(), h.Size-t.pos))
	l := loaded{index: index{pending: append(records, end...)}, head: h}
	l.store(fsys, name)
	if !h.ours {
		if err := l.learn(f, end[0]); err != nil {
			if l.file != nil {
				err = errors.Join(err, l.file.Close())
			}
			return loaded{}, err
		}
	}
	return l, nil
}

// store writes the index beside the file, if that can be done; otherwise it stays in
// memory. Who has the old one open keeps that.
func (l *loaded) store(fsys FS, name string) {
	size, err := sizeOf(fsys, name+Suffix)
	if err != nil || size != l.head.Size || removeIfThere(fsys, name+IndexSuffix) != nil {
		return // the index would be that of another file
	}
	f, err := fsys.OpenFile(name+IndexSuffix, os.O_RDWR|os.O_CREATE|os.O_EXCL, filePerm)
	if err != nil {
		return
	}
	b := make([]byte, 0, len(l.index.pending)*recordSize)
	for _, r := range l.index.pending {
		b = r.append(b)
	}
	if n, err := f.WriteAt(b, 0); err != nil || n < len(b) {
		_ = f.Close()
		_ = fsys.Remove(name + IndexSuffix)
		return
	}
	l.file, l.index = f, index{file: f, written: len(l.index.pending)}
}

// learn takes from the index what a file from elsewhere need not say itself, or says wrongly.
func (l *loaded) learn(f Handle, end record) error {
	s, resume, err := restore(f, l.index, l.head)
	if err != nil {
		return err
	}
	// The codecs that no header tells stand in the last frames.
	t := tags{file: f, pos: resume.pos, end: end.pos, ahead: scanAhead}
	c := clock{base: l.head.base, last: resume.time}
	if err := s.scan(&t, &c, l.head.Size, nil); err != nil {
		return err
	}
	if t.pos != end.pos {
		return fmt.Errorf("%w: tags end at %d", errIndex, t.pos)
	}
	l.head.whole = end.pos
	l.head.Info = s.fill(l.head.Info, l.head.Size)
	l.head.setTracks(&s)
	return nil
}

// restore returns what an index tells of a file: all but what only its last tags say, from
// resume on.
func restore(f Handle, x index, h head) (s summary, resume record, err error) {
	s = newSummary()
	var keys, sounds [2]record // the last two
	start := record{pos: h.start}
	keys, sounds = [2]record{start, start}, [2]record{start, start}
	last := start
	err = x.each(func(_ int, r record) bool {
		s.noteRecord(r)
		switch last = r; r.kind {
		case kindKey:
			keys[0], keys[1] = keys[1], r
		case kindSound:
			sounds[0], sounds[1] = sounds[1], r
		}
		return true
	})
	if err != nil {
		return summary{}, record{}, err
	}
	if h.base != 0 && s.records > 0 {
		s.lastTime = last.time // the first record's is none
	}
	headers, err := x.headersBefore(h.Size + 1)
	if err != nil {
		return summary{}, record{}, err
	}
	t := tags{file: f, end: h.Size, ahead: skipAhead}
	for _, r := range headers {
		p, err := t.packetAt(r)
		if err != nil {
			return summary{}, record{}, err
		}
		s.note(&p)
	}
	s.video.seen, s.audio.seen = keys[1].kind == kindKey, s.audio.codec != 0
	if s.video.seen {
		return s, keys[0], nil
	}
	return s, sounds[0], nil
}

// packetAt returns the packet at the position of a record.
func (t *tags) packetAt(r record) (Packet, error) {
	t.pos = r.pos
	h, body, err := t.read()
	if err != nil {
		if isEnd(err) {
			err = fmt.Errorf("%w: no tag at %d", errIndex, r.pos)
		}
		return Packet{}, err
	}
	p := Packet{Tag: flv.Tag{Type: h.typ, Timestamp: uint32(r.time), Data: body}, Time: r.time}
	p.classify()
	return p, nil
}

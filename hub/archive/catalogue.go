package archive

import (
	"cmp"
	"slices"
	"time"

	"sluice/flv"
	"sluice/hub"
	"sluice/hub/archive/flvfile"
)

// entry is one recording in the catalogue, which is guarded by Archive.mu, as are streams
// and folders. There may be a hundred thousand: it holds numbers and its ID, and no time.
type entry struct {
	stream *stream
	folder *folder
	id     string

	// The order of the catalogue is that of begin and seq. Neither changes while it is in it.
	begin int64 // ms since 1970
	seq   uint64

	duration, gapTime   time.Duration
	size                int64
	changed             int64 // of the file, ns since 1970
	video, audio        flv.Codec
	width, height, gaps int32

	full     bool // the disk was full when it was finished
	pinned   bool
	foreign  bool
	deleting bool          // its file is being removed; it is in no list any more
	writer   *Writer       // who writes it
	claim    chan struct{} // closed when who renames its file is done; nil if nobody does
	shared   *shared       // the open file of those who read it
}

// stream is what there is of one key. It is in the catalogue as long as it has entries.
type stream struct {
	key    hub.Key
	byTime []*entry // the oldest first
	byID   []*entry
	bytes  int64 // of those that are finished
}

// stamp tells two versions of a file apart.
type stamp struct {
	size    int64
	changed int64 // ns since 1970
}

// folder is a folder below DIR, or DIR itself, as it was when it was read last.
type folder struct {
	path    string // with slashes, "." for DIR
	key     hub.Key
	usable  bool  // it can hold recordings, as it has a key
	known   bool  // key is the true one, and not only what its name looks like
	changed int64 // of the folder, ns since 1970; 0 if it was not read yet
	read    int64 // when it was read, ns since 1970
	took    time.Duration
	failed  bool     // it could not be read, which is told
	version uint64   // of what this process does in it: what was read before does not count
	files   []*entry // by ID
	watched map[string]watched
	pins    bool          // some of its files may be pinned
	reading chan struct{} // closed when it has been read; nil while nobody reads it
}

// watched is a file that is looked at again: one that cannot be listed, which is logged
// once, or one from elsewhere that may still be being copied.
type watched struct {
	stamp
	left bool // it is not in the list
}

// newFolder returns a folder that was not read yet.
func newFolder(path string) *folder {
	f := &folder{path: path}
	f.key, f.known, f.usable = keyOf(path)
	return f
}

func byTime(a, b *entry) int {
	return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.seq, b.seq))
}

func byID(a, b *entry) int { return cmp.Compare(a.id, b.id) }

func findID(sorted []*entry, id string) *entry {
	i, found := slices.BinarySearchFunc(sorted, id, func(e *entry, id string) int { return cmp.Compare(e.id, id) })
	if !found {
		return nil
	}
	return sorted[i]
}

// insert puts entries into a sorted slice: a few in their places, many by sorting it.
func insert(sorted, entries []*entry, order func(a, b *entry) int) []*entry {
	if len(entries) > manyEntries {
		sorted = append(sorted, entries...)
		slices.SortFunc(sorted, order)
		return sorted
	}
	for _, e := range entries {
		i, _ := slices.BinarySearchFunc(sorted, e, order)
		sorted = slices.Insert(sorted, i, e)
	}
	return sorted
}

// without takes entries out of a sorted slice: a few from their places, many in one go.
func without(sorted, entries []*entry, gone map[*entry]bool, order func(a, b *entry) int) []*entry {
	if gone != nil {
		return slices.DeleteFunc(sorted, func(e *entry) bool { return gone[e] })
	}
	for _, e := range entries {
		if i, found := slices.BinarySearchFunc(sorted, e, order); found {
			sorted = slices.Delete(sorted, i, i+1)
		}
	}
	return sorted
}

// manyEntries is from when on it is cheaper to handle entries all together.
const manyEntries = 32

// addLocked puts entries of one folder and one stream into the catalogue.
func (a *Archive) addLocked(f *folder, key hub.Key, entries []*entry) {
	if len(entries) == 0 {
		return
	}
	s := a.streams[key]
	if s == nil {
		s = &stream{key: key}
		a.streams[key] = s
	}
	slices.SortFunc(entries, older)
	for _, e := range entries {
		e.stream, e.folder = s, f
		a.seq++
		e.seq = a.seq
		if e.writer == nil {
			a.countLocked(e, e.size)
		}
	}
	f.files = insert(f.files, entries, byID)
	s.byID = insert(s.byID, entries, byID)
	s.byTime = insert(s.byTime, entries, byTime)
	if !a.loading {
		a.byTime = insert(a.byTime, entries, byTime)
	}
}

// older is the order in which recordings were begun; of one millisecond, ID comes before ID-2 and
// that before ID-10.
func older(a, b *entry) int {
	return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(len(a.id), len(b.id)), cmp.Compare(a.id, b.id))
}

// loadedLocked puts everything that was added while loading into one order.
func (a *Archive) loadedLocked() {
	a.loading = false
	for _, s := range a.streams {
		a.byTime = append(a.byTime, s.byTime...)
	}
	slices.SortFunc(a.byTime, byTime)
}

// removeLocked takes entries of one folder out of the catalogue.
func (a *Archive) removeLocked(f *folder, entries []*entry) {
	var gone map[*entry]bool
	if len(entries) > manyEntries {
		gone = make(map[*entry]bool, len(entries))
	}
	streams := map[*stream][]*entry{}
	for _, e := range entries {
		if gone != nil {
			gone[e] = true
		}
		streams[e.stream] = append(streams[e.stream], e)
		if e.writer == nil {
			a.countLocked(e, -e.size)
		}
		e.shared = nil
	}
	f.files = without(f.files, entries, gone, byID)
	a.byTime = without(a.byTime, entries, gone, byTime)
	for s, entries := range streams {
		s.byID = without(s.byID, entries, gone, byID)
		s.byTime = without(s.byTime, entries, gone, byTime)
		if len(s.byID) == 0 {
			delete(a.streams, s.key)
		}
	}
}

// countLocked notes that finished files have become more or fewer bytes.
func (a *Archive) countLocked(e *entry, bytes int64) {
	e.stream.bytes += bytes
	a.bytes += bytes
}

// findLocked returns a recording, nil if there is none; id may be Latest.
func (a *Archive) findLocked(key hub.Key, id string) *entry {
	s := a.streams[key]
	if s == nil {
		return nil
	}
	if id == Latest {
		for _, e := range slices.Backward(s.byTime) {
			if !e.deleting {
				return e
			}
		}
		return nil
	}
	if e := findID(s.byID, id); e != nil && !e.deleting {
		return e
	}
	return nil
}

// fill takes over what a file says of itself, apart from its beginning.
func (e *entry) fill(i flvfile.Info) {
	e.duration, e.gapTime, e.size = i.Duration, i.GapTime, i.Size
	e.video, e.audio = i.Video, i.Audio
	e.width, e.height, e.gaps = int32(i.Width), int32(i.Height), int32(i.Gaps)
}

// recordingLocked returns what is known of e. While it is written, live adds the rest.
func (e *entry) recordingLocked() Recording {
	r := Recording{
		Key: e.stream.key,
		ID:  e.id,
		Info: flvfile.Info{
			Begin:    time.UnixMilli(e.begin).UTC(),
			Duration: e.duration, Size: e.size,
			Video: e.video, Audio: e.audio, Width: int(e.width), Height: int(e.height),
			Gaps: int(e.gaps), GapTime: e.gapTime,
		},
		State:   StateFinished,
		Pinned:  e.pinned,
		Foreign: e.foreign,
		Changed: time.Unix(0, e.changed).UTC(),
	}
	if !e.foreign {
		r.App, r.Name = r.Key.App, r.Key.Name
	}
	switch {
	case e.writer != nil:
		r.State = StateRecording
	case e.full:
		r.State = StateDiskFull
	}
	return r
}

// live adds what the writer of a recording knows; w may be nil. No lock is held.
func (r Recording) live(w *Writer) Recording {
	if w != nil {
		begin := r.Begin
		r.Info = w.Info()
		r.App, r.Name, r.Begin = r.Key.App, r.Key.Name, begin
		r.Changed = begin.Add(r.Duration)
	}
	return r
}

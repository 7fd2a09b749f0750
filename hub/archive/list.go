package archive

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"sluice/hub"
)

// Bounds of a page of Recordings.
const (
	defaultPage = 100
	maxPage     = 1000
)

// ErrPlace says that Recordings was not given a place in the list.
var ErrPlace = errors.New("archive: no place in the list of recordings")

// Recordings returns recordings, the newest first: of one stream, or of all with the zero
// Key. after is the next of the page before, empty for the first one (ErrPlace if it is
// something else); next is empty behind the last. limit is 100 if it is 0, and 1,000 at the
// most. What comes or goes between two pages makes nothing appear twice or be passed
// over, as long as the process lives.
func (a *Archive) Recordings(key hub.Key, after string, limit int) (page []Recording, next string, err error) {
	if limit <= 0 {
		limit = defaultPage
	}
	limit = min(limit, maxPage)
	var from *entry
	if after != "" {
		if from, err = parsePlace(after); err != nil {
			return nil, "", err
		}
	}
	page, writers, next, found := a.page(key, from, limit)
	if !found {
		a.lookFor(key, Latest)
		page, writers, next, _ = a.page(key, from, limit)
	}
	for i, w := range writers {
		page[i] = page[i].live(w)
	}
	return page, next, nil
}

// page returns a page of what the catalogue has, with those who write. found is false if
// it does not know the stream.
func (a *Archive) page(key hub.Key, from *entry, limit int) (page []Recording, writers []*Writer, next string, found bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := a.byTime
	if key != (hub.Key{}) {
		s := a.streams[key]
		if s == nil {
			return nil, nil, "", false
		}
		list = s.byTime
	}
	if from != nil {
		n, _ := slices.BinarySearchFunc(list, from, byTime)
		list = list[:n]
	}
	var last *entry
	for _, e := range slices.Backward(list) {
		if e.deleting {
			continue
		}
		if len(page) == limit {
			return page, writers, place(last), true
		}
		r := e.recordingLocked()
		r.Place = place(e)
		page = append(page, r)
		writers = append(writers, e.writer)
		last = e
	}
	return page, writers, "", true
}

// place returns the place behind an entry, without a word of what it is: whoever sees it
// may not be allowed to know.
func place(e *entry) string { return PlaceOf(e.begin, e.seq) }

// PlaceOf returns the place of what began then, in ms since 1970, and has that number among what began at the same
// time, from 1 on: the higher ones come first.
func PlaceOf(begin int64, seq uint64) string {
	return strconv.FormatInt(begin, 36) + "." + strconv.FormatUint(seq, 36)
}

// ParsePlace is the contrary of PlaceOf. The error is ErrPlace.
func ParsePlace(s string) (begin int64, seq uint64, err error) {
	first, second, _ := strings.Cut(s, ".")
	begin, err1 := strconv.ParseInt(first, 36, 64)
	seq, err2 := strconv.ParseUint(second, 36, 64)
	if err1 != nil || err2 != nil {
		return 0, 0, fmt.Errorf("%w: %.40q", ErrPlace, s)
	}
	return begin, seq, nil
}

func parsePlace(s string) (*entry, error) {
	begin, seq, err := ParsePlace(s)
	if err != nil {
		return nil, err
	}
	return &entry{begin: begin, seq: seq}, nil
}

// Recording returns one recording; id may be Latest. The error is ErrNotFound.
func (a *Archive) Recording(key hub.Key, id string) (Recording, error) {
	r, w, found := a.recording(key, id)
	if !found {
		a.lookFor(key, id)
		if r, w, found = a.recording(key, id); !found {
			return Recording{}, ErrNotFound
		}
	}
	return r.live(w), nil
}

func (a *Archive) recording(key hub.Key, id string) (Recording, *Writer, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	e := a.findLocked(key, id)
	if e == nil {
		return Recording{}, nil, false
	}
	return e.recordingLocked(), e.writer, true
}

// Usage is what the folder takes.
type Usage struct {
	Recordings int
	Bytes      int64 // of recordings, without their indexes
	Free       int64 // of its file system; 0 where the system does not tell
}

// Usage returns what the folder takes.
func (a *Archive) Usage() Usage {
	a.mu.Lock()
	u := Usage{Recordings: len(a.byTime), Bytes: a.bytes}
	writers := make([]*Writer, 0, len(a.writers))
	for w := range a.writers {
		writers = append(writers, w)
	}
	a.mu.Unlock()
	for _, w := range writers {
		u.Bytes += w.Info().Size
	}
	u.Free, _, _ = a.free()
	return u
}

// Disk returns how many bytes of the folder's file system this process may still use, and how many there
// are; known is false where the system does not tell.
func (a *Archive) Disk() (free, total int64, known bool, err error) {
	if free, known, err = a.free(); err != nil || !known {
		return 0, 0, known, err
	}
	total, err = totalBytes(a.lock)
	return free, total, true, err
}

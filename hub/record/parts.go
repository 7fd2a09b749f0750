package record

import "slices"

// part is one file of a recording, on the stream's clock.
type part struct {
	id    string
	base  int64 // stream time of the file's time 0
	begin int64 // stream time from which on it has this stream
	epoch int   // the same in those of one format, but for further tracks
}

// maxParts is how many files a viewer who rewinds may reach: the newest ones.
const maxParts = 10_000

// addPart notes that a file begins.
func (rec *recording) addPart(p part) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if len(rec.files) > 0 && rec.format.main() != rec.written.main() {
		rec.epoch++
	}
	if len(rec.files) >= maxParts {
		rec.files = slices.Delete(rec.files, 0, len(rec.files)-maxParts+1)
	}
	rec.format, p.epoch = rec.written, rec.epoch
	rec.files = append(rec.files, p)
}

// partAt returns the file in which a time of the stream is, among those with its present format
// the first one if it is before that; ok is false if there is none.
func (rec *recording) partAt(time int64) (p part, ok bool) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	for i := len(rec.files) - 1; i >= 0 && rec.files[i].epoch == rec.epoch; i-- {
		if p, ok = rec.files[i], true; p.begin <= time {
			break
		}
	}
	return p, ok
}

// partAfter returns the file that follows another one.
func (rec *recording) partAfter(p part) (next part, ok bool) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	for i := len(rec.files) - 1; i >= 0 && rec.files[i].begin > p.begin; i-- {
		next, ok = rec.files[i], true
	}
	return next, ok
}

// forgetPart takes away a file that is there no more, and returns the one that follows it.
func (rec *recording) forgetPart(p part) (next part, ok bool) {
	rec.mu.Lock()
	rec.files = slices.DeleteFunc(rec.files, func(other part) bool { return other == p })
	rec.mu.Unlock()
	return rec.partAfter(p)
}

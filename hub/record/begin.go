package record

import (
	"errors"
	"time"

	"sluice/hub"
	"sluice/hub/archive"
)

// open begins a file with a packet, if it can begin with that one.
func (rec *recording) open(s *slot, p *hub.Packet) bool {
	if rec.failing || rec.needKey && !p.Key {
		return false
	}
	r := rec.recorder
	if full, _ := r.isFull(); full {
		return false
	}
	rec.written, rec.formatDue, rec.cutDue, rec.withheld = rec.headers.format(), false, false, headers{}
	first := rec.first(s, p)
	appended := rec.append(first)
	if !appended {
		begin := time.Now().Add(-time.Duration(rec.newestTime(s)-first) * time.Millisecond)
		if next := rec.began.Add(time.Millisecond); begin.Before(next) { // more came at once than time has passed
			begin = next
		}
		rec.began = begin
		out, err := r.cfg.Archive.Create(rec.key, begin, rec.headers.metadata())
		if err != nil {
			rec.failed("a recording could not begin", err)
			return false
		}
		rec.out, rec.base = out, first
		s.packets = append(s.packets, rec.headers.packets(0)...)
	}
	recording := rec.out.Recording()
	rec.begin, rec.id = first, recording.ID
	rec.addPart(part{id: recording.ID, base: rec.base, begin: first})
	rec.needKey = false
	r.totals.begun.Add(1)
	r.log.Info("recording begins", rec.attrs("recording", recording.ID, "appended", appended)...)
	r.tell(Event{Kind: EventBegun, Recording: recording})
	return true
}

// append goes on with the stream's last file, if that is asked for and it has the format
// of the stream.
func (rec *recording) append(first int64) bool {
	r := rec.recorder
	asked := rec.start.appends
	rec.start.appends = false
	if !asked {
		return false
	}
	out, err := r.cfg.Archive.Append(rec.key)
	if err != nil {
		if !errors.Is(err, archive.ErrNotFound) {
			r.log.Warn("a recording cannot be gone on with: another one begins", rec.attrs("error", err)...)
		}
		return false
	}
	var had headers
	in, err := out.Headers()
	for _, p := range in {
		had.take(p.Tag)
	}
	if err != nil || had.format() != rec.written {
		r.log.Info("a recording has other codecs or tracks than the stream: another one begins", rec.attrs("recording", out.Recording().ID)...)
		if _, err := out.Finish(archive.StateFinished); err != nil { // as it was: nobody is told
			rec.failed("a recording could not be finished, and will be later", err)
			r.finishLater(out, archive.StateFinished)
		}
		return false
	}
	for _, c := range rec.headers.configs {
		if had.take(c.tag) {
			rec.withheld.take(c.tag)
		}
	}
	rec.out, rec.base = out, first-out.End()
	return true
}

// first returns the stream time at which a file begins with a packet: the lowest of it and
// of what follows in the batch, since tracks are a little apart.
func (rec *recording) first(s *slot, p *hub.Packet) int64 {
	first, behind := p.Time, false
	for i := range s.batch.Packets {
		q := &s.batch.Packets[i]
		behind = behind || q == p
		if behind && !q.Header && p.Time-q.Time < maxApart {
			first = min(first, q.Time)
		}
	}
	return first
}

// maxApart is how far a later packet may lie before the first one of a file, in ms, to count
// as its beginning.
const maxApart = 1000

// newestTime returns the stream time of the last packet of a batch.
func (rec *recording) newestTime(s *slot) int64 { return s.batch.Packets[len(s.batch.Packets)-1].Time }

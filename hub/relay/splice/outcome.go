package splice

import (
	"slices"

	"sluice/flv"
)

// Bounds of a missing track: one that the connection has not brought missingTime after its first
// fresh frame, though the run had a packet of it within its last aliveTime. Both in ms of the run.
const (
	missingTime = 2_000
	aliveTime   = 1_000
)

// joinAt goes on with what is held and not known, once the connection's place has been found.
func (r *Run) joinAt(g *guess, out Out) error {
	r.outcome = Joined
	r.counts.Joined++
	held := r.drop()
	place := g.anew()
	if !g.beyond { // it knows already what is held
		place.lo, place.hi, place.sum, place.n = g.lo, g.hi, g.sum, g.n
		place.newest, place.full, place.tells = g.newest, g.full, enough
	}
	r.place, r.offset = place, g.offset()
	for i := range held {
		if err := r.goOn(&held[i], out); err != nil {
			return err
		}
	}
	return nil
}

// drop forgets what is held, and returns it.
func (r *Run) drop() []item {
	held := r.held
	r.joining = joining{hasVideo: r.hasVideo, began: r.began, tries: r.tries}
	return held
}

// goOn takes a tag of a connection whose place is not looked for, or not any more.
func (r *Run) goOn(it *item, out Out) error {
	switch {
	case r.lost:
		return r.await(it, out)
	case r.place != nil:
		return r.catchUp(it, out)
	}
	return r.pass(it, out)
}

// catchUp takes a tag of a connection that has been joined and may still bring what is known.
func (r *Run) catchUp(it *item, out Out) error {
	switch it.kind {
	case header:
		if r.headers.has(it) {
			return nil
		}
		return r.passNow(it, out)
	case script, opaque:
		if r.knows(it) {
			r.counts.Known++
			return nil
		}
		return r.passNow(it, out)
	}
	switch r.place.feed(r, it) {
	case known:
		r.counts.Known++
		return nil
	case undecodable:
		r.counts.Undecodable++
		return nil
	case contradiction:
		r.lose()
		return r.await(it, out)
	}
	if !r.fixed {
		r.fixed, r.offset = true, r.place.offset()
	}
	if it.main && r.fresh && diff(it.tag.Timestamp+r.offset, r.since) >= missingTime {
		if r.missing() {
			return r.cutAt([]item{*it}, out)
		}
		r.place = nil // what has not come by now is not compared
		return r.pass(it, out)
	}
	err := r.pass(it, out)
	if r.place.over(r) {
		r.place = nil
	}
	return err
}

// passNow lets what is no frame go on, not before what went on already: headers have any time.
func (r *Run) passNow(it *item, out Out) error {
	if diff(it.tag.Timestamp+r.offset, r.newest) < 0 {
		own := *it
		own.tag.Timestamp = r.newest - r.offset
		it = &own
	}
	return r.pass(it, out)
}

// knows reports whether what is no frame went on, or is older than all marks.
func (r *Run) knows(it *item) bool {
	at := it.tag.Timestamp + r.offset
	for i := r.marks.first; i < r.end; i++ {
		if k := r.marks.at(i); k.sum == it.sum && k.track == maxTracks && near(k.ts, at) {
			return true
		}
	}
	return r.marks.first < r.end && diff(at, r.marks.at(r.marks.first).ts) < 0
}

func near(a, b uint32) bool {
	off := diff(a, b)
	return off >= -jitter && off <= jitter
}

// missing reports whether a track that the run had to the end has not come.
func (r *Run) missing() bool {
	for track := range r.tracks {
		if r.place.tracks[track].seen {
			continue
		}
		last := r.marks.last(uint8(track), r.end)
		if last >= 0 && diff(r.since, r.marks.at(last).ts) < aliveTime {
			return true
		}
	}
	return false
}

// lose gives up a connection's place: a key frame is waited for.
func (r *Run) lose() {
	r.outcome, r.place, r.fixed = Joining, nil, false
	r.drop()
	r.lost = true
}

// await takes a tag of a connection that has no place, and goes on with it at a key frame.
func (r *Run) await(it *item, out Out) error {
	r.hasVideo = r.hasVideo || it.tag.Type == flv.TypeVideo
	switch {
	case it.kind != frame:
		return nil // headers are among its own
	case it.main || !r.needsKey(it):
		return r.cutAt([]item{*it}, out)
	}
	r.counts.Undecodable++
	return nil
}

// cutAt goes on with a connection that could not be joined: with its headers, and then items, which
// begin with a key frame where there are pictures.
func (r *Run) cutAt(items []item, out Out) error {
	r.outcome, r.place, r.fresh = Cut, nil, false
	r.counts.Cuts++
	r.joining = joining{}
	r.marks.clear()
	r.edge, r.offset, r.end = edge{}, 0, r.marks.end()
	r.headers = slices.Clone(r.own)
	out.Cut()
	for i := range r.headers {
		t := r.headers[i].tag
		t.Timestamp = items[0].tag.Timestamp
		if err := out.Tag(t); err != nil {
			return err
		}
	}
	for i := range items {
		if it := &items[i]; it.kind != header {
			if err := r.pass(it, out); err != nil {
				return err
			}
		}
	}
	return nil
}

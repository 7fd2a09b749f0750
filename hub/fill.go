package hub

import (
	"slices"

	"sluice/flv"
	"sluice/hub/timeline"
)

// Framer puts tags into the form of one protocol.
type Framer interface {
	// AppendTags appends the tags to dst, whole and in order. It must not keep
	// them: their bytes are valid only during the call. It is called with the
	// stream locked for reading, so it does nothing else.
	AppendTags(dst []byte, tags []flv.Tag) []byte
}

// Batch is the working memory for serving viewers, one after the other.
type Batch struct {
	// Bytes are framed bytes. Fill appends to them; if they are empty, it may put
	// others in their place, which are good until the next Fill.
	Bytes  []byte
	tags   []flv.Tag
	shares shares
	// shaped are the bodies that were changed for the viewer.
	shaped []byte
	large  lastLarge
}

// Fill appends to b.Bytes, in f's form, what is due to the viewer: up to about
// limit bytes, but at least one tag if there is any. more says that there is more
// to come at once. A reason other than ReasonNone says that the viewer's stream
// has ended: nothing follows what was appended.
func (v *Viewer) Fill(b *Batch, f Framer, limit int) (more bool, end Reason) {
	s := v.stream.Load()
	s.mu.RLock()
	defer s.mu.RUnlock()

	empty := len(b.Bytes) == 0
	if empty {
		b.buffer(false)
	} else {
		b.unshare()
	}
	flags := v.flags.Load()
	stop := v.stopLocked(&s.log)
	switch {
	case flags&(flagClosed|flagDismissed) != 0:
		return false, v.gone(flags)
	case v.complete:
		return false, ReasonComplete
	case v.stop != ReasonNone:
		end = v.stop
	case s.state == stateEnded:
		end = s.reason
	}
	if flags&flagPaused != 0 {
		v.wasPaused = true
		return false, end
	}
	v.catchUp(s, stop)
	stamper, form := formOf(f)
	shared := form != 0 && empty && v.shareable(&s.log, stop, flags)
	if shared {
		if b.reuse(&v.cursor, s, form, stop, limit) {
			return false, end
		}
		b.buffer(true)
	}
	from, like := v.next, v.selection()
	b.tags, b.shares.times, b.large = b.tags[:0], b.shares.times[:0], lastLarge{}
	if b.shaped = b.shaped[:0]; cap(b.shaped) > maxShaped {
		b.shaped = nil
	}
	for size := 0; v.next < stop && size < limit && !v.complete; {
		h, until := s.log.headersAt(v.next)
		size += v.collect(b, &s.log, h, min(until, stop), limit-size, flags)
	}
	if v.complete {
		stop, end = v.next, ReasonComplete
	}
	if len(b.tags) > 0 {
		b.Bytes = f.AppendTags(b.Bytes, b.tags)
		b.large.key.stream = s
		_, b.large.key.form = formOf(f) // which it may not have had before
		b.large.end = len(b.Bytes)
		if len(b.tags) > dirtyTags {
			clear(b.tags)
		}
	}
	more = v.next < stop
	switch {
	case shared:
		b.store(&v.cursor, s, stamper, form, from, like, !more)
	case empty:
		b.shares.own = b.Bytes
	}
	if more {
		return true, ReasonNone
	}
	return false, end
}

// formOf returns the framer as a Stamper, and its form, 0 if it is none.
func formOf(f Framer) (Stamper, uint64) {
	if s, ok := f.(Stamper); ok {
		return s, s.Form()
	}
	return nil, 0
}

// collect adds to the batch what is due to the viewer of the packets from its
// cursor up to one, which all have the headers h: up to about limit bytes.
func (c *cursor) collect(b *Batch, l *log, h *headers, until uint64, limit int, flags uint32) (size int) {
	seq := c.next
	for ; seq < until && size < limit; seq++ {
		p := l.at(seq)
		if c.plan != nil {
			c.arrive(p, seq)
		}
		due := c.due(p, flags)
		if c.plan != nil {
			if c.begun && c.isOver(p) {
				c.complete = true
				break
			}
			due = due && !(p.kind == flv.TypeAudio && c.deaf(seq))
		}
		if !c.begun {
			if !due || p.kind == flv.TypeScript || p.is(markAside) {
				continue
			}
			c.begun, c.base = true, c.beginning(p)
		}
		if c.headers != h {
			size += c.appendHeaders(b, l, h, seq)
		}
		if !due {
			continue
		}
		t := flv.Tag{Type: p.kind, Timestamp: c.timestamp(p), Data: p.data()}
		if c.shape != (flv.Shape{}) && !(p.is(markPlain) && c.track(p.kind) == 0) {
			if t.Data, due = c.shaped(t, &b.shaped); !due {
				continue
			}
		}
		if c.plan != nil && c.squeezed(p) {
			t.Data = c.presented(p, t, &b.shaped)
		}
		size += b.add(t)
		b.shares.times = append(b.shares.times, p.time)
		b.large.note(c, seq, t)
	}
	c.next = seq
	return size
}

// dirtyTags is how many tags a batch may still point to when they are done with:
// to clear the few of a pass would cost as much as to collect one, and the memory
// that they keep is little.
const dirtyTags = 32

func (b *Batch) add(t flv.Tag) (size int) {
	b.tags = append(b.tags, t)
	return t.Size()
}

// beginning returns what is timestamp 0 to a viewer that starts with p: its time, or
// that at which its picture is shown where that is earlier. Some encoders send
// pictures after their time, and Chromium drops a key frame that is shown before 0,
// with everything up to the next.
func (c *cursor) beginning(p *packet) int64 {
	begin := c.time(p)
	if p.kind != flv.TypeVideo {
		return begin
	}
	frame, err := flv.ParseVideo(p.data())
	if err != nil || frame.CompositionTime >= 0 {
		return begin
	}
	shown := p.time - min(-int64(frame.CompositionTime), timeline.MaxReorder.Milliseconds())
	if c.plan != nil {
		shown = c.plan.squeeze.at(shown)
	}
	return min(begin, shown)
}

// timestamp returns p's time on the viewer's own clock, which starts at 0 with
// its first frame.
func (c *cursor) timestamp(p *packet) uint32 { return uint32(max(0, c.time(p)-c.base)) }

// maxShaped is how much memory a batch keeps for changed bodies, in bytes.
const maxShaped = 1 << 20

// catchUp moves a cursor that is too far behind, or that was paused, to the
// newest key frame, if that lies ahead. Too far behind is a viewer whose next
// packet arrived more than MaxLag before the newest one. One whose packets are
// gone while no key frame lies ahead goes on without video up to the next one.
func (c *cursor) catchUp(s *Stream, stop uint64) {
	if c.next >= stop {
		c.wasPaused = false
		return
	}
	l := &s.log
	gone := c.next < l.tail
	late := false
	if !gone {
		lag := l.newest().arrived - l.at(c.next).arrived
		late = lag > c.lagAllowed(s, lag)
	}
	if !gone && !late && !c.wasPaused {
		return
	}
	to := c.next
	switch {
	case c.canJump(l, stop):
		to = l.gop
		c.needKey, c.evicted = true, false
	case gone:
		to = min(l.shed, stop) // what is before is for readers, and may be gone soon
		c.needKey, c.evicted = true, c.hasVideo
	}
	if to > c.next && !c.wasPaused {
		c.dropped.Add(to - c.next)
	}
	c.next = to
	c.wasPaused = false
}

// canJump reports whether a key frame lies ahead of the viewer, up to where it
// ends.
func (c *cursor) canJump(l *log, stop uint64) bool {
	return l.hasGOP && l.gop > c.next && l.gop < stop
}

// stopLocked returns the packet up to which the viewer may read.
func (c *cursor) stopLocked(l *log) uint64 {
	if c.stop != ReasonNone {
		return c.stopAt
	}
	return l.head
}

// appendHeaders appends what the viewer lacks of the headers in force at packet seq:
// all of them before its first frame, metadata first and with timestamp 0 (ffmpeg
// takes metadata at any other time for a subtitle track), and what changed later on.
func (c *cursor) appendHeaders(b *Batch, l *log, h *headers, seq uint64) (size int) {
	p, had := l.at(seq), c.headers
	c.headers = h
	if c.deaf(seq) {
		h = c.withLaterSound(l, h)
	}
	if had == nil || c.scriptData && !(slices.Equal(had.meta, h.meta) && c.trackInfo(had) == c.trackInfo(h)) {
		size += b.add(flv.Tag{Type: flv.TypeScript, Data: h.meta.appendBody(nil, c.trackInfo(h))})
	}
	if had == nil {
		had = noHeaders
	}
	configs := h.configs
	if c.everything() {
		configs = h.asSent()
	}
	for _, cfg := range configs {
		switch {
		case !c.wants(cfg.typ), !c.has(h, cfg.typ):
			continue // a header without frames is no track to a player
		case !c.everything() && cfg.track != c.track(cfg.typ):
			continue
		case c.has(had, cfg.typ) && had.has(cfg):
			continue
		}
		at := p
		if had != noHeaders {
			at = l.headerTime(cfg.slot, seq)
		}
		t := flv.Tag{Type: cfg.typ, Timestamp: c.timestamp(at), Data: cfg.data}
		var ok bool
		if t.Data, ok = c.shaped(t, &b.shaped); ok {
			size += b.add(t)
		}
	}
	return size
}

// wants reports whether the viewer gets tags of the type at all.
func (c *cursor) wants(typ flv.Type) bool {
	switch typ {
	case flv.TypeAudio:
		return !c.noAudio && (c.hasAudio || !c.fixedCodecs)
	case flv.TypeVideo:
		return !c.noVideo && (c.hasVideo || !c.fixedCodecs)
	default:
		return c.scriptData
	}
}

// due reports whether the viewer gets the packet: of a track that it wants, not
// from before its start, and of video nothing that would need a missing frame.
func (c *cursor) due(p *packet, flags uint32) bool {
	if !c.wants(p.kind) || !c.gets(p) || c.begun && c.time(p) < c.base {
		return false
	}
	switch p.kind {
	case flv.TypeAudio:
		return flags&flagAudioOff == 0
	case flv.TypeVideo:
		if flags&flagVideoOff != 0 {
			c.needKey = true
			return false
		}
		if c.needKey && !c.starts(p) {
			if c.evicted {
				c.dropped.Add(1)
			}
			return false
		}
		c.needKey, c.evicted = false, false
	}
	return true
}

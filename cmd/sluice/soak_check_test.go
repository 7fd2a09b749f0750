//go:build unix

package main

import (
	"errors"
	"fmt"
	"io"

	"sluice/flv"
	"sluice/flv/amf"
)

// checker judges what one healthy viewer gets, tag by tag.
type checker struct {
	w         *soak
	selection selection

	tags     int
	session  *soakSession // of the last frame
	configs  map[trackID]uint32
	tracks   map[trackID]*seenTrack
	shift    map[[2]uint32]uint32 // received minus sent time, by session and epoch
	set      uint32               // when the publisher's clock was set last, on that clock
	front    uint32               // latest timestamp
	changed  bool                 // it saw a session begin with other tracks than the one before
	caughtUp bool                 // with ?start=live: it is at the live edge
	loose    bool                 // frames may have been left out, as the viewer asked
}

// seenTrack is what a viewer had of a track last.
type seenTrack struct {
	mark
	at uint32 // its timestamp
}

func newChecker(w *soak, selection selection) *checker {
	return &checker{
		w: w, selection: selection,
		configs: map[trackID]uint32{}, tracks: map[trackID]*seenTrack{}, shift: map[[2]uint32]uint32{},
	}
}

// maxSeam is the longest gap between two sessions, or where a clock was set, in ms: a
// clock that leaps by a few seconds may be right.
const maxSeam = 5100

// tag takes the next tag. The error says what is wrong with it.
func (c *checker) tag(t flv.Tag) error {
	first := c.tags == 0
	c.tags++
	switch t.Type {
	case flv.TypeScript:
		return c.script(t, first)
	case flv.TypeAudio, flv.TypeVideo:
	default:
		return fmt.Errorf("a tag of type %d", t.Type)
	}
	if first {
		return errors.New("no metadata at first")
	}
	if video := t.Type == flv.TypeVideo; video && c.selection.onlyAudio || !video && c.selection.onlyVideo {
		return fmt.Errorf("unwanted %v", t.Type)
	}
	packets, err := t.AppendPackets(nil)
	for _, p := range packets {
		if err = c.packet(t, p); err != nil {
			break
		}
	}
	return err
}

func (c *checker) script(t flv.Tag, first bool) error {
	values, err := amf.DecodeAll(t.Data, amf.Limits{Elements: 1 << 16}) // of a file: with key frames
	if err != nil {
		return fmt.Errorf("script data: %w", err)
	}
	switch {
	case t.Timestamp != 0 && values[0] == "onMetaData":
		return fmt.Errorf("metadata at %d", t.Timestamp)
	case first && values[0] != "onMetaData":
		return fmt.Errorf("%v at first", values[0])
	case !first && !c.selection.scripts:
		return fmt.Errorf("%v in the flow", values[0])
	}
	return nil
}

func (c *checker) packet(t flv.Tag, p flv.Packet) error {
	id := trackID{t.Type == flv.TypeVideo, p.Track}
	if err := c.shaped(p); err != nil {
		return err
	}
	switch p.Kind {
	case flv.KindConfig:
		c.configs[id] = configNumber(p.Payload)
		return nil
	case flv.KindFrame:
	default:
		return fmt.Errorf("%v in the flow", p.Kind)
	}
	m, err := parseMark(p.Payload)
	if err != nil {
		return fmt.Errorf("%w: %v of %d bytes, % x", err, p.Codec, len(p.Payload), p.Payload[:min(len(p.Payload), markSize)])
	}
	if c.selection.shape.Form == flv.FormAsSent && m.track != id.track || m.track != 0 && m.track != id.track+c.selection.shape.Track {
		return fmt.Errorf("of track %d in the place of %d", m.track, id.track)
	}
	if err := c.frame(id, t.Timestamp, m); err != nil {
		return fmt.Errorf("%v %d of session %d, sent at %d, here at %d: %w", id, m.seq, m.session, m.time, t.Timestamp, err)
	}
	return nil
}

// shaped says whether the body has the form that the viewer understands.
func (c *checker) shaped(p flv.Packet) error {
	shape := c.selection.shape
	classic := p.Codec == flv.CodecH264 || p.Codec == flv.CodecAAC || p.Codec == flv.CodecMP3
	switch {
	case p.Codec == flv.CodecHEVC && shape.HEVC != flv.HEVCAsSent && p.Enhanced != (shape.HEVC == flv.HEVCEnhanced),
		shape.Form != flv.FormAsSent && (p.Multitrack || p.Nanos != 0),
		shape.Form >= flv.FormClassic && classic && p.Enhanced:
		return fmt.Errorf("%v in a form that was not asked for (enhanced %v, multitrack %v, ModEx %v)",
			p.Codec, p.Enhanced, p.Multitrack, p.Nanos != 0)
	}
	return nil
}

func (c *checker) frame(id trackID, at uint32, m mark) error {
	if m.video != id.video {
		return errors.New("of another track")
	}
	if m.config != 0 && c.configs[id] != m.config {
		return fmt.Errorf("behind header %x in place of %x", c.configs[id], m.config)
	}
	if err := c.enter(at, m); err != nil {
		return err
	}
	last := c.tracks[id]
	switch {
	case last == nil && c.session != nil && c.session.id == m.session:
		if id.video && !m.key && !c.loose {
			return errors.New("begins without a key frame")
		}
	case last.session != m.session:
		if m.seq != 0 && !c.loose {
			return errors.New("the session's beginning is missing")
		}
	case m.seq == last.seq+1:
	case m.seq <= last.seq:
		return fmt.Errorf("again, after %d", last.seq)
	case !c.loose:
		return fmt.Errorf("a gap behind %d", last.seq)
	case id.video && id.track == 0 && !m.key:
		return fmt.Errorf("an inter frame after a gap behind %d", last.seq)
	}
	if last != nil && at < last.at {
		return fmt.Errorf("time runs backwards from %d", last.at)
	}
	if err := c.sync(last, at, m); err != nil {
		return err
	}
	c.tracks[id] = &seenTrack{m, at}
	c.front = max(c.front, at)
	return nil
}

// enter follows the sessions.
func (c *checker) enter(at uint32, m mark) error {
	if c.session != nil && m.session == c.session.id {
		return nil
	}
	found, ok := c.w.sessions.Load(m.session)
	if !ok {
		return errors.New("of a session that never was")
	}
	session := found.(*soakSession)
	old := c.session
	switch {
	case session.stream.key != c.selection.key:
		return fmt.Errorf("of %s", session.stream.key)
	case old == nil:
		if at != 0 && !c.selection.live && !c.selection.file {
			return errors.New("time does not begin at 0")
		}
	case m.session < old.id:
		return fmt.Errorf("after session %d", old.id)
	case !old.ended.Load():
		return fmt.Errorf("session %d had not ended", old.id)
	case at > c.front+maxSeam && !c.loose && !c.w.between(old, session):
		return fmt.Errorf("a seam from %d", c.front)
	default:
		c.changed = c.changed || session.program != old.program || old.broken.Load()
		if err := c.wholeSession(); err != nil {
			return err
		}
		// what was not seen of it yet begins with it
		for _, t := range session.tracks {
			if c.tracks[t.trackID] == nil && c.gets(t.trackID) {
				c.tracks[t.trackID] = &seenTrack{}
			}
		}
	}
	c.session = session
	return nil
}

// between reports whether there were other sessions of the stream between two, of which
// a viewer may have got nothing.
func (w *soak) between(old, session *soakSession) bool {
	for id := old.id + 1; id < session.id; id++ {
		if s, ok := w.sessions.Load(id); ok && s.(*soakSession).stream == session.stream {
			return true
		}
	}
	return false
}

// gets reports whether the viewer is to get the track.
func (c *checker) gets(id trackID) bool {
	return !(id.video && c.selection.onlyAudio || !id.video && c.selection.onlyVideo)
}

// wholeSession says what was missing of the present session, which has ended.
func (c *checker) wholeSession() error {
	if c.loose || c.session.broken.Load() {
		return nil
	}
	for id, last := range c.tracks {
		if n, known := c.session.whole(id); known && last.session == c.session.id && last.seq+1 != n {
			return fmt.Errorf("%v of session %d ends with %d of %d", id, c.session.id, last.seq, n)
		}
	}
	return nil
}

// soakSettling is how long, in ms, frames may be out of step after a publisher's clock was
// set: of a single frame that leaps, nobody can tell what it means.
const soakSettling = 200

// sync checks that one offset serves all tracks, as long as the publisher's clock
// runs. One that steps back a little is held.
func (c *checker) sync(last *seenTrack, at uint32, m mark) error {
	clock := [2]uint32{m.session, m.epoch}
	shift, known := c.shift[clock]
	if c.selection.live && m.video && !c.caughtUp {
		// up to the live edge, time is squeezed
		c.caughtUp = known && at-m.time == shift || last != nil && last.session != m.session
		return nil
	}
	switch {
	case !known:
		if m.epoch > 0 && last != nil && last.session == m.session && at > c.front+maxSeam && !c.loose {
			return fmt.Errorf("a gap from %d", c.front)
		}
		c.shift[clock], c.set = at-m.time, m.time
	case at-m.time == shift, last != nil && at == last.at:
	case m.epoch > 0 && m.time-c.set <= soakSettling:
		c.shift[clock] = at - m.time
	default:
		return fmt.Errorf("out of sync by %d ms", int32(at-m.time-shift))
	}
	return nil
}

// end judges how the viewer's stream ended, err being io.EOF for a proper end.
func (c *checker) end(err error) error {
	proper := errors.Is(err, io.EOF)
	switch {
	case c.w.ctx.Err() != nil, c.session == nil: // it had to leave, or the stream had not begun
		return nil
	case !proper:
		return fmt.Errorf("broken off: %w", err)
	case c.w.closing.Load():
		return nil
	case c.selection.fixed && (c.changed || c.session.broken.Load()):
		return nil // its tracks are others: it ends when that is known, with some of its frames
	case !c.session.ended.Load():
		return fmt.Errorf("ended, while session %d (%s) goes on", c.session.id, c.session.name)
	}
	return c.wholeSession()
}

func (id trackID) String() string { return fmt.Sprintf("%v track %d frame", id.typ(), id.track) }

package hub

import (
	"math"
	"time"

	"sluice/flv"
	"sluice/hub/timeline"
)

// startPlan is for a viewer that does not start at the newest key frame, or does not show
// what follows it at the publisher's pace, or ends before its stream: it says where and
// how.
type startPlan struct {
	live bool          // StartLive
	back time.Duration // WatchOptions.Back

	duration int64 // WatchOptions.Duration, in ms; 0 for none

	// sound is the packet before which there is no sound for the viewer: Stream.sound, if
	// it starts before that.
	sound uint64

	// lead is by how much the viewer's packets may be older than MaxLag allows, in
	// ms: as old as they were at its start, and no more than they were since.
	lead int64
	squeeze

	gone chan struct{} // closed when the viewer is closed, for its Wait; nil before that
}

// Lack is what a viewer that has not started waits for.
type Lack uint8

// What viewers wait for, in the order in which it comes.
const (
	LacksNothing     Lack = iota
	LacksPublisher        // nobody publishes the stream; the last publisher may have its grace time
	LacksTracks           // which tracks the publisher has is not known yet
	LacksCodecHeader      // no track that it wants has its codec header, and it can't begin without
	LacksKeyFrame         // the log holds no key frame to start at
)

// String returns it in words, empty for nothing.
func (l Lack) String() string {
	return [...]string{"", "publisher", "track", "codec header", "key frame"}[l]
}

// lacksLocked returns what a viewer that has not started waits for, LacksNothing if it can
// start, or be told that there is nothing for it.
func (s *Stream) lacksLocked(c *cursor) Lack {
	switch {
	case s.state != stateLive:
		return LacksPublisher
	case !s.session.decided && s.session.begun.IsZero() && s.session.beforeKey:
		return LacksKeyFrame
	case !s.session.decided:
		return LacksTracks
	}
	audio, video := s.offersLocked(c)
	switch {
	case !audio && !video && c.fixedCodecs && s.hasTrackFor(c):
		return LacksCodecHeader
	case video && !s.log.hasGOP:
		return LacksKeyFrame
	}
	return LacksNothing
}

// startLocked returns where a viewer that comes now starts, and what it waits for if it
// cannot.
func (s *Stream) startLocked(c *cursor) (seq uint64, lacks Lack) {
	if lacks = s.lacksLocked(c); lacks != LacksNothing {
		return 0, lacks
	}
	audio, video := s.offersLocked(c)
	if !audio && !video {
		return s.log.head, LacksNothing // it is refused
	}
	back := int64(0)
	if c.plan != nil {
		back = c.plan.back.Milliseconds()
	}
	if !video { // where sound begins, there is nothing to wait for
		floor := s.session.first
		if back > 0 {
			floor = s.oldest
		}
		floor = max(floor, s.sound)
		if whole, ok := s.wholeLocked(c); ok && back == 0 {
			return whole, LacksNothing
		}
		now := min(s.soundEndLocked(), s.log.newest().time)
		return s.log.soundSince(now-max(back, audioLead.Milliseconds()), floor), LacksNothing
	}
	if back > 0 {
		if seq, ok := s.log.keyBefore(s.log.newest().time-back, max(s.oldest, s.log.shed)); ok {
			return seq, LacksNothing
		}
	}
	return s.log.gop, LacksNothing
}

// wholeLocked returns where a session of sound begins for a viewer that has waited for it.
func (s *Stream) wholeLocked(c *cursor) (seq uint64, ok bool) {
	return max(s.session.first, s.sound, s.log.shed), c.early && s.session.whole && s.onlyAudioLocked()
}

// soundEndLocked returns where the sound has come to, silence in its place included, in
// ms of stream time; math.MaxInt64 if there was none.
func (s *Stream) soundEndLocked() int64 {
	end := s.timeline.Last(mainAudio)
	if f := &s.session.filling; f.any && (end == math.MaxInt64 || f.last > end) {
		return f.last
	}
	return end
}

// hasTrackFor reports whether the stream has a track that the viewer wants, though it
// may not be able to make anything of it yet.
func (s *Stream) hasTrackFor(c *cursor) bool {
	return !c.noAudio && s.tracks.codecs[audioTrack] != 0 || !c.noVideo && s.tracks.codecs[videoTrack] != 0
}

// leadLocked settles what is particular about the start of a viewer that is about to
// start at its cursor.
func (s *Stream) leadLocked(c *cursor) {
	if c.hasAudio && c.next < s.sound {
		if c.plan == nil {
			c.plan = new(startPlan)
		}
		c.plan.sound = s.sound
	}
	f := c.plan
	if f == nil {
		return
	}
	if f.live && c.hasVideo {
		least := int64(silentSqueeze)
		if c.hasAudio {
			least = soundSqueeze
		}
		f.squeeze = s.log.squeeze(c.next, c.video, least)
	}
	if c.next < s.log.head {
		f.lead = s.log.newest().arrived - s.log.at(c.next).arrived
	}
	if f.squeeze.window == 0 && f.back == 0 && f.duration == 0 && f.sound == 0 {
		c.plan = nil
	}
}

// lagAllowed returns how old the viewer's next packet may be, in ms; lag is how old it
// is.
func (c *cursor) lagAllowed(s *Stream, lag int64) int64 {
	most := s.hub.cfg.MaxLag.Milliseconds()
	if c.plan != nil {
		most += c.plan.lead
		c.plan.lead = min(c.plan.lead, lag)
	}
	return most
}

// Bounds of a squeeze, in ms.
const (
	// squeezeFrame is what each frame gets: the smallest step of an FLV timestamp, so
	// that no two frames are shown at the same time.
	squeezeFrame = 1
	// soundSqueeze is what Chromium wants of a sound track before it plays: with less
	// the picture stands until the rest has come.
	soundSqueeze = 200
	// silentSqueeze is enough where there is no sound to wait for.
	silentSqueeze = 100
	// maxSqueeze bounds how far behind the live edge a long GOP makes a viewer start.
	maxSqueeze = 400
)

// squeeze is the way a viewer with StartLive gets from the newest key frame to the live
// edge: the video up to the edge is shown within a short window before it, and the
// sound begins with the window, at its own pace. From the edge on nothing is changed.
//
//	stream     K──────────────────────────────┤ edge
//	viewer                            K▒▒▒▒▒▒▒┤ edge
//	                                  └ window ┘
//
// Both decoding and presentation times go through the same increasing map, so frames
// keep their order, and a player that follows timestamps decodes the whole GOP at
// once and is live. (MSE, and with it mpegts.js, plays from the first timestamp on;
// without this a viewer stays as far behind the edge as the key frame was old.)
type squeeze struct {
	first, edge int64 // stream time, ms
	window      int64 // ms; 0 for no squeeze
}

// squeeze returns what brings a viewer of the given video track from packet seq to the
// head of the log within least ms or a little more; none where it is no further away.
func (l *log) squeeze(seq uint64, track uint8, least int64) squeeze {
	frames := int64(0)
	for i := seq; i < l.head; i++ {
		if p := l.at(i); p.kind == flv.TypeVideo && (p.track == track || p.is(markMany)) {
			frames++
		}
	}
	q := squeeze{
		first:  l.at(seq).time,
		edge:   l.newest().time,
		window: min(max(frames*squeezeFrame, least), maxSqueeze),
	}
	if q.edge-q.first <= q.window {
		return squeeze{}
	}
	return q
}

// at returns where a time of the stream is shown.
func (q *squeeze) at(time int64) int64 {
	if q.window == 0 || time >= q.edge {
		return time
	}
	return q.edge - (q.edge-time)*q.window/(q.edge-q.first)
}

// time returns when a packet is due on the viewer's clock, which is the stream's but
// for a squeeze.
func (c *cursor) time(p *packet) int64 {
	if c.plan == nil || p.kind != flv.TypeVideo {
		return p.time
	}
	return c.plan.squeeze.at(p.time)
}

// presented returns the body of a frame whose decoding time was squeezed, with a
// composition time that goes with it.
func (c *cursor) presented(p *packet, t flv.Tag, scratch *[]byte) []byte {
	frame, err := t.Packet()
	if err != nil || frame.CompositionTime == 0 || frame.Multitrack {
		return t.Data
	}
	q := &c.plan.squeeze
	frame.CompositionTime = int32(q.at(p.time+int64(frame.CompositionTime)) - q.at(p.time))
	begin := len(*scratch)
	out, err := flv.AppendVideo(*scratch, frame)
	if err != nil {
		return t.Data
	}
	*scratch = out
	return out[begin:len(out):len(out)]
}

// squeezed reports whether what the viewer shows at a packet is not what the stream
// has there, so that composition times change as well.
func (c *cursor) squeezed(p *packet) bool {
	return c.plan != nil && c.plan.window != 0 && p.kind == flv.TypeVideo &&
		p.time < c.plan.edge+timeline.MaxReorder.Milliseconds()
}

// arrive lets a viewer that has come to the live edge be as all others are.
func (c *cursor) arrive(p *packet, seq uint64) {
	const caughtUp = 1000 // ms; a worker may let packets wait for some of it
	f := c.plan
	if f.duration > 0 || seq < f.sound || f.lead > caughtUp || f.window != 0 && p.time < f.edge+timeline.MaxSkew.Milliseconds() {
		return
	}
	c.plan = nil
}

// isOver reports whether the viewer has had as much as it asked for when a packet comes.
func (c *cursor) isOver(p *packet) bool {
	return c.plan.duration > 0 && c.time(p)-c.base >= c.plan.duration
}

// deaf reports whether the viewer gets no sound at a packet yet.
func (c *cursor) deaf(seq uint64) bool { return c.plan != nil && seq < c.plan.sound }

// withLaterSound returns headers for a viewer that gets no sound yet: those of the sound
// that it will get, as far as that has come, so that it is told of that first of all.
func (c *cursor) withLaterSound(l *log, h *headers) *headers {
	later := noHeaders
	if c.plan.sound < l.head {
		later, _ = l.headersAt(c.plan.sound)
	}
	return h.withSoundOf(later)
}

package hub

import "sluice/flv"

// chooseTracksLocked settles which track of each type a viewer gets: the one that it
// asked for, or the main one of a type that has no such track.
func (s *Stream) chooseTracksLocked(c *cursor) error {
	c.audio, c.video = 0, 0
	n := c.shape.Track
	if n == 0 || c.shape.Form == flv.FormAsSent {
		return nil
	}
	if c.hasAudio && s.hasTrackLocked(flv.TypeAudio, n) {
		c.audio = n
	}
	if c.hasVideo && s.hasTrackLocked(flv.TypeVideo, n) {
		c.video = n
	}
	if c.audio == 0 && c.video == 0 {
		return refuse(ReasonNotFound, "%s has no track %d", s.key, n)
	}
	return nil
}

// track returns the number of the track that the viewer gets of a type.
func (c *cursor) track(typ flv.Type) uint8 {
	if typ == flv.TypeAudio {
		return c.audio
	}
	return c.video
}

// everything reports whether the viewer gets all tracks, and bodies of all kinds.
func (c *cursor) everything() bool { return c.shape.Form == flv.FormAsSent }

// gets reports whether the packet is, or holds, something of the track that the viewer
// gets. What it makes of the body is for shaped to find out.
func (c *cursor) gets(p *packet) bool {
	if p.kind == flv.TypeScript || c.everything() {
		return !p.is(markFill)
	}
	return !p.is(markAside) && (p.track == c.track(p.kind) || p.is(markMany))
}

// starts reports whether the viewer's video can begin with the packet.
func (c *cursor) starts(p *packet) bool {
	if c.video != 0 {
		return p.is(markRandom)
	}
	return p.is(markStart)
}

// shaped returns a tag's body in the viewer's shape, false if it has no place there.
func (c *cursor) shaped(t flv.Tag, scratch *[]byte) ([]byte, bool) {
	shape := c.shape
	shape.Track = c.track(t.Type)
	return shape.Apply(t, scratch)
}

// trackInfo returns what the viewer's metadata says of the tracks of a stream with the
// given headers.
func (c *cursor) trackInfo(h *headers) trackInfo {
	var t trackInfo
	if c.has(h, flv.TypeAudio) && c.wants(flv.TypeAudio) {
		t.audio, t.mainAudio = c.codecID(h, flv.TypeAudio), c.audio == 0
	}
	if h.track(flv.TypeVideo) != 0 && c.wants(flv.TypeVideo) {
		t.video, t.mainVideo = c.codecID(h, flv.TypeVideo), c.video == 0
	}
	return t
}

// has reports whether the viewer has a main track of the type while h is in force. Filled
// sound does not count for a viewer of everything as sent that can follow changes.
func (c *cursor) has(h *headers, typ flv.Type) bool {
	return h.track(typ) != 0 && !(typ == flv.TypeAudio && h.filled && c.everything() && !c.fixedCodecs)
}

// codecID returns what stands for a codec in the viewer's metadata. A further track
// always came in the form of Enhanced RTMP.
func (c *cursor) codecID(h *headers, typ flv.Type) float64 {
	number := c.track(typ)
	if number == 0 {
		return c.shape.CodecID(h.track(typ), h.enhanced(typ))
	}
	codec := h.track(typ)
	if i, found := h.find(slot{typ, flv.KindConfig, number}); found {
		codec = h.configs[i].codec
	}
	return c.shape.CodecID(codec, true)
}

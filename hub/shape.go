package hub

import "sluice/flv"

// chooseTracksLocked settles which track of each type a viewer gets: the one that it
// asked for, or the main one of a type that has no such track.
func (s *Stream) chooseTracksLocked(v *Viewer) error {
	v.audio, v.video = 0, 0
	n := v.shape.Track
	if n == 0 || v.shape.Form == flv.FormAsSent {
		return nil
	}
	if v.hasAudio && s.hasTrackLocked(flv.TypeAudio, n) {
		v.audio = n
	}
	if v.hasVideo && s.hasTrackLocked(flv.TypeVideo, n) {
		v.video = n
	}
	if v.audio == 0 && v.video == 0 {
		return refuse(ReasonNotFound, "%s has no track %d", s.key, n)
	}
	return nil
}

// track returns the number of the track that the viewer gets of a type.
func (v *Viewer) track(typ flv.Type) uint8 {
	if typ == flv.TypeAudio {
		return v.audio
	}
	return v.video
}

// everything reports whether the viewer gets all tracks, and bodies of all kinds.
func (v *Viewer) everything() bool { return v.shape.Form == flv.FormAsSent }

// gets reports whether the packet is, or holds, something of the track that the viewer
// gets. What it makes of the body is for shaped to find out.
func (v *Viewer) gets(p *packet) bool {
	if p.kind == flv.TypeScript || v.everything() {
		return !p.is(markFill)
	}
	return !p.is(markAside) && (p.track == v.track(p.kind) || p.is(markMany))
}

// starts reports whether the viewer's video can begin with the packet.
func (v *Viewer) starts(p *packet) bool {
	if v.video != 0 {
		return p.is(markRandom)
	}
	return p.is(markStart)
}

// shaped returns a tag's body in the viewer's shape, false if it has no place there.
func (v *Viewer) shaped(t flv.Tag, scratch *[]byte) ([]byte, bool) {
	shape := v.shape
	shape.Track = v.track(t.Type)
	return shape.Apply(t, scratch)
}

// trackInfo returns what the viewer's metadata says of the tracks of a stream with the
// given headers.
func (v *Viewer) trackInfo(h *headers) trackInfo {
	var t trackInfo
	if v.has(h, flv.TypeAudio) && v.wants(flv.TypeAudio) {
		t.audio, t.mainAudio = v.codecID(h, flv.TypeAudio), v.audio == 0
	}
	if h.track(flv.TypeVideo) != 0 && v.wants(flv.TypeVideo) {
		t.video, t.mainVideo = v.codecID(h, flv.TypeVideo), v.video == 0
	}
	return t
}

// has reports whether the viewer has a main track of the type while h is in force. Filled
// sound does not count for a viewer of everything as sent that can follow changes.
func (v *Viewer) has(h *headers, typ flv.Type) bool {
	return h.track(typ) != 0 && !(typ == flv.TypeAudio && h.filled && v.everything() && !v.fixedCodecs)
}

// codecID returns what stands for a codec in the viewer's metadata. A further track
// always came in the form of Enhanced RTMP.
func (v *Viewer) codecID(h *headers, typ flv.Type) float64 {
	number := v.track(typ)
	if number == 0 {
		return v.shape.CodecID(h.track(typ), h.enhanced(typ))
	}
	codec := h.track(typ)
	if i, found := h.find(slot{typ, flv.KindConfig, number}); found {
		codec = h.configs[i].codec
	}
	return v.shape.CodecID(codec, true)
}

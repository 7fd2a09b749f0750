package hub

import "sluice/flv"

// FLV's composition time is signed, and some encoders make use of that: they send a
// picture after the time at which it is shown. ffmpeg warns of each such frame, and
// Chromium drops a key frame that is shown before 0, with everything up to the next.
// So once a session has such a frame, decoding times are set back by as much and
// composition times put forward: what is shown, and when, stays as it is.

// settleCompositionLocked makes the composition time of a frame of the main video track
// one that is not negative, if need be with a decoding time that is earlier.
func (s *Stream) settleCompositionLocked(t *flv.Tag, p *flv.Packet) {
	switch p.Codec {
	case flv.CodecH264, flv.CodecHEVC, flv.CodecVVC: // which have one
	default:
		return
	}
	if t.Type != flv.TypeVideo || p.Multitrack {
		return
	}
	if by := min(-int64(p.CompositionTime), maxReorder.Milliseconds()); by > s.session.ahead {
		s.timeline.setBack(by - s.session.ahead)
		s.session.ahead = by
	}
	t.Timestamp -= uint32(s.session.ahead)
	p.CompositionTime += int32(s.session.ahead)
}

// composedLocked returns the body of a frame that settleCompositionLocked has changed. It
// is valid until the next one.
func (s *Stream) composedLocked(t flv.Tag, p flv.Packet) []byte {
	if s.session.ahead == 0 || t.Type != flv.TypeVideo || p.Multitrack {
		return t.Data
	}
	// What the decoding time could not be set back, the frame is not shown later.
	p.CompositionTime -= int32(min(max(0, int64(p.CompositionTime)), s.timeline.mains[trackVideo].behind))
	body, err := flv.AppendVideo(s.composed[:0], p)
	if err != nil {
		return t.Data
	}
	s.composed = body
	return body
}

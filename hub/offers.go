package hub

import "sluice/flv"

// trackSet is what viewers are told that a stream has.
type trackSet struct {
	known  bool                  // they are told anything
	codecs [mainTracks]flv.Codec // of its main tracks; 0: no such track
}

// onlyAudioLocked reports whether the stream is known to have no video, so that
// every packet is a start point.
func (s *Stream) onlyAudioLocked() bool { return s.session.decided && s.tracks.codecs[videoTrack] == 0 }

// offersLocked returns which tracks there are for a viewer, as it would be told now.
func (s *Stream) offersLocked(v *Viewer) (audio, video bool) {
	return !v.noAudio && s.offersTrackLocked(v, audioTrack), !v.noVideo && s.offersTrackLocked(v, videoTrack)
}

func (s *Stream) offersTrackLocked(v *Viewer, i int) bool {
	codec := s.tracks.codecs[i]
	switch {
	case codec == 0:
		return false
	case v.fixedCodecs && needsHeader(codec) && s.codecLocked(typeOf(i)) != codec:
		return false
	case i == audioTrack && v.everything() && s.headers.filled:
		return v.hasAudio // it had it when it started; who starts is told the truth
	}
	return true
}

// reviewLocked ends, here and now, the viewers that can't follow a change of tracks and
// for whom these are not those that they began with.
func (s *Stream) reviewLocked() {
	for _, v := range s.viewers {
		if !v.fixedCodecs || !v.started || v.stop != ReasonNone {
			continue
		}
		if audio, video := s.offersLocked(v); audio != v.hasAudio || video != v.hasVideo {
			v.stop, v.stopAt = ReasonCodecChanged, s.log.head
		}
	}
}

// breakTrackLocked ends, here and now, the viewers that can't go on with another
// format of a track than they began with.
func (s *Stream) breakTrackLocked(typ flv.Type, number int) {
	for _, v := range s.viewers {
		if !v.fixedCodecs || !v.started || v.stop != ReasonNone {
			continue
		}
		has := v.hasAudio
		if typ == flv.TypeVideo {
			has = v.hasVideo
		}
		if has && (number == anyTrack || v.track(typ) == uint8(number)) {
			v.stop, v.stopAt = ReasonCodecChanged, s.log.head
		}
	}
}

// anyTrack stands for all tracks of a type.
const anyTrack = -1

// startAnewLocked is a change, here and now, that players set up for a track can't
// follow. Whoever joins starts behind it.
func (s *Stream) startAnewLocked(typ flv.Type, number int) {
	s.breakTrackLocked(typ, number)
	s.startHereLocked()
}

// startHereLocked makes the next packet the first at which anybody starts.
func (s *Stream) startHereLocked() {
	s.log.forgetGOP()
	s.session.first, s.oldest = s.log.head, s.log.head
}

// settleLocked makes the packets that came before the decision what they would
// have been after it, for those who start there: without video each of them is a
// start point; and their headers are those of both tracks, since players want all
// headers before all frames, and none of a track without frames.
func (s *Stream) settleLocked() {
	first := max(s.session.first, s.log.tail)
	video := s.tracks.codecs[videoTrack] != 0
	switch {
	case !video: // who joins starts a little behind the live edge
		lead := max(audioLead, s.hub.cfg.LogDuration).Milliseconds()
		first = s.log.soundSince(s.timeline.Last(mainAudio)-lead, first)
	case !s.log.hasGOP:
	case s.log.at(s.log.gop).kind != flv.TypeVideo:
		s.log.forgetGOP() // a start point only while there was no video
	default:
		first = max(first, s.log.gop)
	}
	if !video {
		for seq := first; seq < s.log.head; seq++ {
			if s.log.at(seq).kind != flv.TypeVideo {
				s.log.markKey(seq)
			}
		}
	}
	s.log.changeHeaders(first, func(h *headers) *headers {
		return h.settled(s.headers).sinceNumber(s.session.firstConfig)
	})
}

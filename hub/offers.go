package hub

import "sluice/flv"

// trackSet is what viewers are told that a stream has.
type trackSet struct {
	known  bool                  // they are told anything
	codecs [mainTracks]flv.Codec // of its main tracks; 0: no such track
}

// Codecs returns the codecs of a stream's main tracks, as viewers are told of them now: 0 for no
// such track, and as long as that is not known.
func (h *Hub) Codecs(key Key) (video, audio flv.Codec) {
	s := h.stream(key)
	if s == nil {
		return 0, 0
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.tracks.codecs[videoTrack], s.tracks.codecs[audioTrack]
}

// onlyAudioLocked reports whether the stream is known to have no video, so that
// every packet is a start point.
func (s *Stream) onlyAudioLocked() bool { return s.session.decided && s.tracks.codecs[videoTrack] == 0 }

// offersLocked returns which tracks there are for a viewer, as it would be told now.
func (s *Stream) offersLocked(c *cursor) (audio, video bool) {
	return !c.noAudio && s.offersTrackLocked(c, audioTrack), !c.noVideo && s.offersTrackLocked(c, videoTrack)
}

func (s *Stream) offersTrackLocked(c *cursor, i int) bool {
	codec := s.tracks.codecs[i]
	switch {
	case codec == 0:
		return false
	case c.fixedCodecs && needsHeader(codec) && s.codecLocked(typeOf(i)) != codec:
		return false
	case c.everything() && s.session.tracks[i].state == trackSilent:
		return c.hasAudio // as it was told at its start; a viewer that starts now is told the truth
	}
	return true
}

// reviewLocked ends the viewers for whom the tracks are not those that they began with,
// if they can't follow, and lets others who wait look again.
func (s *Stream) reviewLocked() {
	s.news = true
	s.endFixedLocked(func(v *Viewer) bool {
		audio, video := s.offersLocked(&v.cursor)
		return audio != v.hasAudio || video != v.hasVideo
	})
}

// breakTrackLocked ends the viewers of a track who can't go on with another format of it
// than they began with.
func (s *Stream) breakTrackLocked(typ flv.Type, number int) {
	s.endFixedLocked(func(v *Viewer) bool {
		has := v.hasAudio
		if typ == flv.TypeVideo {
			has = v.hasVideo
		}
		return has && (number == anyTrack || v.track(typ) == uint8(number))
	})
}

// endFixedLocked ends, here and now, viewers that can't follow a change and for whom the
// stream has become unfit. It looks at all viewers only if some of them can't follow one.
func (s *Stream) endFixedLocked(unfit func(*Viewer) bool) {
	for i := 0; i < len(s.viewers) && s.fixed > 0; i++ {
		if v := s.viewers[i]; v.isFixed() && unfit(v) {
			v.stop, v.stopAt = ReasonCodecChanged, s.log.head
			s.fixed--
		}
	}
}

// isFixed reports whether the viewer has started and would be ended by a change that it
// can't follow.
func (v *Viewer) isFixed() bool { return v.fixedCodecs && v.started && v.stop == ReasonNone }

// anyTrack stands for all tracks of a type.
const anyTrack = -1

// startAnewLocked is a change, here and now, that players set up for a track can't
// follow. Viewers who join start behind it.
func (s *Stream) startAnewLocked(typ flv.Type, number int) {
	s.breakTrackLocked(typ, number)
	s.startHereLocked(typ)
}

// changeFormatsLocked is a change of format of tracks of a type, here and now.
func (s *Stream) changeFormatsLocked(typ flv.Type, numbers []int) {
	for _, number := range numbers {
		s.news = true // of a format that is told
		if number == 0 {
			s.startAnewLocked(typ, 0)
		} else {
			s.breakTrackLocked(typ, number)
		}
	}
}

// startHereLocked makes the next packet the first at which anybody starts. Where only
// the sound changes, the picture from before is as good as ever: those who start with it
// get the sound from here on.
func (s *Stream) startHereLocked(typ flv.Type) {
	s.sound = s.log.head
	if typ == flv.TypeAudio && s.session.tracks[videoTrack].state == trackLive {
		return
	}
	s.log.forgetGOP()
	s.session.first, s.oldest = s.log.head, s.log.head
}

// rewriteUndecidedLocked makes the packets that came before the decision what they would
// have been after it, for those who start there: without video each of them is a
// start point; and their headers are those of both tracks, since players want all
// headers before all frames, and none of a track without frames. If it is decided again,
// because a track is gone, they may be many: as far back as anybody starts is enough.
func (s *Stream) rewriteUndecidedLocked(again bool) {
	first := max(s.session.first, s.log.shed)
	video := s.tracks.codecs[videoTrack] != 0
	switch {
	case !video && !again: // viewers who have waited start with all of it
		s.holdLocked(first)
	case !video: // viewers who join start a little behind the live edge
		lead := max(audioLead, s.hub.cfg.LogDuration).Milliseconds()
		first = s.log.soundSince(s.soundEndLocked()-lead, first)
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

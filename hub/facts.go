package hub

import (
	"cmp"
	"slices"

	"sluice/flv"
)

// Track is the format of one track, as far as it is known. Number is 0 for the main track
// and 1 to 255 for a further one; in StreamInfo.Further it is never 0.
type Track struct {
	Number uint8
	Video  *flv.VideoFormat
	Audio  *flv.AudioFormat // one of the two
}

func (t Track) typ() flv.Type {
	if t.Video != nil {
		return flv.TypeVideo
	}
	return flv.TypeAudio
}

func (t Track) codec() flv.Codec {
	if t.Video != nil {
		return t.Video.Codec
	}
	return t.Audio.Codec
}

// maxTracks bounds the further tracks that a stream tells of.
const maxTracks = maxConfigs

// hasTrackLocked reports whether the stream is known to have a track.
func (s *Stream) hasTrackLocked(typ flv.Type, number uint8) bool {
	if number == 0 {
		return s.headers.track(typ) != 0
	}
	_, found := s.findTrackLocked(typ, number)
	return found
}

func (s *Stream) findTrackLocked(typ flv.Type, number uint8) (int, bool) {
	return slices.BinarySearchFunc(s.facts.further, number, func(t Track, number uint8) int {
		return cmp.Or(-cmp.Compare(t.typ(), typ), cmp.Compare(t.Number, number))
	})
}

// noteFormatsLocked notes what a tag tells of the format of its tracks: codec, profile,
// size, rates, channels. What a tag does not tell stays as it was. It returns the numbers
// of the tracks whose format has changed; a main track's codec is not counted, since that
// is for changeCodecLocked.
func (s *Stream) noteFormatsLocked(c *content) (changed []int) {
	for _, t := range c.formats {
		known, differs := s.knownTrackLocked(t.typ(), t.Number), false
		if t, differs = t.following(known); differs || t.Number != 0 && known != (Track{}) && known.codec() != t.codec() {
			changed = append(changed, int(t.Number))
		}
		s.setTrackLocked(t)
	}
	return changed
}

// knownTrackLocked returns what is known of a track, nothing at first.
func (s *Stream) knownTrackLocked(typ flv.Type, number uint8) Track {
	i, found := s.findTrackLocked(typ, number)
	switch {
	case found:
		return s.facts.further[i]
	case number == 0 && typ == flv.TypeVideo:
		return Track{Video: s.facts.video}
	case number == 0:
		return Track{Audio: s.facts.audio}
	}
	return Track{}
}

// setTrackLocked sets what is known of a track.
func (s *Stream) setTrackLocked(t Track) {
	i, found := s.findTrackLocked(t.typ(), t.Number)
	switch {
	case t.Number == 0 && t.Video != nil:
		s.facts.video = t.Video
	case t.Number == 0:
		s.facts.audio = t.Audio
	case found:
		// Somebody may be reading the old list.
		s.facts.further = slices.Clone(s.facts.further)
		s.facts.further[i] = t
	case len(s.facts.further) < maxTracks:
		s.facts.further = slices.Insert(slices.Clip(s.facts.further), i, t)
	}
}

// following returns t, completed by a known track of the same codec where t does not tell
// something, and whether the two contradict each other. known may be empty.
func (t Track) following(known Track) (next Track, differs bool) {
	switch {
	case t.Video != nil && known.Video != nil && known.Video.Codec == t.Video.Codec:
		now := completeVideo(*t.Video, *known.Video)
		t.Video = &now
		return t, now != completeVideo(*known.Video, now)
	case t.Audio != nil && known.Audio != nil && known.Audio.Codec == t.Audio.Codec:
		now := completeAudio(*t.Audio, *known.Audio)
		t.Audio = &now
		return t, now != completeAudio(*known.Audio, now)
	}
	return t, false
}

// completeVideo and completeAudio return f, completed by another format of the same codec
// where f does not tell something.

func completeVideo(f, other flv.VideoFormat) flv.VideoFormat {
	f.Profile = cmp.Or(f.Profile, other.Profile)
	f.Width, f.Height = cmp.Or(f.Width, other.Width), cmp.Or(f.Height, other.Height)
	f.FrameRate = cmp.Or(f.FrameRate, other.FrameRate)
	return f
}

func completeAudio(f, other flv.AudioFormat) flv.AudioFormat {
	f.Profile = cmp.Or(f.Profile, other.Profile)
	f.SampleRate, f.Channels = cmp.Or(f.SampleRate, other.SampleRate), cmp.Or(f.Channels, other.Channels)
	return f
}

// shownTracks are the tracks as they were told last.
type shownTracks struct {
	codecs  [mainTracks]flv.Codec
	video   flv.VideoFormat
	audio   flv.AudioFormat
	further []Track
}

// tellTracksLocked enters an event if viewers are told of other tracks than before.
func (s *Stream) tellTracksLocked() {
	if s.pub == nil || !s.session.decided {
		return
	}
	now := shownTracks{codecs: s.tracks.codecs, further: s.facts.further}
	if f := s.videoLocked(); f != nil && now.codecs[videoTrack] != 0 {
		now.video = *f
	}
	if f := s.facts.audio; f != nil && now.codecs[audioTrack] != 0 {
		now.audio = *f
	}
	if now.equal(&s.shown) {
		return
	}
	s.shown = now
	s.tellLocked(Event{Kind: EventTracks, Session: s.pub.session, Tracks: now.tracks()})
}

func (t *shownTracks) equal(other *shownTracks) bool {
	return t.codecs == other.codecs && t.video == other.video && t.audio == other.audio &&
		slices.EqualFunc(t.further, other.further, func(a, b Track) bool {
			return a.Number == b.Number && a.typ() == b.typ() &&
				(a.Video == nil || *a.Video == *b.Video) && (a.Audio == nil || *a.Audio == *b.Audio)
		})
}

// tracks returns them in a list, video before audio, by number.
func (t *shownTracks) tracks() []Track {
	var all []Track
	if t.codecs[videoTrack] != 0 {
		all = append(all, Track{Video: &t.video})
	}
	if t.codecs[audioTrack] != 0 {
		all = append(all, Track{Audio: &t.audio})
	}
	all = append(all, t.further...)
	slices.SortStableFunc(all, func(a, b Track) int { return -cmp.Compare(a.typ(), b.typ()) })
	return all
}

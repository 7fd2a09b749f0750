package hub

import (
	"cmp"
	"slices"

	"sluice/flv"
)

// Track is a further track of a stream with several, as far as it is known.
type Track struct {
	Number uint8 // 1 to 255
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

// readTrackLocked takes a track's facts from a codec header or frame; one that can't
// be read leaves only the codec.
func (s *Stream) readTrackLocked(typ flv.Type, p flv.Packet) {
	t := Track{Number: p.Track}
	if typ == flv.TypeVideo {
		f, err := flv.ParseVideoConfig(p)
		if err != nil {
			f = flv.VideoFormat{Codec: p.Codec}
		}
		t.Video = &f
	} else {
		f, err := flv.ParseAudioConfig(p)
		if err != nil {
			f = flv.AudioFormat{Codec: p.Codec}
		}
		t.Audio = &f
	}
	switch i, found := s.findTrackLocked(typ, p.Track); {
	case p.Track == 0 && t.Video != nil:
		s.facts.video = t.Video
	case p.Track == 0:
		s.facts.audio = t.Audio
	case found:
		if s.facts.further[i].codec() != p.Codec {
			s.breakTrackLocked(typ, p.Track)
		}
		// Who holds the old list may be reading it.
		s.facts.further = slices.Clone(s.facts.further)
		s.facts.further[i] = t
	case len(s.facts.further) < maxTracks:
		s.facts.further = slices.Insert(slices.Clip(s.facts.further), i, t)
	}
}

// readKeyFrameLocked completes the facts by a key frame, for codecs whose header does
// not tell the size (VP9).
func (s *Stream) readKeyFrameLocked(p flv.Packet) {
	known := s.facts.video
	if known == nil || known.Width != 0 || known.Codec != p.Codec {
		return
	}
	f, err := flv.ParseVideoConfig(p)
	if err != nil || f.Width == 0 {
		return
	}
	if f.FrameRate == 0 {
		f.FrameRate = known.FrameRate
	}
	s.facts.video = &f
}

// seeTracksLocked notes further tracks that have no codec header, or not yet, and
// returns how many tracks the body holds.
func (s *Stream) seeTracksLocked(t flv.Tag) (tracks int) {
	t.EachTrack(func(p flv.Packet) {
		tracks++
		if p.Track == 0 {
			return
		}
		i, found := s.findTrackLocked(t.Type, p.Track)
		if !found || s.facts.further[i].codec() != p.Codec {
			s.readTrackLocked(t.Type, p)
		}
	})
	return tracks
}

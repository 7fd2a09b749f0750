// Package mp4 shows a finished FLV file as an MP4 file, without a second copy of what is
// in it.
//
//	ftyp  moov  header of mdat     made in memory: Index.Head
//	the FLV file as it is          the content of mdat
//
// The sample tables of moov point into the bodies of the tags; what lies between the
// samples (tag headers, metadata, further tracks) nobody looks at. [Scan] makes the
// [Index] of all samples in one pass over the headers of the tags.
//
// What a file's codecs do not have in MP4 is left out: the picture of a file with VP6 is
// missing, its sound is not. Of several tracks the one with number 0 is shown.
//
// Sources: ISO/IEC 14496-12 (the boxes; cited as ISOBMFF), ISO/IEC 14496-14 (MP4),
// ISO/IEC 14496-15 (H.264 and HEVC), "AV1 Codec ISO Media File Format Binding", "VP
// Codec ISO Media File Format Binding", "Encapsulation of Opus in ISO Base Media File
// Format", "Encapsulation of FLAC in ISO Base Media File Format".
package mp4

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"sluice/flv"
)

// Errors of this package; test with errors.Is. What is no FLV file is flv.ErrFormat.
var (
	// ErrNoTracks says that a file has neither sound nor picture.
	ErrNoTracks = errors.New("mp4: no sound and no picture")
	// ErrUnsupported says that a file has nothing but codecs that MP4 has no place for
	// here, and names them.
	ErrUnsupported = errors.New("mp4: codec not supported")
	// ErrTooLarge says that a file has more samples than an index may have.
	ErrTooLarge = errors.New("mp4: too many samples")
)

// Bounds of an index.
const (
	maxSamples = 1 << 24 // of both tracks: 60 hours of 30 pictures and 47 pieces of sound a second
	maxConfigs = 1024    // different codec headers of a track
	maxConfig  = 1 << 20 // bytes of a codec header
	maxTime    = 1 << 40 // ms: 34 years
	maxOmitted = 16      // codecs that are named
)

// Index is the table of all samples of a file. It does not change, so that any number of
// goroutines may use it at a time.
type Index struct {
	// Video and Audio are the codecs of the tracks that are shown, 0 for none.
	Video, Audio flv.Codec
	// VideoHeaders counts the different codec headers of the picture. ffmpeg follows where
	// they change; Chromium goes by the first one and stops where that does not do.
	VideoHeaders int
	// Omitted are codecs of which the file has frames that MP4 has no place for here.
	Omitted []flv.Codec
	// Skipped counts frames that are not shown although their codec could be: without a
	// codec header, before the first key frame, of another codec than the track's first
	// one, or damaged.
	Skipped int
	// Rest is how many bytes at the end of the file are no whole tags.
	Rest int64
	// Duration is how long the longer of the tracks is shown.
	Duration time.Duration

	size   int64 // of the file, in bytes
	tracks []*track
}

// Bytes returns the memory that the index takes, in bytes: some 7 for each sample.
func (x *Index) Bytes() int64 {
	n := int64(0)
	for _, t := range x.tracks {
		n += int64(cap(t.samples.b)) + int64(cap(t.changes))*changeSize
		for _, d := range t.descriptions {
			n += int64(cap(d.config)) + descriptionSize
		}
	}
	return n
}

// Samples returns the number of samples of both tracks.
func (x *Index) Samples() int {
	n := 0
	for _, t := range x.tracks {
		n += t.samples.n
	}
	return n
}

// complete makes the index of what a scan found.
func (x *Index) complete(tracks ...*track) error {
	first := int64(maxTime) // ms: when the first of all samples is shown
	for _, t := range tracks {
		if t.samples.n == 0 {
			continue
		}
		t.complete()
		x.tracks = append(x.tracks, t)
		first = min(first, t.shown)
		if t.video {
			x.Video, x.VideoHeaders = t.codec, len(t.descriptions)
		} else {
			x.Audio = t.codec
		}
	}
	if len(x.tracks) == 0 {
		if len(x.Omitted) > 0 {
			return fmt.Errorf("%w: %v", ErrUnsupported, x.Omitted)
		}
		if x.Skipped > 0 {
			return fmt.Errorf("%w that can be decoded: %d frames without a codec header or a key frame", ErrNoTracks, x.Skipped)
		}
		return ErrNoTracks
	}
	for _, t := range x.tracks {
		t.delay = t.shown - first
		x.Duration = max(x.Duration, time.Duration(t.delay+t.length())*time.Millisecond)
	}
	return nil
}

// omit notes that a codec has no place.
func (x *Index) omit(c flv.Codec) {
	if !slices.Contains(x.Omitted, c) && len(x.Omitted) < maxOmitted {
		x.Omitted = append(x.Omitted, c)
	}
}

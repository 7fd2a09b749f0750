package mp4

import (
	"fmt"

	"sluice/flv"
)

// AppendStill appends an MP4 file with one picture: config is the codec header of the track
// with number 0, and frames are its key frame, which some encoders send in several bodies (a
// slice each). Timestamps mean nothing. A picture of size bytes makes a file of some 700 bytes
// and the codec header more.
//
// The error is ErrUnsupported for a codec that MP4 has no place for here, ErrNoTracks where
// there is no key frame or the codec header does not make sense, or that of a body which cannot
// be read. Then dst is returned as it was.
func AppendStill(dst []byte, config flv.Tag, frames ...flv.Tag) ([]byte, error) {
	t := &track{video: true, samples: samples{video: true}}
	if err := t.describeStill(config); err != nil {
		return dst, err
	}
	payloads, size := make([][]byte, 0, len(frames)), 0
	for _, frame := range frames {
		p, err := frame.Packet()
		switch {
		case err != nil:
			return dst, fmt.Errorf("mp4: key frame: %w", err)
		case frame.Type != flv.TypeVideo, p.Kind != flv.KindFrame, p.Track != 0, p.Codec != t.codec:
			return dst, fmt.Errorf("%w: no frame of the track", ErrNoTracks)
		case len(payloads) == 0 && !p.Key:
			return dst, fmt.Errorf("%w: no key frame", ErrNoTracks)
		}
		if d := &t.descriptions[0]; d.width == 0 {
			if f, err := flv.ParseVideoConfig(p); err == nil {
				d.width, d.height = f.Width, f.Height
			}
		}
		payloads, size = append(payloads, p.Payload), size+len(p.Payload)
	}
	if size == 0 {
		return dst, fmt.Errorf("%w: an empty key frame", ErrNoTracks)
	}
	t.add(sample{size: uint32(size), key: true}, nil)
	x := &Index{size: int64(size)}
	if err := x.complete(t); err != nil {
		return dst, err
	}
	dst = append(dst, x.Head()...)
	for _, p := range payloads {
		dst = append(dst, p...)
	}
	return dst, nil
}

// describeStill takes a codec header.
func (t *track) describeStill(config flv.Tag) error {
	if len(config.Data) == 0 {
		return fmt.Errorf("%w: no codec header", ErrNoTracks)
	}
	p, err := config.Packet()
	switch {
	case err != nil:
		return fmt.Errorf("mp4: codec header: %w", err)
	case config.Type != flv.TypeVideo, p.Kind != flv.KindConfig, p.Track != 0:
		return fmt.Errorf("%w: no codec header", ErrNoTracks)
	case !supported(p.Codec, true):
		return fmt.Errorf("%w: %v", ErrUnsupported, p.Codec)
	case !t.describe(p):
		return fmt.Errorf("%w: the codec header of %v makes no sense", ErrNoTracks, p.Codec)
	}
	return nil
}

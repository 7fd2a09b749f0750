package flv

import (
	"errors"
	"fmt"
)

// parseAV1C reads an AV1CodecConfigurationRecord ("AV1 Codec ISO Media File
// Format Binding" §2.3.3).
//
//	marker 1 (1 bit)  version 1 (7 bits)  profile (3 bits)  level (5 bits)  2 further bytes
//	OBUs, among them the sequence header
//
// Without a sequence header, as when ffmpeg encodes with rav1e, only the profile is
// known.
func parseAV1C(b []byte) (VideoFormat, error) {
	if len(b) < 4 {
		return VideoFormat{}, errHeader
	}
	if b[0] != 0x81 {
		return VideoFormat{}, fmt.Errorf("%w: av1C begins with %#02x", ErrFormat, b[0])
	}
	f, err := findAV1SequenceHeader(b[4:])
	if errors.Is(err, ErrNoFormat) {
		return VideoFormat{Profile: profileName(av1Profiles, uint32(b[1]>>5))}, nil
	}
	return f, err
}

// maxAV1OBUs bounds the OBUs before a sequence header; a temporal delimiter is usual,
// metadata possible.
const maxAV1OBUs = 32

// findAV1SequenceHeader reads the sequence header among the OBUs of a codec header
// or of a key frame, where it comes before any frame (AV1 §7.5). Some encoders have
// none in their codec headers.
func findAV1SequenceHeader(b []byte) (VideoFormat, error) {
	const typeSequenceHeader, typeFrameHeader, typeFrame = 1, 3, 6
	for range maxAV1OBUs {
		if len(b) == 0 {
			break
		}
		obuType, obu, rest, ok := nextOBU(b)
		if !ok {
			return VideoFormat{}, errHeader
		}
		switch obuType {
		case typeSequenceHeader:
			return parseAV1SequenceHeader(obu)
		case typeFrameHeader, typeFrame:
			return VideoFormat{}, ErrNoFormat
		}
		b = rest
	}
	return VideoFormat{}, ErrNoFormat
}

// nextOBU takes the first OBU of b apart (AV1 §5.3).
//
//	0 (1 bit)  type (4 bits)  extension (1 bit)  has size (1 bit)  0 (1 bit)
//	extension (u8), if so  size (leb128), if so, else to the end
func nextOBU(b []byte) (obuType byte, obu, rest []byte, ok bool) {
	obuType = b[0] >> 3 & 0x0f
	extension, hasSize := b[0]&4 != 0, b[0]&2 != 0
	b = b[1:]
	if extension {
		if len(b) == 0 {
			return 0, nil, nil, false
		}
		b = b[1:]
	}
	if !hasSize {
		return obuType, b, nil, true
	}
	const maxLEB128 = 8 // bytes (AV1 §4.10.5)
	size := uint64(0)
	for i := 0; ; i++ {
		if i == maxLEB128 || i == len(b) {
			return 0, nil, nil, false
		}
		size |= uint64(b[i]&0x7f) << (7 * i)
		if b[i]&0x80 == 0 {
			b = b[i+1:]
			break
		}
	}
	if size > uint64(len(b)) {
		return 0, nil, nil, false
	}
	return obuType, b[:size], b[size:], true
}

// parseAV1SequenceHeader reads a sequence header OBU (AV1 §5.5.1).
func parseAV1SequenceHeader(b []byte) (VideoFormat, error) {
	r := &bitReader{b: b}
	f := VideoFormat{Profile: profileName(av1Profiles, r.read(3))}
	r.skip(1) // still_picture
	if reduced := r.flag(); reduced {
		r.skip(5) // level
	} else {
		f.FrameRate = readAV1OperatingPoints(r)
	}
	widthBits, heightBits := int(r.read(4))+1, int(r.read(4))+1
	f.Width = int(r.read(widthBits)) + 1
	f.Height = int(r.read(heightBits)) + 1
	if r.short {
		return VideoFormat{}, errHeader
	}
	return f, nil
}

// readAV1OperatingPoints reads a sequence header from timing_info_present_flag
// to the end of its operating points, and returns the frame rate, 0 if it is
// not told or not constant.
func readAV1OperatingPoints(r *bitReader) (rate float64) {
	decoderModel, delayBits := false, 0
	if r.flag() { // timing_info (§5.5.3)
		units, scale := r.read(32), r.read(32)
		if r.flag() && units != 0 { // equal_picture_interval
			ticks := float64(r.ue()) + 1
			rate = float64(scale) / float64(units) / ticks
		}
		if decoderModel = r.flag(); decoderModel { // decoder_model_info (§5.5.4)
			delayBits = int(r.read(5)) + 1
			r.skip(32 + 5 + 5)
		}
	}
	displayDelay := r.flag()
	points := int(r.read(5)) + 1
	for range points {
		r.skip(12)
		if level := r.read(5); level > 7 {
			r.skip(1) // tier
		}
		if decoderModel && r.flag() {
			r.skip(2*delayBits + 1)
		}
		if displayDelay && r.flag() {
			r.skip(4)
		}
	}
	return rate
}

var av1Profiles = map[uint32]string{
	0: "Main",
	1: "High",
	2: "Professional",
}

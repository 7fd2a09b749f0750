package mp4

import (
	"math/bits"

	"sluice/flv"
)

// frames says how long the frames of a codec of sound last.
type frames struct {
	codec flv.Codec
	fixed uint32 // in sample rate units; 0 if each frame tells
}

// framesOf returns what a codec header, or the first frame of a codec without one, says of
// durations.
func framesOf(p flv.Packet, f flv.AudioFormat) frames {
	fs := frames{codec: p.Codec}
	switch p.Codec {
	case flv.CodecAAC:
		fs.fixed = aacFrame(p.Payload, f)
	case flv.CodecFLAC:
		if info := streamInfo(p.Payload); info != nil {
			// Minimum and maximum block size; the last block may be shorter.
			if least, most := uint16At(info), uint16At(info[2:]); least == most {
				fs.fixed = uint32(least)
			}
		}
	}
	return fs
}

// duration returns the duration of a frame that begins with b, in sample rate units; 0 if it
// is not known.
func (fs frames) duration(b []byte) uint32 {
	switch {
	case fs.fixed > 0:
		return fs.fixed
	case fs.codec == flv.CodecOpus:
		return opusFrame(b)
	case fs.codec == flv.CodecFLAC:
		return flacFrame(b)
	case fs.codec == flv.CodecMP3:
		return mp3Frame(b)
	}
	return 0
}

// aacFrame returns the duration of the frames that an AudioSpecificConfig announces
// (ISO/IEC 14496-3 §1.6.2.1, §4.5.1.1), at the rate of what is heard.
//
//	object type (5 bits, 31: 32 + 6 bits)  rate index (4 bits, 15: rate in 24 bits)
//	channel configuration (4 bits)
//	for SBR (5) and PS (29): rate of the extension, object type underneath
//	frame length: 1 for 960 instead of 1024 (512: 480)
func aacFrame(b []byte, f flv.AudioFormat) uint32 {
	const sbr, ps, ld, eld = 5, 29, 23, 39
	r := bitReader{b: b}
	objectType := r.objectType()
	r.rate()
	r.read(4)
	explicit := objectType == sbr || objectType == ps
	if explicit {
		r.rate()
		objectType = r.objectType()
	}
	long, short := uint32(1024), uint32(960)
	if objectType == ld || objectType == eld {
		long, short = 512, 480
	}
	n := long
	if r.read(1) == 1 {
		n = short
	}
	if explicit || f.Profile == "HE" || f.Profile == "HEv2" {
		n *= 2 // the extension doubles the rate
	}
	return n
}

// opusFrame returns the duration of an Opus packet at 48 kHz (RFC 6716 §3.1, §3.2).
//
//	configuration (5 bits)  stereo (1 bit)  code (2 bits): 1, 2, 2 frames, or
//	code 3: VBR (1 bit)  padding (1 bit)  number of frames (6 bits)
func opusFrame(b []byte) uint32 {
	if len(b) == 0 {
		return 0
	}
	var frame uint32
	switch config := b[0] >> 3; {
	case config < 12: // SILK
		frame = [4]uint32{480, 960, 1920, 2880}[config&3]
	case config < 16: // hybrid
		frame = [2]uint32{480, 960}[config&1]
	default: // CELT
		frame = 120 << (config & 3)
	}
	switch b[0] & 3 {
	case 0:
		return frame
	case 1, 2:
		return 2 * frame
	}
	const most = 5760 // 120 ms
	if len(b) < 2 {
		return 0
	}
	return min(frame*uint32(b[1]&0x3f), most)
}

// mp3Frame returns the duration of an MPEG audio frame (ISO/IEC 11172-3 §2.4.2.1, 13818-3).
//
//	sync (11 bits 1)  version (2): 3 for MPEG-1  layer (2): 3, 2, 1 for I, II, III  …
func mp3Frame(b []byte) uint32 {
	if len(b) < 2 || b[0] != 0xff || b[1]&0xe0 != 0xe0 {
		return 0
	}
	mpeg1 := b[1]>>3&3 == 3
	switch layer := b[1] >> 1 & 3; {
	case layer == 3:
		return 384
	case layer == 1 && !mpeg1:
		return 576
	}
	return 1152
}

// flacFrame returns the block size of a FLAC frame (RFC 9639 §9.1).
//
//	sync (15 bits)  strategy (1 bit)  block size (4 bits)  rate (4 bits)  …  (u8)
//	number of the frame or sample, in UTF-8's form (1 to 7 bytes)  [block size - 1 (u8 or u16)]
func flacFrame(b []byte) uint32 {
	if len(b) < 5 || b[0] != 0xff || b[1]&0xfe != 0xf8 {
		return 0
	}
	number := max(1, bits.LeadingZeros8(^b[4]))
	switch code := b[2] >> 4; {
	case code == 0:
		return 0
	case code == 1:
		return 192
	case code <= 5:
		return 144 << code
	case code >= 8:
		return 1 << code
	case len(b) < 4+number+2:
		return 0
	case code == 6:
		return uint32(b[4+number]) + 1
	}
	return uint32(uint16At(b[4+number:])) + 1
}

// bitReader reads numbers, most significant bit first. Past the end it gives zeros.
type bitReader struct {
	b   []byte
	pos int // in bits
}

func (r *bitReader) read(n int) uint32 {
	v := uint32(0)
	for range n {
		v <<= 1
		if i := r.pos / 8; i < len(r.b) {
			v |= uint32(r.b[i]>>(7-r.pos%8)) & 1
		}
		r.pos++
	}
	return v
}

func (r *bitReader) objectType() uint32 {
	if t := r.read(5); t != 31 {
		return t
	}
	return 32 + r.read(6)
}

// rate passes over a sample rate.
func (r *bitReader) rate() {
	if r.read(4) == 15 {
		r.read(24)
	}
}

func uint16At(b []byte) uint16 { return uint16(b[0])<<8 | uint16(b[1]) }

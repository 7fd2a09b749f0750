package flv

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// opusRate is the rate in Hz of every Opus decoder; the header's own rate field
// tells what the encoder was fed with (RFC 7845 §5.1).
const opusRate = 48000

// parseOpusHead reads an identification header (RFC 7845 §5.1).
//
//	"OpusHead"  version (u8)  channels (u8)  …
func parseOpusHead(b []byte) (AudioFormat, error) {
	b, ok := bytes.CutPrefix(b, []byte("OpusHead"))
	if !ok || len(b) < 2 || b[1] == 0 {
		return AudioFormat{}, fmt.Errorf("%w: no OpusHead", ErrFormat)
	}
	return AudioFormat{SampleRate: opusRate, Channels: int(b[1])}, nil
}

// parseStreamInfo reads FLAC's STREAMINFO (RFC 9639 §8.2), with "fLaC" and the
// metadata block header before it, or without.
//
//	block sizes (2 × u16)  frame sizes (2 × u24)
//	sample rate (20 bits)  channels - 1 (3 bits)  bits per sample - 1 (5 bits)  …
func parseStreamInfo(b []byte) (AudioFormat, error) {
	if rest, ok := bytes.CutPrefix(b, []byte("fLaC")); ok {
		const blockHeader = 4 // type and length
		b = rest[min(len(rest), blockHeader):]
	}
	r := &bitReader{b: b}
	r.skip(2*16 + 2*24)
	f := AudioFormat{SampleRate: int(r.read(20)), Channels: int(r.read(3)) + 1}
	if r.short || f.SampleRate == 0 {
		return AudioFormat{}, fmt.Errorf("%w: no STREAMINFO", ErrFormat)
	}
	return f, nil
}

// parseMPEGAudioFrame reads the header of an MPEG audio frame (ISO/IEC 11172-3
// §2.4.1.3, 13818-3). It reports false if b does not begin with one.
//
//	sync (11 bits 1)  version (2)  layer (2)  protection (1)
//	bit rate (4)  rate index (2)  padding (1)  private (1)  mode (2)  …
func parseMPEGAudioFrame(b []byte) (AudioFormat, bool) {
	const (
		version25, versionReserved, version1 = 0, 1, 3
		rateReserved                         = 3
		modeMono                             = 3
	)
	if len(b) < 4 || b[0] != 0xff || b[1]&0xe0 != 0xe0 {
		return AudioFormat{}, false
	}
	version, layer, rate := b[1]>>3&3, b[1]>>1&3, b[2]>>2&3
	if version == versionReserved || layer == 0 || rate == rateReserved {
		return AudioFormat{}, false
	}
	f := AudioFormat{SampleRate: [3]int{44100, 48000, 32000}[rate], Channels: 2}
	switch version {
	case version1:
	case version25:
		f.SampleRate /= 4
	default:
		f.SampleRate /= 2
	}
	if b[3]>>6 == modeMono {
		f.Channels = 1
	}
	return f, true
}

// parseAC3Frame reads the head of an AC-3 or E-AC-3 frame (ETSI TS 102 366
// §4.3, §E.1.2). Of an E-AC-3 program in several substreams it sees the first.
//
//	AC-3:   0B77  CRC (u16)  rate (2 bits)  frame size (6)  bsid (5)  bsmod (3)  mode (3)
//	        [mix levels (2 each)]  LFE (1)
//	E-AC-3: 0B77  stream type (2)  substream (3)  frame size (11)  rate (2)
//	        rate 2 or blocks (2)  mode (3)  LFE (1)  bsid (5)
func parseAC3Frame(b []byte) (AudioFormat, error) {
	if len(b) < 7 || binary.BigEndian.Uint16(b) != 0x0b77 {
		return AudioFormat{}, fmt.Errorf("%w: no AC-3 frame", ErrFormat)
	}
	var f AudioFormat
	var rate, mode uint32
	r := &bitReader{b: b}
	if bsid := b[5] >> 3; bsid > 10 {
		r.skip(16 + 2 + 3 + 11)
		rate = r.read(2)
		half := r.read(2)
		if rate == 3 {
			rate = half
			f.SampleRate = [4]int{24000, 22050, 16000, 0}[rate]
		} else {
			f.SampleRate = [3]int{48000, 44100, 32000}[rate]
		}
		mode = r.read(3)
	} else {
		r.skip(16 + 16)
		rate = r.read(2)
		f.SampleRate = [4]int{48000, 44100, 32000, 0}[rate]
		r.skip(6 + 5 + 3)
		mode = r.read(3)
		r.skip(ac3MixBits(mode))
	}
	if f.SampleRate == 0 {
		return AudioFormat{}, fmt.Errorf("%w: AC-3 sample rate %d", ErrFormat, rate)
	}
	f.Channels = [8]int{2, 1, 2, 3, 3, 4, 4, 5}[mode] + int(r.read(1))
	return f, nil
}

// ac3MixBits returns the bits of mix levels that an AC-3 frame carries for an
// audio coding mode: centre, surround, Dolby Surround.
func ac3MixBits(mode uint32) int {
	n := 0
	if mode&1 != 0 && mode != 1 {
		n += 2
	}
	if mode&4 != 0 {
		n += 2
	}
	if mode == 2 {
		n += 2
	}
	return n
}

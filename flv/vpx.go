package flv

import "fmt"

// parseVPCC reads a VPCodecConfigurationRecord ("VP Codec ISO Media File Format
// Binding"). It does not tell the picture size; a key frame does.
//
//	[version 1 (u8)  flags 0 (u24), which some writers keep]
//	profile (u8)  level (u8)  bit depth (4 bits)  chroma (3 bits)  full range (1 bit)  …
func parseVPCC(b []byte) (VideoFormat, error) {
	// Taken as a record without the box's version and flags, these four bytes
	// would mean a bit depth of 0.
	if len(b) >= 4 && b[0] == 1 && b[1] == 0 && b[2] == 0 && b[3] == 0 {
		b = b[4:]
	}
	if len(b) < 3 {
		return VideoFormat{}, errHeader
	}
	return VideoFormat{Profile: vp9Profile(uint32(b[0]))}, nil
}

func vp9Profile(n uint32) string { return fmt.Sprintf("Profile %d", n) }

// parseVP9Frame reads the uncompressed header of a VP9 key frame ("VP9
// Bitstream & Decoding Process Specification" §6.2).
func parseVP9Frame(b []byte) (VideoFormat, error) {
	r := &bitReader{b: b}
	const frameMarker, syncCode = 2, 0x498342
	if r.read(2) != frameMarker {
		return VideoFormat{}, fmt.Errorf("%w: no VP9 frame", ErrFormat)
	}
	profile := r.read(1) | r.read(1)<<1
	if profile == 3 {
		r.skip(1)
	}
	if r.flag() { // show_existing_frame
		return VideoFormat{}, ErrNoFormat
	}
	if inter := r.flag(); inter {
		return VideoFormat{}, ErrNoFormat
	}
	r.skip(2) // show_frame, error_resilient_mode
	if r.read(24) != syncCode {
		return VideoFormat{}, fmt.Errorf("%w: no VP9 key frame", ErrFormat)
	}
	skipVP9Color(r, profile)
	f := VideoFormat{
		Profile: vp9Profile(profile),
		Width:   int(r.read(16)) + 1,
		Height:  int(r.read(16)) + 1,
	}
	if r.short {
		return VideoFormat{}, errHeader
	}
	return f, nil
}

// skipVP9Color passes over color_config (§6.2.2).
func skipVP9Color(r *bitReader, profile uint32) {
	const sRGB = 7
	if profile >= 2 {
		r.skip(1) // 12 bits
	}
	odd := profile == 1 || profile == 3
	if space := r.read(3); space != sRGB {
		r.skip(1) // range
		if odd {
			r.skip(3) // subsampling, reserved
		}
	} else if odd {
		r.skip(1) // reserved
	}
}

// parseVP8Frame reads the head of a VP8 key frame (RFC 6386 §9.1).
//
//	frame tag (3 bytes, bit 0 of the first: 0 = key frame)  9D 01 2A
//	scale (2 bits) and width (14 bits), little-endian; the same for height
func parseVP8Frame(b []byte) (VideoFormat, error) {
	if len(b) < 10 {
		return VideoFormat{}, errHeader
	}
	if b[0]&1 != 0 || b[3] != 0x9d || b[4] != 0x01 || b[5] != 0x2a {
		return VideoFormat{}, fmt.Errorf("%w: no VP8 key frame", ErrFormat)
	}
	return VideoFormat{
		Width:  int(b[6]) | int(b[7]&0x3f)<<8,
		Height: int(b[8]) | int(b[9]&0x3f)<<8,
	}, nil
}

// parseH263Frame reads the head of a Sorenson H.263 picture (FLV 10.1 Annex G,
// H263VIDEOPACKET): start code (17 bits), version (5), temporal reference (8),
// picture size (3) and, if it is none of the usual ones, the size itself.
func parseH263Frame(b []byte) (VideoFormat, error) {
	r := &bitReader{b: b}
	if r.read(17) != 1 {
		return VideoFormat{}, fmt.Errorf("%w: no H.263 picture", ErrFormat)
	}
	r.skip(5 + 8)
	var f VideoFormat
	switch size := r.read(3); size {
	case 0:
		f.Width, f.Height = int(r.read(8)), int(r.read(8))
	case 1:
		f.Width, f.Height = int(r.read(16)), int(r.read(16))
	case 7: // reserved
		return VideoFormat{}, fmt.Errorf("%w: H.263 picture size %d", ErrFormat, size)
	default:
		usual := [...][2]int{2: {352, 288}, 3: {176, 144}, 4: {128, 96}, 5: {320, 240}, 6: {160, 120}}
		f.Width, f.Height = usual[size][0], usual[size][1]
	}
	if r.short {
		return VideoFormat{}, errHeader
	}
	return f, nil
}

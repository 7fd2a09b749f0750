package flv

import "fmt"

// parseAVCC reads an AVCDecoderConfigurationRecord (ISO/IEC 14496-15 §5.3.3.1).
//
//	version 1 (u8)  profile (u8)  compatibility (u8)  level (u8)
//	6 bits 1  NALU length size - 1 (2 bits)  3 bits 1  number of SPS (5 bits)
//	SPS…: length (u16), NAL unit  number of PPS (u8)  PPS…
//
// Without an SPS, which some encoders send in the stream instead, only the
// profile is known.
func parseAVCC(b []byte) (VideoFormat, error) {
	if len(b) < 6 {
		return VideoFormat{}, errHeader
	}
	if b[0] != 1 {
		return VideoFormat{}, fmt.Errorf("%w: avcC version %d", ErrFormat, b[0])
	}
	if b[5]&0x1f == 0 {
		return VideoFormat{Profile: h264Profile(uint32(b[1]), uint32(b[2]))}, nil
	}
	sps, _, err := nalUnit(b[6:])
	if err != nil {
		return VideoFormat{}, err
	}
	return parseH264SPS(sps)
}

// Bounds of H.264's syntax elements that a loop depends on.
const maxH264POCCycle = 255 // num_ref_frames_in_pic_order_cnt_cycle

// parseH264SPS reads a sequence parameter set (ITU-T H.264 §7.3.2.1.1).
func parseH264SPS(nal []byte) (VideoFormat, error) {
	if len(nal) < 4 || nal[0]&0x1f != 7 {
		return VideoFormat{}, fmt.Errorf("%w: no H.264 sequence parameter set", ErrFormat)
	}
	r := &bitReader{b: unescape(nal[1:])}
	profile, constraints := r.read(8), r.read(8)
	r.skip(8) // level
	r.ue()    // id
	chroma, separatePlanes := uint32(1), false
	switch profile {
	case 100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135:
		if chroma = r.ue(); chroma == 3 {
			separatePlanes = r.flag()
		}
		r.ue()    // luma bit depth
		r.ue()    // chroma bit depth
		r.skip(1) // lossless bypass
		if r.flag() {
			skipH264ScalingLists(r, chroma)
		}
	}
	r.ue() // log2_max_frame_num_minus4
	switch r.ue() {
	case 0:
		r.ue() // log2_max_pic_order_cnt_lsb_minus4
	case 1:
		r.skip(1)
		r.se()
		r.se()
		cycle := r.ue()
		if cycle > maxH264POCCycle {
			return VideoFormat{}, fmt.Errorf("%w: picture order count cycle of %d", ErrFormat, cycle)
		}
		for range cycle {
			r.se()
		}
	}
	r.ue()    // max_num_ref_frames
	r.skip(1) // gaps_in_frame_num_value_allowed_flag
	width := 16 * (int64(r.ue()) + 1)
	height := 16 * (int64(r.ue()) + 1)
	frameRows := int64(1)
	if frameMbsOnly := r.flag(); !frameMbsOnly {
		frameRows = 2
		height *= 2
		r.skip(1) // mb_adaptive_frame_field_flag
	}
	r.skip(1) // direct_8x8_inference_flag
	if r.flag() {
		// Cropping is in units of chroma samples (§7.4.2.1.1, CropUnitX).
		unitX, unitY := int64(1), frameRows
		if !separatePlanes {
			if chroma == 1 || chroma == 2 {
				unitX = 2
			}
			if chroma == 1 {
				unitY *= 2
			}
		}
		width -= unitX * (int64(r.ue()) + int64(r.ue()))
		height -= unitY * (int64(r.ue()) + int64(r.ue()))
	}
	if r.short {
		return VideoFormat{}, errHeader
	}
	if width <= 0 || height <= 0 || width > maxDimension || height > maxDimension {
		return VideoFormat{}, fmt.Errorf("%w: picture of %dx%d pixels", ErrFormat, width, height)
	}
	f := VideoFormat{
		Profile: h264Profile(profile, constraints),
		Width:   int(width),
		Height:  int(height),
	}
	if r.flag() {
		f.PixelWidth, f.PixelHeight = readVUIAspect(r)
		f.FrameRate = h264FrameRate(r)
	}
	return f, nil
}

// skipH264ScalingLists passes over the scaling matrix (§7.3.2.1.1.1).
func skipH264ScalingLists(r *bitReader, chroma uint32) {
	lists := 8
	if chroma == 3 {
		lists = 12
	}
	for i := range lists {
		if !r.flag() {
			continue
		}
		size := 16
		if i >= 6 {
			size = 64
		}
		for last, next, j := int32(8), int32(8), 0; j < size && next != 0; j++ {
			next = (last + r.se()) & 0xff
			if next != 0 {
				last = next
			}
		}
	}
}

// h264FrameRate reads video usability information behind the aspect ratio as far as
// the timing (ITU-T H.264 §E.1.1). One that is cut short tells nothing.
func h264FrameRate(r *bitReader) float64 {
	skipVUIColour(r)
	if !r.flag() { // timing_info_present_flag
		return 0
	}
	units, scale := r.read(32), r.read(32)
	if r.short || units == 0 {
		return 0
	}
	return float64(scale) / float64(units) / 2 // fields per second
}

// readVUIAspect reads the shape of a pixel, with which the video usability information of
// H.264 (§E.1.1) and H.265 (§E.2.1) begins; 0 for a square one, and what is not told.
func readVUIAspect(r *bitReader) (width, height int) {
	const extendedSAR = 255
	if !r.flag() {
		return 0, 0
	}
	if idc := r.read(8); idc == extendedSAR {
		width, height = int(r.read(16)), int(r.read(16))
	} else if int(idc) < len(pixelShapes) {
		width, height = pixelShapes[idc][0], pixelShapes[idc][1]
	}
	if r.short || width == height || width == 0 || height == 0 {
		return 0, 0
	}
	return width, height
}

// pixelShapes is indexed by aspect_ratio_idc (Table E-1 of both).
var pixelShapes = [...][2]int{
	1: {1, 1}, {12, 11}, {10, 11}, {16, 11}, {40, 33}, {24, 11}, {20, 11}, {32, 11},
	{80, 33}, {18, 11}, {15, 11}, {64, 33}, {160, 99}, {4, 3}, {3, 2}, {2, 1},
}

// skipVUIColour passes over what follows there, and is the same in both too: overscan to
// chroma location.
func skipVUIColour(r *bitReader) {
	if r.flag() { // overscan
		r.skip(1)
	}
	if r.flag() { // video signal type
		r.skip(4)
		if r.flag() { // colour description
			r.skip(24)
		}
	}
	if r.flag() { // chroma location
		r.ue()
		r.ue()
	}
}

var h264Profiles = map[uint32]string{
	44:  "CAVLC 4:4:4 Intra",
	66:  "Baseline",
	77:  "Main",
	88:  "Extended",
	100: "High",
	110: "High 10",
	122: "High 4:2:2",
	244: "High 4:4:4 Predictive",
}

// h264Profile names a profile (ITU-T H.264 §A.2). constraints is the byte
// after profile_idc, constraint_set0_flag in its top bit.
func h264Profile(profile, constraints uint32) string {
	const constraintSet1 = 0x40
	if profile == 66 && constraints&constraintSet1 != 0 {
		return "Constrained Baseline"
	}
	return profileName(h264Profiles, profile)
}

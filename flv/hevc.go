package flv

import "fmt"

// parseHVCC reads an HEVCDecoderConfigurationRecord (ISO/IEC 14496-15
// §8.3.3.1).
//
//	version 1 (u8)  profile space (2 bits)  tier (1 bit)  profile (5 bits)  20 further bytes
//	number of arrays (u8)
//	for each: completeness and type of NAL unit (u8)  number (u16)
//	          for each: length (u16), NAL unit
//
// Without a sequence parameter set only the profile is known.
func parseHVCC(b []byte) (VideoFormat, error) {
	const (
		fixedSize = 23
		typeSPS   = 33
	)
	if len(b) < fixedSize {
		return VideoFormat{}, errHeader
	}
	// Version 0 comes from encoders that follow an early draft.
	if b[0] > 1 {
		return VideoFormat{}, fmt.Errorf("%w: hvcC version %d", ErrFormat, b[0])
	}
	profile := profileName(hevcProfiles, uint32(b[1]&0x1f))
	arrays := int(b[22])
	b = b[fixedSize:]
	units := 0
	for range arrays {
		if len(b) < 3 {
			return VideoFormat{}, errHeader
		}
		nalType, n := b[0]&0x3f, int(b[1])<<8|int(b[2])
		b = b[3:]
		if units += n; units > maxHEVCUnits {
			return VideoFormat{}, fmt.Errorf("%w: hvcC of %d NAL units", ErrFormat, units)
		}
		for range n {
			var nal []byte
			var err error
			if nal, b, err = nalUnit(b); err != nil {
				return VideoFormat{}, err
			}
			if nalType == typeSPS {
				return parseHEVCSPS(nal)
			}
		}
	}
	return VideoFormat{Profile: profile}, nil
}

// maxHEVCUnits bounds the NAL units of a codec header. There can be 96 parameter sets
// in use (§7.4.3), and some information beside them.
const maxHEVCUnits = 128

// Bounds of H.265's syntax elements that a loop depends on (§7.4.3.2.1,
// §7.4.8).
const (
	maxHEVCShortTermSets = 64
	maxHEVCLongTermPics  = 32
	maxHEVCDeltaPOCs     = 32 // of one short-term set, both directions
)

// parseHEVCSPS reads a sequence parameter set (ITU-T H.265 §7.3.2.2.1).
func parseHEVCSPS(nal []byte) (VideoFormat, error) {
	if len(nal) < 3 || nal[0]>>1&0x3f != 33 {
		return VideoFormat{}, fmt.Errorf("%w: no HEVC sequence parameter set", ErrFormat)
	}
	r := &bitReader{b: unescape(nal[2:])}
	r.skip(4) // video parameter set
	subLayers := int(r.read(3))
	r.skip(1) // temporal id nesting
	profile := readHEVCProfileTierLevel(r, subLayers)
	r.ue() // id
	chroma := r.ue()
	separatePlanes := chroma == 3 && r.flag()
	width, height := int64(r.ue()), int64(r.ue())
	if r.flag() { // conformance window, in units of chroma samples
		unitX, unitY := int64(1), int64(1)
		if !separatePlanes {
			if chroma == 1 || chroma == 2 {
				unitX = 2
			}
			if chroma == 1 {
				unitY = 2
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
		Profile: profileName(hevcProfiles, profile),
		Width:   int(width),
		Height:  int(height),
	}
	f.readHEVCUsability(r, subLayers)
	return f, nil
}

// readHEVCProfileTierLevel passes over profile_tier_level (§7.3.3) and returns
// general_profile_idc. subLayers is sps_max_sub_layers_minus1.
func readHEVCProfileTierLevel(r *bitReader, subLayers int) uint32 {
	const (
		profileBits = 2 + 1 + 5 + 32 + 4 + 43 + 1
		levelBits   = 8
	)
	r.skip(2 + 1)
	profile := r.read(5)
	r.skip(profileBits - 8 + levelBits)
	if subLayers == 0 {
		return profile
	}
	skip := 0
	for range subLayers {
		if r.flag() {
			skip += profileBits
		}
		if r.flag() {
			skip += levelBits
		}
	}
	r.skip(2*(8-subLayers) + skip)
	return profile
}

// readHEVCUsability reads a sequence parameter set on from its bit depths to the shape
// of a pixel and the timing in its video usability information. One that is cut short,
// or that breaks a bound on the way, tells nothing.
func (f *VideoFormat) readHEVCUsability(r *bitReader, subLayers int) {
	r.ue() // luma bit depth
	r.ue() // chroma bit depth
	pocBits := int(r.ue()) + 4
	if pocBits > 16 {
		return
	}
	layers := 1
	if r.flag() { // sub_layer_ordering_info_present
		layers = subLayers + 1
	}
	for range 3 * layers {
		r.ue()
	}
	for range 6 { // block sizes and hierarchy depths
		r.ue()
	}
	if r.flag() { // scaling lists
		if r.flag() { // sent here
			skipHEVCScalingLists(r)
		}
	}
	r.skip(2)     // amp, sample adaptive offset
	if r.flag() { // PCM
		r.skip(8)
		r.ue()
		r.ue()
		r.skip(1)
	}
	if !skipHEVCShortTermSets(r) {
		return
	}
	if r.flag() { // long-term reference pictures
		n := r.ue()
		if n > maxHEVCLongTermPics {
			return
		}
		r.skip(int(n) * (pocBits + 1))
	}
	r.skip(2) // temporal mvp, strong intra smoothing
	if !r.flag() {
		return
	}
	f.PixelWidth, f.PixelHeight = readVUIAspect(r)
	skipVUIColour(r)
	r.skip(3)     // neutral chroma, field sequence, frame field info
	if r.flag() { // default display window
		for range 4 {
			r.ue()
		}
	}
	if !r.flag() { // vui_timing_info_present_flag
		return
	}
	units, scale := r.read(32), r.read(32)
	if r.short || units == 0 {
		return
	}
	f.FrameRate = float64(scale) / float64(units)
}

// skipHEVCScalingLists passes over scaling_list_data (§7.3.4).
func skipHEVCScalingLists(r *bitReader) {
	for size := range 4 {
		step := 1
		if size == 3 {
			step = 3
		}
		for matrix := 0; matrix < 6; matrix += step {
			if !r.flag() { // predicted from another list
				r.ue()
				continue
			}
			n := min(64, 1<<(4+2*size))
			if size > 1 {
				r.se()
			}
			for range n {
				r.se()
			}
		}
	}
}

// skipHEVCShortTermSets passes over the sets of short-term reference pictures
// (§7.3.7) and reports whether they keep their bounds.
func skipHEVCShortTermSets(r *bitReader) bool {
	n := r.ue()
	if n > maxHEVCShortTermSets {
		return false
	}
	pictures := uint32(0) // in the set before
	for i := range n {
		if i > 0 && r.flag() { // predicted from the set before
			r.skip(1)
			r.ue()
			kept := uint32(0)
			for range pictures + 1 {
				if used := r.flag(); used || r.flag() {
					kept++
				}
			}
			pictures = kept
		} else {
			negative, positive := r.ue(), r.ue()
			if negative > maxHEVCDeltaPOCs || positive > maxHEVCDeltaPOCs {
				return false
			}
			pictures = negative + positive
			for range pictures {
				r.ue()
				r.skip(1)
			}
		}
		if r.short || pictures > maxHEVCDeltaPOCs {
			return false
		}
	}
	return true
}

var hevcProfiles = map[uint32]string{
	1:  "Main",
	2:  "Main 10",
	3:  "Main Still Picture",
	4:  "Range Extensions",
	5:  "High Throughput",
	9:  "Screen Content",
	11: "High Throughput Screen Content",
}

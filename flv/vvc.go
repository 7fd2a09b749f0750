package flv

import "math/bits"

// parseVVCC reads a VvcDecoderConfigurationRecord (ISO/IEC 14496-15 §11.2.4.2),
// which tells the picture size itself, in its optional first part.
//
//	5 bits 1  NALU length size - 1 (2 bits)  profile, tier, level present (1 bit)
//	if present:
//	  output layer set (9 bits)  sub-layers (3 bits)  constant frame rate (2 bits)  chroma (2 bits)
//	  bit depth - 8 (3 bits)  5 bits 1
//	  VvcPTLRecord
//	  width (u16)  height (u16)  average frame rate (u16, frames per 256 s)
//	arrays of NAL units
func parseVVCC(b []byte) (VideoFormat, error) {
	const boxHead = 4 // version and flags of the box, which some writers keep
	if len(b) > boxHead && b[0] == 0 {
		b = b[boxHead:]
	}
	r := &bitReader{b: b}
	r.skip(5 + 2)
	if !r.flag() {
		if r.short {
			return VideoFormat{}, errHeader
		}
		return VideoFormat{}, nil
	}
	r.skip(9)
	subLayers := int(r.read(3))
	r.skip(2 + 2 + 3 + 5)
	profile := readVVCProfileTierLevel(r, subLayers)
	f := VideoFormat{
		Profile: profileName(vvcProfiles, profile),
		Width:   int(r.read(16)),
		Height:  int(r.read(16)),
	}
	f.FrameRate = float64(r.read(16)) / 256
	if r.short {
		return VideoFormat{}, errHeader
	}
	return f, nil
}

// readVVCProfileTierLevel passes over a VvcPTLRecord and returns
// general_profile_idc.
func readVVCProfileTierLevel(r *bitReader, subLayers int) uint32 {
	r.skip(2)
	constraintBytes := int(r.read(6))
	profile := r.read(7)
	// Tier, level, then two flags and the constraints, which fill whole bytes.
	r.skip(1 + 8 + 8*max(constraintBytes, 1))
	if subLayers > 1 {
		present := r.read(subLayers - 1)
		r.skip(8 - (subLayers - 1))
		r.skip(8 * bits.OnesCount32(present))
	}
	r.skip(32 * int(r.read(8))) // sub-profiles
	return profile
}

var vvcProfiles = map[uint32]string{
	1:  "Main 10",
	17: "Multilayer Main 10",
	33: "Main 10 4:4:4",
	49: "Multilayer Main 10 4:4:4",
	65: "Main 10 Still Picture",
	97: "Main 10 4:4:4 Still Picture",
}

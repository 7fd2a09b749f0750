package flv

import "fmt"

// Audio object types (ISO/IEC 14496-3 §1.5.1.1) that are treated apart.
const (
	aotLC     = 2
	aotSBR    = 5
	aotPS     = 29
	aotEscape = 31
	aotUSAC   = 42
)

var aacProfiles = map[uint32]string{
	1:       "Main",
	aotLC:   "LC",
	3:       "SSR",
	4:       "LTP",
	aotSBR:  "HE",
	20:      "Scalable",
	23:      "LD",
	aotPS:   "HEv2",
	39:      "ELD",
	aotUSAC: "xHE",
}

var aacSampleRates = [...]int{
	96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050,
	16000, 12000, 11025, 8000, 7350,
}

// aacChannels is indexed by channelConfiguration; 0 means that a program
// config element tells.
var aacChannels = [16]int{1: 1, 2, 3, 4, 5, 6, 8, 11: 7, 12: 8, 13: 24, 14: 8}

// parseAudioSpecificConfig reads an AudioSpecificConfig (ISO/IEC 14496-3
// §1.6.2.1). Sample rate and channels are those that a decoder with all
// announced extensions gives out.
//
//	object type (5 bits, 31: 32 + 6 bits)  rate index (4 bits, 15: rate in 24 bits)
//	channel configuration (4 bits)
//	for object types SBR and PS: rate of the extension, object type underneath
//	GASpecificConfig  …  [sync extension 0x2b7: SBR, PS]
func parseAudioSpecificConfig(b []byte) (AudioFormat, error) {
	r := &bitReader{b: b}
	objectType := readAudioObjectType(r)
	rate := readAACRate(r)
	channelConfig := r.read(4)
	profile := objectType
	if objectType == aotSBR || objectType == aotPS {
		rate = readAACRate(r)
		objectType = readAudioObjectType(r)
	}
	f := AudioFormat{SampleRate: rate, Channels: aacChannels[channelConfig]}
	if r.short || rate == 0 {
		return AudioFormat{}, fmt.Errorf("%w: AudioSpecificConfig % x", ErrFormat, b[:min(len(b), 8)])
	}
	if isGeneralAudio(objectType) {
		readGASpecificConfig(r, objectType, channelConfig, &f)
		if profile == objectType {
			profile = readSyncExtension(r, objectType, &f)
		}
	}
	if profile == aotPS && f.Channels == 1 {
		f.Channels = 2
	}
	f.Profile = profileName(aacProfiles, profile)
	return f, nil
}

func readAudioObjectType(r *bitReader) uint32 {
	if t := r.read(5); t != aotEscape {
		return t
	}
	return 32 + r.read(6)
}

// readAACRate returns a sample rate in Hz, 0 for a reserved index.
func readAACRate(r *bitReader) int {
	const explicit = 15
	i := r.read(4)
	if i == explicit {
		return int(r.read(24))
	}
	if int(i) < len(aacSampleRates) {
		return aacSampleRates[i]
	}
	return 0
}

// isGeneralAudio says whether a GASpecificConfig follows for object type t.
func isGeneralAudio(t uint32) bool {
	switch t {
	case 1, 2, 3, 4, 6, 7, 17, 19, 20, 21, 22, 23:
		return true
	}
	return false
}

// readGASpecificConfig passes over a GASpecificConfig (§4.4.1), counting the
// channels of a program config element.
func readGASpecificConfig(r *bitReader, objectType, channelConfig uint32, f *AudioFormat) {
	r.skip(1)     // frame length
	if r.flag() { // depends on core coder
		r.skip(14)
	}
	extension := r.flag()
	if channelConfig == 0 {
		if n := readProgramConfig(r); !r.short {
			f.Channels = n
		}
	}
	if objectType == 6 || objectType == 20 {
		r.skip(3) // layer
	}
	if extension {
		switch objectType {
		case 22:
			r.skip(5 + 11)
		case 17, 19, 20, 23:
			r.skip(3)
		}
		r.skip(1)
	}
}

// readProgramConfig reads a program_config_element (§4.4.1.1) and returns the
// number of its channels.
//
//	tag (4 bits)  object type (2)  rate index (4)
//	numbers of front (4), side (4), back (4), LFE (2), data (3), coupling (4) elements
//	mono, stereo and matrix mixdown: present (1), element (4; matrix 3)
//	front, side, back: pair (1), tag (4) each  LFE, data: tag (4) each  coupling: 5 each
//	byte alignment  comment
func readProgramConfig(r *bitReader) int {
	r.skip(4 + 2 + 4)
	elements := int(r.read(4) + r.read(4) + r.read(4))
	lfe, data, coupling := int(r.read(2)), int(r.read(3)), int(r.read(4))
	for _, bits := range [...]int{4, 4, 3} {
		if r.flag() {
			r.skip(bits)
		}
	}
	channels := lfe
	for range elements {
		channels++
		if r.flag() {
			channels++
		}
		r.skip(4)
	}
	r.skip(4*(lfe+data) + 5*coupling)
	r.skip(-r.pos & 7) // aligned to the AudioSpecificConfig, which is all of r
	r.skip(8 * int(r.read(8)))
	return channels
}

// readSyncExtension reads the extension at the end of an AudioSpecificConfig
// that announces SBR and PS in a way that old decoders do not see, and returns
// the object type that results.
func readSyncExtension(r *bitReader, objectType uint32, f *AudioFormat) uint32 {
	const syncSBR, syncPS = 0x2b7, 0x548
	if r.short || r.read(11) != syncSBR || readAudioObjectType(r) != aotSBR || !r.flag() {
		return objectType
	}
	rate := readAACRate(r)
	if r.short || rate == 0 {
		return objectType
	}
	f.SampleRate = rate
	if r.read(11) == syncPS && r.flag() {
		return aotPS
	}
	return aotSBR
}

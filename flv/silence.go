package flv

// Silence is what stands in the place of sound that is not sent: frames that decode to
// nothing.
type Silence struct {
	Frame   []byte // of the codec, as Packet.Payload; to be read only
	Samples int    // in a frame
	Rate    int    // samples per second, Hz
}

// SilentAAC returns the silence of a stream with the given AudioSpecificConfig. It
// reports false for all but AAC-LC with one or two channels: what else may stand in
// AAC (SBR, a program config element, further channels) takes frames of other makes.
// The rate must lie between the lowest and the highest that AAC has an index for.
func SilentAAC(config []byte) (Silence, bool) {
	f, err := parseAudioSpecificConfig(config)
	if err != nil || f.Profile != aacProfiles[aotLC] {
		return Silence{}, false
	}
	r := &bitReader{b: config}
	readAudioObjectType(r)
	s := Silence{Samples: 1024, Rate: readAACRate(r)}
	lowest, highest := aacSampleRates[len(aacSampleRates)-1], aacSampleRates[0]
	if s.Rate < lowest || s.Rate > highest {
		return Silence{}, false
	}
	switch r.read(4) {
	case 1:
		s.Frame = silentMono
	case 2:
		s.Frame = silentStereo
	default:
		return Silence{}, false
	}
	if r.flag() { // frameLengthFlag, §4.4.1
		s.Samples = 960
	}
	return s, true
}

// Raw data blocks (ISO/IEC 14496-3 §4.4.2.1) of one element whose windows are long and
// have no scale factor bands, so that nothing is coded:
//
//	mono    element SCE 000  tag 0000  channel stream
//	stereo  element CPE 001  tag 0000  common window 1  window info  M/S mask 00
//	        channel stream without its window info, twice
//	both    end 111  padding to a byte
//
//	channel stream  global gain (8)  window info  pulse 0  TNS 0  gain control 0
//	window info     reserved 0  sequence 00  shape 0  max_sfb 000000  predictor 0
var (
	silentMono   = []byte{0x00, 0x00, 0x00, 0x07}
	silentStereo = []byte{0x21, 0x00, 0x00, 0x00, 0x00, 0x1c}
)

package flv

import "fmt"

// VideoFormat is what a codec header says of the picture.
type VideoFormat struct {
	Codec   Codec
	Profile string // "High", "Main 10", …; empty when unknown
	// Width and Height are in pixels, after cropping; 0 when unknown.
	Width, Height int
	// PixelWidth and PixelHeight are the shape of a pixel, as H.264 and HEVC tell it; 0 if
	// it is square, or the header does not say.
	PixelWidth, PixelHeight int
	// FrameRate is in frames per second, at most 1,000; 0 when the header does not
	// say, or says more, which stands for a rate that varies. It is what the encoder
	// claims, not what it sends.
	FrameRate float64
}

// AudioFormat is what a codec header says of the sound.
type AudioFormat struct {
	Codec      Codec
	Profile    string // AAC: "LC", "HE", "HEv2", …; empty for other codecs
	SampleRate int    // in Hz, of what is heard; 0 when unknown
	Channels   int    // 0 when unknown
}

// Bounds of what a header may say and be believed.
const (
	maxDimension  = 1 << 16 // width and height, in pixels: that of AV1, the largest of all
	maxFrameRate  = 1000    // frames per second: more is the clock of a varying rate
	maxSampleRate = 1 << 20 // Hz: that of FLAC, the largest of all
)

// ParseVideoConfig returns the format that a video packet tells of:
//
//   - H.264, HEVC, VVC, AV1: a KindConfig (avcC, hvcC, vvcC, av1C);
//   - VP9: a KindConfig (vpcC) for the profile, a key frame for the size too;
//   - AV1, whose KindConfig may tell the profile alone: a key frame;
//   - VP8, H.263: a key frame.
//
// Any other packet is ErrNoFormat, at little cost and without allocating, so
// that it can be asked of every packet until one tells. A header that
// contradicts itself is ErrFormat.
func ParseVideoConfig(p Packet) (VideoFormat, error) {
	var f VideoFormat
	var err error
	switch {
	case p.Kind == KindConfig:
		f, err = parseVideoHeader(p.Codec, p.Payload)
	case p.Kind == KindFrame && p.Frame == FrameKey:
		f, err = parseKeyFrame(p.Codec, p.Payload)
	default:
		err = ErrNoFormat
	}
	if err != nil {
		return VideoFormat{}, err
	}
	if f.Width < 0 || f.Width > maxDimension || f.Height < 0 || f.Height > maxDimension {
		return VideoFormat{}, fmt.Errorf("%w: picture of %dx%d pixels", ErrFormat, f.Width, f.Height)
	}
	if !(f.FrameRate <= maxFrameRate) {
		f.FrameRate = 0
	}
	f.Codec = p.Codec
	return f, nil
}

func parseVideoHeader(c Codec, b []byte) (VideoFormat, error) {
	switch c {
	case CodecH264:
		return parseAVCC(b)
	case CodecHEVC:
		return parseHVCC(b)
	case CodecVVC:
		return parseVVCC(b)
	case CodecAV1:
		return parseAV1C(b)
	case CodecVP9:
		return parseVPCC(b)
	}
	return VideoFormat{}, ErrNoFormat
}

func parseKeyFrame(c Codec, b []byte) (VideoFormat, error) {
	switch c {
	case CodecVP8:
		return parseVP8Frame(b)
	case CodecVP9:
		return parseVP9Frame(b)
	case CodecH263:
		return parseH263Frame(b)
	case CodecAV1:
		return findAV1SequenceHeader(b)
	}
	return VideoFormat{}, ErrNoFormat
}

// ParseAudioConfig returns the format that an audio packet tells of:
//
//   - AAC, Opus, FLAC: a KindConfig (AudioSpecificConfig, OpusHead,
//     STREAMINFO);
//   - MP3, AC-3, E-AC-3: any frame that begins with the codec's frame header;
//   - what has no header (PCM, G.711, Speex, …): any frame, from the first byte
//     of the classic body.
//
// Any other packet is ErrNoFormat, at little cost and without allocating, so
// that it can be asked of every packet until one tells. A header that
// contradicts itself is ErrFormat.
func ParseAudioConfig(p Packet) (AudioFormat, error) {
	var f AudioFormat
	var err error
	switch {
	case p.Kind == KindConfig:
		f, err = parseAudioHeader(p.Codec, p.Payload)
	case p.Kind == KindFrame:
		f, err = parseAudioFrame(p)
	default:
		err = ErrNoFormat
	}
	if err != nil {
		return AudioFormat{}, err
	}
	if f.SampleRate > maxSampleRate {
		return AudioFormat{}, fmt.Errorf("%w: sample rate of %d Hz", ErrFormat, f.SampleRate)
	}
	f.Codec = p.Codec
	return f, nil
}

func parseAudioHeader(c Codec, b []byte) (AudioFormat, error) {
	switch c {
	case CodecAAC:
		return parseAudioSpecificConfig(b)
	case CodecOpus:
		return parseOpusHead(b)
	case CodecFLAC:
		return parseStreamInfo(b)
	}
	return AudioFormat{}, ErrNoFormat
}

func parseAudioFrame(p Packet) (AudioFormat, error) {
	switch p.Codec {
	case CodecMP3:
		if f, ok := parseMPEGAudioFrame(p.Payload); ok {
			return f, nil
		}
	case CodecAC3, CodecEAC3:
		return parseAC3Frame(p.Payload)
	}
	return parseSound(p)
}

// parseSound reads the first byte of a classic audio body (FLV 10.1 E.4.2.1)
// for the codecs that have no header of their own.
func parseSound(p Packet) (AudioFormat, error) {
	// Video packets, silence and enhanced bodies have a Sound of 0, which would
	// be PCM.
	if p.Enhanced || soundCodecs[p.Sound>>4] != p.Codec {
		return AudioFormat{}, ErrNoFormat
	}
	f := AudioFormat{
		SampleRate: [4]int{5512, 11025, 22050, 44100}[p.Sound>>2&3],
		Channels:   int(p.Sound&1) + 1,
	}
	switch p.Sound >> 4 {
	case soundPCMNative, soundPCM, soundADPCM, soundMP3, soundNelly:
	case soundNelly16kMono, soundSpeex:
		f.SampleRate, f.Channels = 16000, 1
	case soundNelly8kMono:
		f.SampleRate, f.Channels = 8000, 1
	case soundALaw, soundMuLaw, soundMP38k:
		f.SampleRate = 8000
	default:
		return AudioFormat{}, ErrNoFormat
	}
	return f, nil
}

// Codec headers of ISO/IEC 14496-15 hold NAL units behind their lengths.

// nalUnit reads a length (u16) and as many bytes.
func nalUnit(b []byte) (nal, rest []byte, err error) {
	if len(b) < 2 {
		return nil, nil, errHeader
	}
	n := int(b[0])<<8 | int(b[1])
	if b = b[2:]; n > len(b) {
		return nil, nil, errHeader
	}
	return b[:n], b[n:], nil
}

// errHeader is a codec header that ends too soon.
var errHeader = fmt.Errorf("%w: codec header cut short", ErrFormat)

// profileName names a profile by its number, from the names that are known.
func profileName(names map[uint32]string, n uint32) string {
	if name, ok := names[n]; ok {
		return name
	}
	return fmt.Sprintf("profile %d", n)
}

package flv

import "fmt"

// Codec names an audio or video codec, whatever form a body is in: classic,
// with one of the unofficial ids, or of Enhanced RTMP. Its value is the
// codec's FourCC, big-endian, where Enhanced RTMP has one, and one made up
// here for the rest. The zero value is no codec.
//
// A codec that is not in this list keeps its FourCC, or is its classic id
// (video) or 0x100 + its classic id (audio).
type Codec uint32

// Video codecs.
const (
	CodecH264         Codec = 'a'<<24 | 'v'<<16 | 'c'<<8 | '1'
	CodecHEVC         Codec = 'h'<<24 | 'v'<<16 | 'c'<<8 | '1'
	CodecVVC          Codec = 'v'<<24 | 'v'<<16 | 'c'<<8 | '1'
	CodecAV1          Codec = 'a'<<24 | 'v'<<16 | '0'<<8 | '1'
	CodecVP8          Codec = 'v'<<24 | 'p'<<16 | '0'<<8 | '8'
	CodecVP9          Codec = 'v'<<24 | 'p'<<16 | '0'<<8 | '9'
	CodecH263         Codec = 'f'<<24 | 'l'<<16 | 'v'<<8 | '1' // Sorenson's variant
	CodecScreenVideo  Codec = 'f'<<24 | 's'<<16 | 'v'<<8 | '1'
	CodecScreenVideo2 Codec = 'f'<<24 | 's'<<16 | 'v'<<8 | '2'
	CodecVP6          Codec = 'v'<<24 | 'p'<<16 | '6'<<8 | 'f'
	CodecVP6Alpha     Codec = 'v'<<24 | 'p'<<16 | '6'<<8 | 'a'
	CodecMPEG4        Codec = 'm'<<24 | 'p'<<16 | '4'<<8 | 'v'
)

// Audio codecs.
const (
	CodecAAC        Codec = 'm'<<24 | 'p'<<16 | '4'<<8 | 'a'
	CodecMP3        Codec = '.'<<24 | 'm'<<16 | 'p'<<8 | '3'
	CodecOpus       Codec = 'O'<<24 | 'p'<<16 | 'u'<<8 | 's'
	CodecFLAC       Codec = 'f'<<24 | 'L'<<16 | 'a'<<8 | 'C'
	CodecAC3        Codec = 'a'<<24 | 'c'<<16 | '-'<<8 | '3'
	CodecEAC3       Codec = 'e'<<24 | 'c'<<16 | '-'<<8 | '3'
	CodecPCM        Codec = 'l'<<24 | 'p'<<16 | 'c'<<8 | 'm'
	CodecADPCM      Codec = 'a'<<24 | 'd'<<16 | 'p'<<8 | 'c'
	CodecALaw       Codec = 'a'<<24 | 'l'<<16 | 'a'<<8 | 'w'
	CodecMuLaw      Codec = 'u'<<24 | 'l'<<16 | 'a'<<8 | 'w'
	CodecSpeex      Codec = 's'<<24 | 'p'<<16 | 'e'<<8 | 'x'
	CodecNellymoser Codec = 'n'<<24 | 'e'<<16 | 'l'<<8 | 'l'
)

// unknownAudio is added to a classic sound format that has no Codec, to keep
// it apart from the video codec ids.
const unknownAudio = 0x100

// Video reports whether c is a video codec of the list above.
func (c Codec) Video() bool { return codecs[c].video }

// Audio reports whether c is an audio codec of the list above.
func (c Codec) Audio() bool { return codecs[c].name != "" && !codecs[c].video }

// String returns the codec's usual name ("H.264", "AAC"), "none" for the zero
// value, or the FourCC or id of a codec not listed here.
func (c Codec) String() string {
	if known, ok := codecs[c]; ok {
		return known.name
	}
	switch {
	case c == 0:
		return "none"
	case c < unknownAudio:
		return fmt.Sprintf("video codec %d", uint32(c))
	case c < 2*unknownAudio:
		return fmt.Sprintf("audio codec %d", uint32(c-unknownAudio))
	}
	return fmt.Sprintf("codec %q", c.fourCC())
}

var codecs = map[Codec]struct {
	name  string
	video bool
}{
	CodecH264:         {"H.264", true},
	CodecHEVC:         {"HEVC", true},
	CodecVVC:          {"VVC", true},
	CodecAV1:          {"AV1", true},
	CodecVP8:          {"VP8", true},
	CodecVP9:          {"VP9", true},
	CodecH263:         {"H.263", true},
	CodecScreenVideo:  {"Screen Video", true},
	CodecScreenVideo2: {"Screen Video 2", true},
	CodecVP6:          {"VP6", true},
	CodecVP6Alpha:     {"VP6 with alpha", true},
	CodecMPEG4:        {"MPEG-4", true},
	CodecAAC:          {"AAC", false},
	CodecMP3:          {"MP3", false},
	CodecOpus:         {"Opus", false},
	CodecFLAC:         {"FLAC", false},
	CodecAC3:          {"AC-3", false},
	CodecEAC3:         {"E-AC-3", false},
	CodecPCM:          {"PCM", false},
	CodecADPCM:        {"ADPCM", false},
	CodecALaw:         {"G.711 A-law", false},
	CodecMuLaw:        {"G.711 mu-law", false},
	CodecSpeex:        {"Speex", false},
	CodecNellymoser:   {"Nellymoser", false},
}

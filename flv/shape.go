package flv

import (
	"slices"
	"strings"
)

// Form is how much of Enhanced RTMP a viewer understands.
type Form uint8

// Forms. Each but the first gives one track of a multitrack stream, in bodies that name
// no track and have no ModEx, and leaves out what cannot be shown: ends of sequence,
// which viewers outlive, commands, and packet types that are not known.
const (
	// FormAsSent leaves bodies as the publisher sent them.
	FormAsSent Form = iota
	// FormSingle keeps the form of each body otherwise.
	FormSingle
	// FormClassic is FormSingle with the form of FLV 10.1 for the codecs that it has:
	// H.264, AAC and MP3. What is said of these by means that only Enhanced RTMP has
	// (colorInfo, channel maps) is left out.
	FormClassic
	// FormBrowser is FormClassic with nothing but frames and codec headers, and
	// Enhanced RTMP in the place of unofficial codec ids, that of HEVC excepted:
	// what mpegts.js reads. It reports anything else as an error.
	FormBrowser
)

// HEVC says in which form HEVC is wanted.
type HEVC uint8

// Forms of HEVC.
const (
	HEVCAsSent   HEVC = iota
	HEVCLegacy        // with the unofficial codec id 12
	HEVCEnhanced      // with the FourCC hvc1
)

// Shape is the form in which a viewer wants audio and video bodies. Only their
// headers differ, never what is coded. The zero value is as the publisher sent them.
type Shape struct {
	Form Form
	// HEVC holds with every Form. With FormAsSent it leaves multitrack bodies alone,
	// which have no other form.
	HEVC  HEVC
	Track uint8 // which track to give; unused with FormAsSent
}

// Plain reports whether p is of a body that every Shape leaves as it is, if it wants
// track 0: a frame or codec header of FLV 10.1.
func (p *Packet) Plain() bool {
	if p.Kind != KindFrame && p.Kind != KindConfig {
		return false
	}
	return !p.Enhanced && p.Codec != CodecOpus && !p.Codec.unofficial()
}

// unofficial reports whether c is a video codec that FLV 10.1 does not have, but
// that goes by a classic id all the same.
func (c Codec) unofficial() bool {
	return c == CodecHEVC || c == CodecAV1 || c == CodecVP8 || c == CodecVP9
}

// Apply returns the body of t in the shape: t.Data where nothing changes, at no
// allocation, otherwise bytes appended to *scratch, which stay valid until the caller
// cuts that back to use it again. It reports false for a body that has no place in
// the shape: another track, what the form leaves out or can't express, what can't be
// read. A tag that is neither audio nor video never changes.
//
// The result says the same as the packet of the track, but for what tells the forms apart
// (Enhanced, Multitrack, Track, Sound), the nanoseconds of ModEx, and the composition
// time of a codec that has none in Enhanced RTMP. Since it is no multitrack body, it
// counts as track 0: the same shape with Track 0 leaves it as it is.
func (s Shape) Apply(t Tag, scratch *[]byte) (body []byte, ok bool) {
	if t.Type != TypeAudio && t.Type != TypeVideo || s == (Shape{}) {
		return t.Data, true
	}
	p, ok := s.choose(t)
	if !ok || s.omits(&p) {
		return nil, false
	}
	enhanced := s.enhanced(p.Codec, p.Enhanced)
	if s.Form == FormAsSent {
		if p.Multitrack || p.Kind == KindCommand || enhanced == p.Enhanced {
			return t.Data, true
		}
	} else if modEx := p.Enhanced && t.Data[0]&0x0f == exModEx; enhanced == p.Enhanced && !p.Multitrack && !modEx {
		return t.Data, true
	}
	p.Enhanced, p.Multitrack, p.Track, p.Nanos = enhanced, false, 0, 0
	if enhanced && !p.Codec.hasCompositionTime() {
		p.CompositionTime = 0
	}
	appendBody := AppendAudio
	if t.Type == TypeVideo {
		appendBody = AppendVideo
	}
	begin := len(*scratch)
	out, err := appendBody(*scratch, p)
	if err != nil {
		return nil, false
	}
	*scratch = out
	return out[begin:len(out):len(out)], true
}

// choose returns the packet of the track that the viewer is given.
func (s Shape) choose(t Tag) (p Packet, ok bool) {
	if s.Form == FormAsSent {
		p, err := t.Packet()
		return p, err == nil
	}
	var few [4]Packet // more tracks in a body are rare
	packets, err := t.AppendPackets(few[:0])
	i := slices.IndexFunc(packets, func(p Packet) bool { return p.Track == s.Track })
	if err != nil || i < 0 {
		return Packet{}, false
	}
	return packets[i], true
}

// omits reports whether the form leaves out what p is, of whatever track.
func (s Shape) omits(p *Packet) bool {
	if s.Form == FormAsSent {
		return false
	}
	switch p.Kind {
	case KindFrame, KindConfig:
		return false
	case KindMetadata, KindMultichannel, KindConfigTS:
		return s.Form == FormBrowser || !s.enhanced(p.Codec, p.Enhanced)
	case KindEnd, KindCommand, KindUnknown:
	}
	return true
}

// enhanced reports whether bodies of c, which the publisher sends in the enhanced
// form or not, have that form in the shape.
func (s Shape) enhanced(c Codec, sent bool) bool {
	if c == CodecHEVC && s.HEVC != HEVCAsSent {
		return s.HEVC == HEVCEnhanced
	}
	switch s.Form {
	case FormAsSent, FormSingle:
		return sent
	case FormClassic, FormBrowser:
	}
	switch {
	case c == CodecH264, c == CodecAAC, c == CodecMP3:
		return false
	case s.Form == FormBrowser && c != CodecHEVC && (c.unofficial() || c == CodecOpus):
		return true
	}
	return sent
}

// CodecID returns what stands for a codec in onMetaData, beside bodies in the shape:
// the number of the classic form where they have that, otherwise the codec's FourCC
// as a number (Enhanced RTMP v2, "Defining Additional Video and Audio Codecs"). sent
// tells whether the publisher's bodies have the enhanced form.
func (s Shape) CodecID(c Codec, sent bool) float64 {
	if !s.enhanced(c, sent) {
		if id, ok := classicVideoID(c); ok && c.Video() {
			return float64(id)
		}
		if sound, ok := classicSoundID(c); ok {
			return float64(sound)
		}
	}
	return float64(c)
}

// classicSoundID returns the sound format of a codec, the usual one of several.
func classicSoundID(c Codec) (byte, bool) {
	switch c {
	case CodecPCM:
		return soundPCM, true
	case CodecNellymoser:
		return soundNelly, true
	}
	for id, known := range soundCodecs {
		if known == c && known != 0 {
			return byte(id), true
		}
	}
	return 0, false
}

// ParseCodecID returns the codec that the videocodecid or audiocodecid of an onMetaData
// names, an AMF value: by its classic number, its FourCC as a number, or a text (FMLE and
// Wirecast write "avc1" and "mp4a"). It is 0 for a value that names no codec of the type
// that is known here. The value 0 is one of these: it is the number of an audio codec
// that nobody uses, and what encoders write for no codec.
func ParseCodecID(t Type, value any) Codec {
	var c Codec
	switch v := value.(type) {
	case float64:
		switch {
		case v >= 2*unknownAudio && v <= 1<<32-1:
			c = Codec(v)
		case !(v >= 1 && v < 16):
		case t == TypeVideo:
			c = videoCodecs[int(v)]
		default:
			c = soundCodecs[int(v)]
		}
	case string:
		for known, is := range codecs {
			if strings.EqualFold(v, known.fourCC()) || strings.EqualFold(v, is.name) || strings.EqualFold(v, strings.ReplaceAll(is.name, ".", "")) {
				c = known
			}
		}
	}
	if t == TypeVideo && c.Video() || t == TypeAudio && c.Audio() {
		return c
	}
	return 0
}

// fourCC returns the codec's four characters.
func (c Codec) fourCC() string {
	return string([]byte{byte(c >> 24), byte(c >> 16), byte(c >> 8), byte(c)})
}

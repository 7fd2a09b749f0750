package flv

// Classic video codec ids (FLV 10.1 E.4.3.1, CodecID). 8 and 9 are ffmpeg's,
// 12 to 15 those of content delivery networks and encoders in China; none of
// these six is official.
const (
	idH263         = 2
	idScreenVideo  = 3
	idVP6          = 4
	idVP6Alpha     = 5
	idScreenVideo2 = 6
	idH264         = 7
	idMPEG4        = 9
	idHEVC         = 12
	idAV1          = 13
	idVP8          = 14
	idVP9          = 15
)

var videoCodecs = [16]Codec{
	0: 0, 1: 1, 8: 8, 10: 10, 11: 11, // not understood
	idH263:         CodecH263,
	idScreenVideo:  CodecScreenVideo,
	idVP6:          CodecVP6,
	idVP6Alpha:     CodecVP6Alpha,
	idScreenVideo2: CodecScreenVideo2,
	idH264:         CodecH264,
	idMPEG4:        CodecMPEG4,
	idHEVC:         CodecHEVC,
	idAV1:          CodecAV1,
	idVP8:          CodecVP8,
	idVP9:          CodecVP9,
}

// hasPacketType says whether bodies with a classic codec id carry a packet type
// and a composition time, as H.264 does (FLV 10.1 E.4.3.2, AVCVIDEOPACKET).
func hasPacketType(id byte) bool {
	return id == idH264 || id == idMPEG4 || id >= idHEVC
}

// Packet types of classic bodies that have one (FLV 10.1 E.4.3.1,
// AVCPacketType).
const (
	classicConfig = 0
	classicFrame  = 1
	classicEnd    = 2
)

// Video packet types (Enhanced RTMP v2, VideoPacketType), beside those that
// audio shares.
const (
	exFrameX          = 3 // composition time 0, not sent
	exVideoMetadata   = 4
	exVideoConfigTS   = 5
	exVideoMultitrack = 6
)

// exVideoBit marks an enhanced video body. In a classic one it is the top bit
// of the frame type, which never has it.
const exVideoBit = 0x80

// ParseVideo says what a video body is (FLV 10.1 E.4.3; Enhanced RTMP v2,
// ExVideoTagHeader). It does not allocate unless it fails. A body that is cut
// short, an empty one included, is an ErrFormat; codecs and packet types that
// are not known are none.
func ParseVideo(body []byte) (Packet, error) {
	if len(body) == 0 {
		return Packet{}, errShort
	}
	if body[0]&exVideoBit != 0 {
		return parseVideoEx(body)
	}
	var p Packet
	err := p.parseVideoClassic(body)
	return p, err
}

// parseVideoClassic reads the classic form of a body, which is not empty, into p; p stays
// zero if it fails.
//
//	frame type (4 bits)  codec id (4 bits)
//	for H.264 and its like: packet type (u8)  composition time (s24)
//	payload
func (p *Packet) parseVideoClassic(body []byte) error {
	id, frame := body[0]&0x0f, FrameType(body[0]>>4)
	kind := KindFrame
	b := body[1:]
	switch {
	case frame == FrameCommand:
		kind = KindCommand
	case hasPacketType(id):
		if len(b) < 1 || len(b) < 4 && b[0] != classicEnd { // some end with two bytes
			return errShort
		}
		switch b[0] {
		case classicConfig:
			kind = KindConfig
		case classicFrame:
			p.CompositionTime = int24(b[1:])
		case classicEnd:
			kind = KindEnd
		default:
			kind = KindUnknown
		}
		b = b[min(4, len(b)):]
	}
	p.Codec, p.Kind, p.Frame = videoCodecs[id], kind, frame
	if kind != KindEnd {
		p.Key = kind == KindFrame && frame == FrameKey
		p.Payload = b
	}
	return nil
}

// parseVideoEx reads the form of Enhanced RTMP.
//
//	1 (1 bit)  frame type (3 bits)  packet type (4 bits)
//	[ModEx…]  command (u8), for a command frame, and no more
//	or: FourCC, or the multitrack header
//	composition time (s24), for frames of H.264, HEVC and VVC with packet type 1
//	payload
func parseVideoEx(body []byte) (Packet, error) {
	var p Packet
	if err := eachVideoEx(body, p.settle); err != nil {
		return Packet{}, err
	}
	return p, nil
}

// eachVideoEx calls visit for each track of an enhanced body, at least once unless
// it fails.
func eachVideoEx(body []byte, visit func(Packet)) error {
	head := Packet{
		Enhanced: true,
		Frame:    FrameType(body[0] >> 4 & 7),
	}
	packetType, b, err := head.parseModEx(body[0]&0x0f, body[1:])
	if err != nil {
		return err
	}
	if head.Frame == FrameCommand && packetType != exVideoMetadata {
		head.Kind, head.Payload = KindCommand, b
		visit(head)
		return nil
	}
	if packetType == exVideoMultitrack {
		return head.eachTrack(b, videoTrack, visit)
	}
	if head.Codec, b, err = fourCC(b); err != nil {
		return err
	}
	if head, err = videoTrack(head, packetType, b); err != nil {
		return err
	}
	visit(head)
	return nil
}

// videoTrack completes what is known of a track by its own bytes.
func videoTrack(p Packet, packetType byte, b []byte) (Packet, error) {
	p.Kind = videoKind(packetType)
	if p.Kind == KindFrame && packetType == exFrame && p.Codec.hasCompositionTime() {
		if len(b) < 3 {
			return Packet{}, errShort
		}
		p.CompositionTime, b = int24(b), b[3:]
	}
	p.Key = p.Kind == KindFrame && p.Frame == FrameKey && p.Track == 0
	if p.Kind != KindEnd {
		p.Payload = b
	}
	return p, nil
}

func videoKind(packetType byte) Kind {
	switch packetType {
	case exConfig:
		return KindConfig
	case exFrame, exFrameX:
		return KindFrame
	case exEnd:
		return KindEnd
	case exVideoMetadata:
		return KindMetadata
	case exVideoConfigTS:
		return KindConfigTS
	}
	return KindUnknown
}

// hasCompositionTime says whether coded frames of c carry a composition time
// in Enhanced RTMP.
func (c Codec) hasCompositionTime() bool {
	return c == CodecH264 || c == CodecHEVC || c == CodecVVC
}

// AppendVideo appends the body that p describes; ParseVideo is its inverse.
// The body is in the form that p.Enhanced and p.Multitrack tell, so clearing
// them turns Enhanced RTMP's H.264 into the classic form that every player
// knows; HEVC, AV1, VP8 and VP9 get their unofficial ids. Frame 0 stands for
// the usual frame type: FrameKey, but FrameInter for a frame that is not Key.
// What the form has no place for is ErrInexpressible.
func AppendVideo(dst []byte, p Packet) ([]byte, error) {
	if p.Kind == KindCommand {
		p.Frame = FrameCommand
	} else if p.Frame == 0 {
		p.Frame = FrameKey
		if p.Kind == KindFrame && !p.Key {
			p.Frame = FrameInter
		}
	}
	const maxFrameType = 7
	if p.Frame > maxFrameType || p.Track != 0 && !p.Multitrack ||
		p.CompositionTime != int24([]byte{byte(p.CompositionTime >> 16), byte(p.CompositionTime >> 8), byte(p.CompositionTime)}) {
		return dst, inexpressible(&p)
	}
	if p.Enhanced {
		return appendVideoEx(dst, p)
	}
	return appendVideoClassic(dst, p)
}

func appendVideoClassic(dst []byte, p Packet) ([]byte, error) {
	id, ok := classicVideoID(p.Codec)
	if !ok || p.Multitrack || p.Nanos != 0 || p.Frame == FrameCommand && p.Kind != KindCommand {
		return dst, inexpressible(&p)
	}
	first := byte(p.Frame)<<4 | id
	if p.Kind == KindCommand || p.Kind == KindFrame && !hasPacketType(id) {
		if p.CompositionTime != 0 {
			return dst, inexpressible(&p)
		}
		return append(append(dst, first), p.Payload...), nil
	}
	if !hasPacketType(id) {
		return dst, inexpressible(&p)
	}
	switch p.Kind {
	case KindConfig:
		dst = append(dst, first, classicConfig, 0, 0, 0)
	case KindFrame:
		dst = appendInt24(append(dst, first, classicFrame), p.CompositionTime)
	case KindEnd:
		return append(dst, first, classicEnd, 0, 0, 0), nil
	default:
		return dst, inexpressible(&p)
	}
	return append(dst, p.Payload...), nil
}

func classicVideoID(c Codec) (byte, bool) {
	for id, known := range videoCodecs {
		if known == c {
			return byte(id), true
		}
	}
	return 0, false
}

func appendVideoEx(dst []byte, p Packet) ([]byte, error) {
	first := exVideoBit | byte(p.Frame)<<4
	var packetType byte
	switch p.Kind {
	case KindCommand:
		dst, err := p.appendModEx(dst, first, exConfig)
		if err != nil {
			return dst, err
		}
		return append(dst, p.Payload...), nil
	case KindConfig:
		packetType = exConfig
	case KindFrame:
		packetType = exFrame
		if p.Codec.hasCompositionTime() && p.CompositionTime == 0 {
			packetType = exFrameX
		}
	case KindEnd:
		packetType = exEnd
	case KindMetadata:
		packetType = exVideoMetadata
	case KindConfigTS:
		packetType = exVideoConfigTS
	default:
		return dst, inexpressible(&p)
	}
	if p.Frame == FrameCommand && (p.Kind != KindMetadata || p.Multitrack) {
		return dst, inexpressible(&p)
	}
	hasTime := p.Kind == KindFrame && p.Codec.hasCompositionTime()
	if p.CompositionTime != 0 && !hasTime {
		return dst, inexpressible(&p)
	}
	dst, err := p.appendEnhanced(dst, first, packetType, exVideoMultitrack)
	if err != nil || p.Kind == KindEnd {
		return dst, err
	}
	if hasTime && packetType == exFrame {
		dst = appendInt24(dst, p.CompositionTime)
	}
	return append(dst, p.Payload...), nil
}

// int24 reads a signed 24-bit number.
func int24(b []byte) int32 { return int32(uint24(b)<<8) >> 8 }

func appendInt24(dst []byte, v int32) []byte {
	return append(dst, byte(v>>16), byte(v>>8), byte(v))
}

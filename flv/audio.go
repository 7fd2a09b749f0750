package flv

// Classic sound formats (FLV 10.1 E.4.2.1, SoundFormat). 13 is unofficial.
const (
	soundPCMNative    = 0
	soundADPCM        = 1
	soundMP3          = 2
	soundPCM          = 3
	soundNelly16kMono = 4
	soundNelly8kMono  = 5
	soundNelly        = 6
	soundALaw         = 7
	soundMuLaw        = 8
	soundEnhanced     = 9
	soundAAC          = 10
	soundSpeex        = 11
	soundOpus         = 13
	soundMP38k        = 14
)

var soundCodecs = [16]Codec{
	soundPCMNative:    CodecPCM,
	soundADPCM:        CodecADPCM,
	soundMP3:          CodecMP3,
	soundPCM:          CodecPCM,
	soundNelly16kMono: CodecNellymoser,
	soundNelly8kMono:  CodecNellymoser,
	soundNelly:        CodecNellymoser,
	soundALaw:         CodecALaw,
	soundMuLaw:        CodecMuLaw,
	soundAAC:          CodecAAC,
	soundSpeex:        CodecSpeex,
	12:                unknownAudio + 12,
	soundOpus:         CodecOpus,
	soundMP38k:        CodecMP3,
	15:                unknownAudio + 15, // sound of the playing device
}

// hasSoundPacketType says whether bodies of a classic sound format carry a
// packet type, as AAC does (FLV 10.1 E.4.2.2, AACAUDIODATA).
func hasSoundPacketType(format byte) bool {
	return format == soundAAC || format == soundOpus
}

// Audio packet types (Enhanced RTMP v2, AudioPacketType), beside those that
// video shares.
const (
	exAudioMultichannel = 4
	exAudioMultitrack   = 5
)

// ParseAudio says what an audio body is (FLV 10.1 E.4.2; Enhanced RTMP v2,
// ExAudioTagHeader). It does not allocate unless it fails. An empty body is
// legal and means silence: a KindFrame without a codec. A body that is cut
// short is an ErrFormat; codecs and packet types that are not known are none.
func ParseAudio(body []byte) (Packet, error) {
	if len(body) == 0 {
		return Packet{Kind: KindFrame}, nil
	}
	if body[0]>>4 == soundEnhanced {
		return parseAudioEx(body)
	}
	var p Packet
	err := p.parseAudioClassic(body)
	return p, err
}

// parseAudioClassic reads the classic form of a body, which is not empty, into p; p stays
// zero if it fails.
//
//	format (4 bits)  rate (2 bits)  sample size (1 bit)  channels (1 bit)
//	for AAC and its like: packet type (u8)
//	payload
func (p *Packet) parseAudioClassic(body []byte) error {
	format, kind := body[0]>>4, KindFrame
	b := body[1:]
	if hasSoundPacketType(format) {
		if len(b) < 1 {
			return errShort
		}
		switch b[0] {
		case classicConfig:
			kind = KindConfig
		case classicFrame:
		default:
			kind = KindUnknown
		}
		b = b[1:]
	}
	p.Codec, p.Kind, p.Sound, p.Payload = soundCodecs[format], kind, body[0], b
	return nil
}

// parseAudioEx reads the form of Enhanced RTMP.
//
//	9 (4 bits)  packet type (4 bits)
//	[ModEx…]  FourCC, or the multitrack header
//	payload
func parseAudioEx(body []byte) (Packet, error) {
	var p Packet
	if err := eachAudioEx(body, p.settle); err != nil {
		return Packet{}, err
	}
	return p, nil
}

// eachAudioEx calls visit for each track of an enhanced body, at least once unless
// it fails.
func eachAudioEx(body []byte, visit func(Packet)) error {
	head := Packet{Enhanced: true}
	packetType, b, err := head.parseModEx(body[0]&0x0f, body[1:])
	if err != nil {
		return err
	}
	if packetType == exAudioMultitrack {
		return head.eachTrack(b, audioTrack, visit)
	}
	if head.Codec, b, err = fourCC(b); err != nil {
		return err
	}
	head, _ = audioTrack(head, packetType, b)
	visit(head)
	return nil
}

// audioTrack completes what is known of a track by its own bytes.
func audioTrack(p Packet, packetType byte, b []byte) (Packet, error) {
	p.Kind = audioKind(packetType)
	if p.Kind != KindEnd {
		p.Payload = b
	}
	return p, nil
}

func audioKind(packetType byte) Kind {
	switch packetType {
	case exConfig:
		return KindConfig
	case exFrame:
		return KindFrame
	case exEnd:
		return KindEnd
	case exAudioMultichannel:
		return KindMultichannel
	}
	return KindUnknown
}

// AppendAudio appends the body that p describes; ParseAudio is its inverse.
// The body is in the form that p.Enhanced and p.Multitrack tell. In the
// classic form Sound is the first byte when it stands for p.Codec; without it
// AAC, MP3 and Opus get their usual one (44 kHz, 16 bits, stereo, which
// players ignore in favour of the codec header). What the form has no place
// for is ErrInexpressible.
func AppendAudio(dst []byte, p Packet) ([]byte, error) {
	if p.Track != 0 && !p.Multitrack || p.Frame != 0 || p.CompositionTime != 0 {
		return dst, inexpressible(&p)
	}
	if p.Enhanced {
		return appendAudioEx(dst, p)
	}
	return appendAudioClassic(dst, p)
}

func appendAudioClassic(dst []byte, p Packet) ([]byte, error) {
	if p.Multitrack || p.Nanos != 0 {
		return dst, inexpressible(&p)
	}
	if p.Codec == 0 && p.Kind == KindFrame && len(p.Payload) == 0 {
		return dst, nil
	}
	sound, ok := classicSound(p)
	if !ok {
		return dst, inexpressible(&p)
	}
	withType := hasSoundPacketType(sound >> 4)
	switch {
	case p.Kind == KindFrame && withType:
		dst = append(dst, sound, classicFrame)
	case p.Kind == KindFrame:
		dst = append(dst, sound)
	case p.Kind == KindConfig && withType:
		dst = append(dst, sound, classicConfig)
	default:
		return dst, inexpressible(&p)
	}
	return append(dst, p.Payload...), nil
}

// classicSound returns the first byte of a classic audio body.
func classicSound(p Packet) (byte, bool) {
	const usual = 0x0f // 44 kHz, 16 bits, stereo
	if p.Codec == 0 {
		return 0, false
	}
	// A format without a codec (9) cannot match: its table entry is 0.
	if soundCodecs[p.Sound>>4] == p.Codec {
		return p.Sound, true
	}
	switch p.Codec {
	case CodecAAC:
		return soundAAC<<4 | usual, true
	case CodecMP3:
		return soundMP3<<4 | usual, true
	case CodecOpus:
		return soundOpus<<4 | usual, true
	}
	return 0, false
}

func appendAudioEx(dst []byte, p Packet) ([]byte, error) {
	var packetType byte
	switch p.Kind {
	case KindConfig:
		packetType = exConfig
	case KindFrame:
		packetType = exFrame
	case KindEnd:
		packetType = exEnd
	case KindMultichannel:
		packetType = exAudioMultichannel
	default:
		return dst, inexpressible(&p)
	}
	dst, err := p.appendEnhanced(dst, soundEnhanced<<4, packetType, exAudioMultitrack)
	if err != nil || p.Kind == KindEnd {
		return dst, err
	}
	return append(dst, p.Payload...), nil
}

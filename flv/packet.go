package flv

import "fmt"

// Kind says what a body carries.
type Kind uint8

// Kinds of bodies.
const (
	// KindUnknown is a well-formed body with a packet type that neither FLV
	// nor Enhanced RTMP v2 defines. Pass it on, or skip it.
	KindUnknown Kind = iota
	// KindFrame carries coded audio or video.
	KindFrame
	// KindConfig carries the codec header ("sequence header"): avcC, hvcC,
	// av1C, AudioSpecificConfig, ….
	KindConfig
	// KindEnd ends the sequence of a track; it has no payload.
	KindEnd
	// KindMetadata carries AMF0 values about the video ("colorInfo").
	KindMetadata
	// KindCommand is a video command frame (start or end of a client-side
	// seek). It means nothing in a live stream.
	KindCommand
	// KindMultichannel carries the order of the audio channels.
	KindMultichannel
	// KindConfigTS carries AV1's codec header as the descriptor of an MPEG-2
	// transport stream.
	KindConfigTS
)

// String returns a word for k.
func (k Kind) String() string {
	switch k {
	case KindUnknown:
		return "unknown"
	case KindFrame:
		return "frame"
	case KindConfig:
		return "config"
	case KindEnd:
		return "end"
	case KindMetadata:
		return "metadata"
	case KindCommand:
		return "command"
	case KindMultichannel:
		return "multichannel config"
	case KindConfigTS:
		return "MPEG-2 TS config"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// FrameType is the type of a video frame (FLV 10.1 E.4.3.1, FrameType).
type FrameType uint8

// Frame types. Codec headers and ends of sequence are sent as FrameKey.
const (
	FrameKey        FrameType = 1
	FrameInter      FrameType = 2
	FrameDisposable FrameType = 3 // H.263 only, by the book
	FrameGenerated  FrameType = 4 // a key frame made by a server
	FrameCommand    FrameType = 5
)

// Packet is what an audio or video body says of itself. For a body with
// several tracks it describes track 0, or the first one when there is no
// track 0.
type Packet struct {
	Codec Codec
	Kind  Kind
	// Key says that a viewer can begin here: a frame of type FrameKey on
	// track 0. It is false for codec headers and for the key frames of further
	// tracks, which come in bodies of their own.
	Key bool
	// Frame is the video frame type as sent; 0 for audio.
	Frame FrameType
	// CompositionTime is what to add to the tag's timestamp (decoding time) for
	// the presentation time, in ms; -2^23 to 2^23-1.
	CompositionTime int32
	// Nanos is what Enhanced RTMP's ModEx adds to the tag's timestamp, in ns;
	// 0 to 999,999 in a sane stream.
	Nanos uint32
	// Enhanced says that the body has the form of Enhanced RTMP.
	Enhanced bool
	// Multitrack says that the body names its track.
	Multitrack bool
	// Track is the number of the track described; 0 without Multitrack.
	Track uint8
	// Sound is the first byte of a classic audio body: format, rate, sample
	// size and channels (FLV 10.1 E.4.2.1); 0 otherwise.
	Sound byte
	// Payload is the coded frame, the codec header, or what else Kind says,
	// without the bytes before it. It points into the body.
	Payload []byte
}

// settle makes p, zero at first, the packet of an enhanced body with several tracks:
// track 0 if it is there, else the first.
func (p *Packet) settle(track Packet) {
	if first := !p.Enhanced; first || track.Track == 0 && p.Track != 0 {
		*p = track
	}
}

// AppendPackets appends what the body of an audio or video tag says of each of its
// tracks, in their order: one packet where it has no multitrack form. It fails as
// Packet does, and appends nothing then. A track that comes twice is told twice.
func (t Tag) AppendPackets(dst []Packet) ([]Packet, error) {
	if len(t.Data) == 0 || t.enhanced() {
		return t.appendTracks(dst)
	}
	var err error
	all := append(dst, Packet{})
	switch p := &all[len(dst)]; t.Type {
	case TypeVideo:
		err = p.parseVideoClassic(t.Data)
	case TypeAudio:
		err = p.parseAudioClassic(t.Data)
	default:
		_, err = t.Packet()
	}
	if err != nil {
		return dst, err
	}
	return all, nil
}

// enhanced reports whether a body, which is not empty, has the form of Enhanced RTMP.
func (t Tag) enhanced() bool {
	return t.Type == TypeVideo && t.Data[0]&exVideoBit != 0 || t.Type == TypeAudio && t.Data[0]>>4 == soundEnhanced
}

// appendTracks is AppendPackets for an enhanced body, or an empty one.
func (t Tag) appendTracks(dst []Packet) ([]Packet, error) {
	all := dst
	var err error
	switch {
	case len(t.Data) == 0:
		var p Packet
		p, err = t.Packet()
		all = append(dst, p)
	case t.Type == TypeVideo:
		err = eachVideoEx(t.Data, func(p Packet) { all = append(all, p) })
	default:
		err = eachAudioEx(t.Data, func(p Packet) { all = append(all, p) })
	}
	if err != nil {
		return dst, err
	}
	return all, nil
}

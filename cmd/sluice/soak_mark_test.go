//go:build unix

package main

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"

	"sluice/flv"
	"sluice/flv/amf"
)

// mark is what a frame of the soak says of itself, in its payload, so that a viewer
// can tell what it lacks.
//
//	"0OAK"  session, epoch, config, seq, time (u32 each)  track (u8)  flags (u8)  filler  CRC (u32)
type mark struct {
	session uint32 // of the publisher, counted over the whole test
	epoch   uint32 // how often the publisher's clock has been set in the session
	config  uint32 // the codec header that belongs to the frame; 0 for none
	seq     uint32 // of the frames of this track in the session
	time    uint32 // timestamp as sent
	track   uint8
	video   bool
	key     bool
}

const (
	// markMagic begins with the head of an AV1 frame (OBU_FRAME without a size): otherwise
	// filler is taken for a sequence header now and then, and thus for another format.
	markMagic = "0OAK"
	markSize  = len(markMagic) + 5*4 + 2

	markVideo = 1 << 0
	markKey   = 1 << 1
)

// append appends the mark with so much random filler.
func (m mark) append(dst []byte, rng *rand.Rand, filler int) []byte {
	begin := len(dst)
	dst = append(dst, markMagic...)
	for _, v := range []uint32{m.session, m.epoch, m.config, m.seq, m.time} {
		dst = binary.BigEndian.AppendUint32(dst, v)
	}
	flags := byte(0)
	if m.video {
		flags |= markVideo
	}
	if m.key {
		flags |= markKey
	}
	dst = append(dst, m.track, flags)
	block := noise(rng, min(filler, 997)) // a prime, so that no two stand alike in pages
	for ; filler > 0; filler -= len(block) {
		dst = append(dst, block[:min(filler, len(block))]...)
	}
	return binary.BigEndian.AppendUint32(dst, crc32.ChecksumIEEE(dst[begin:]))
}

var errMark = errors.New("a frame that nobody sent, or not so")

// parseMark is the inverse of append.
func parseMark(b []byte) (mark, error) {
	end := len(b) - 4
	if end < markSize || string(b[:4]) != markMagic || crc32.ChecksumIEEE(b[:end]) != binary.BigEndian.Uint32(b[end:]) {
		return mark{}, errMark
	}
	word := func(i int) uint32 { return binary.BigEndian.Uint32(b[4+4*i:]) }
	flags := b[markSize-1]
	return mark{
		session: word(0), epoch: word(1), config: word(2), seq: word(3), time: word(4),
		track: b[markSize-2], video: flags&markVideo != 0, key: flags&markKey != 0,
	}, nil
}

// trackID is one track of a stream.
type trackID struct {
	video bool
	track uint8
}

func (id trackID) typ() flv.Type {
	if id.video {
		return flv.TypeVideo
	}
	return flv.TypeAudio
}

// soakTrack is a track that a publisher sends, and in which form.
type soakTrack struct {
	trackID
	codec      flv.Codec
	enhanced   bool
	multitrack bool // its bodies name it
	nanos      bool // they have a ModEx
	header     string
}

// headerless are the codecs without a header.
func (t soakTrack) headerless() bool { return t.header == "" }

// packet returns the track's packet with the payload.
func (t soakTrack) packet(kind flv.Kind, key bool, payload []byte) flv.Packet {
	p := flv.Packet{
		Codec: t.codec, Kind: kind, Enhanced: t.enhanced, Multitrack: t.multitrack, Track: t.track, Payload: payload,
	}
	if t.video {
		p.Frame = flv.FrameInter
		if key || kind == flv.KindConfig {
			p.Frame = flv.FrameKey
		}
	}
	if t.nanos && kind == flv.KindFrame {
		p.Nanos = 123_456
	}
	return p
}

// body returns the body of a packet.
func (t soakTrack) body(p flv.Packet) []byte {
	if t.video {
		return must(flv.AppendVideo(nil, p))
	}
	return must(flv.AppendAudio(nil, p))
}

// config returns the body of the codec header of the number.
func (t soakTrack) config(number uint32) []byte {
	payload := binary.BigEndian.AppendUint32([]byte(t.header), number)
	return t.body(t.packet(flv.KindConfig, false, payload))
}

// configNumber is the inverse.
func configNumber(payload []byte) uint32 {
	if len(payload) < 4 {
		return 0
	}
	return binary.BigEndian.Uint32(payload[len(payload)-4:])
}

// program is what a publisher may send.
type program struct {
	name   string
	tracks []soakTrack
	packed bool // further video tracks share the bodies of the first (Enhanced RTMP v2, ManyTracks)
}

// Heads of codec headers, good enough for code that reads formats from them.
const (
	headAVC  = "\x01\x4d\x40\x28\xff\xe1\x00\x18\x67\x4d\x40\x28\xec\xa0\x3c\x01\x13\xf2\xe0\x22\x00\x00\x07\xd2\x00\x01\xd4\xc0\x1e\x30\x63\x2c\x01\x00\x05\x68\xeb\xe3\xcb\x20"
	headAAC  = "\x12\x10"
	headAny  = "\x01header"
	headOpus = "OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00"
)

var programs = []*program{
	{name: "classic H.264, AAC", tracks: []soakTrack{
		{trackID: trackID{true, 0}, codec: flv.CodecH264, header: headAVC},
		{codec: flv.CodecAAC, header: headAAC},
	}},
	{name: "HEVC by its id, AAC", tracks: []soakTrack{
		{trackID: trackID{true, 0}, codec: flv.CodecHEVC, header: headAny},
		{codec: flv.CodecAAC, header: headAAC},
	}},
	{name: "Enhanced HEVC, AAC", tracks: []soakTrack{
		{trackID: trackID{true, 0}, codec: flv.CodecHEVC, enhanced: true, header: headAny},
		{codec: flv.CodecAAC, enhanced: true, header: headAAC},
	}},
	{name: "Enhanced AV1, Opus", tracks: []soakTrack{
		{trackID: trackID{true, 0}, codec: flv.CodecAV1, enhanced: true, header: headAny},
		{codec: flv.CodecOpus, enhanced: true, header: headOpus},
	}},
	{name: "Enhanced H.264, AAC, ModEx", tracks: []soakTrack{
		{trackID: trackID{true, 0}, codec: flv.CodecH264, enhanced: true, nanos: true, header: headAVC},
		{codec: flv.CodecAAC, enhanced: true, nanos: true, header: headAAC},
	}},
	{name: "AAC only", tracks: []soakTrack{{codec: flv.CodecAAC, header: headAAC}}},
	{name: "MP3 only", tracks: []soakTrack{{codec: flv.CodecMP3}}},
	{name: "H.264 only", tracks: []soakTrack{
		{trackID: trackID{true, 0}, codec: flv.CodecH264, header: headAVC},
	}},
	{name: "multitrack, each in bodies of its own", tracks: []soakTrack{ // as OBS sends it
		{trackID: trackID{true, 0}, codec: flv.CodecH264, header: headAVC},
		{codec: flv.CodecAAC, header: headAAC},
		{trackID: trackID{true, 1}, codec: flv.CodecH264, enhanced: true, multitrack: true, header: headAVC},
		{trackID: trackID{false, 1}, codec: flv.CodecAAC, enhanced: true, multitrack: true, header: headAAC},
	}},
	{name: "multitrack, in shared bodies", packed: true, tracks: []soakTrack{
		{trackID: trackID{true, 0}, codec: flv.CodecAV1, enhanced: true, multitrack: true, header: headAny},
		{trackID: trackID{true, 1}, codec: flv.CodecAV1, enhanced: true, multitrack: true, header: headAny},
		{codec: flv.CodecAAC, header: headAAC},
	}},
}

// has reports whether the program has a main track of the type.
func (p *program) has(video bool) bool {
	for _, t := range p.tracks {
		if t.video == video {
			return true
		}
	}
	return false
}

// metadata is the program's onMetaData, with more in it than players like.
func (p *program) metadata(declared bool) flv.Tag {
	object := amf.ECMAArray{{Name: "duration", Value: 25.0}, {Name: "encoder", Value: "soak"}, {Name: "odd", Value: nil}}
	for _, t := range p.tracks {
		name := "audiocodecid"
		if t.video {
			name = "videocodecid"
		}
		if declared && t.track == 0 {
			object = append(object, amf.Property{Name: name, Value: float64(t.codec)})
		}
	}
	return flv.Tag{Type: flv.TypeScript, Data: amf.AppendAMF0(nil, "onMetaData", object)}
}

// pack puts the packets of several tracks of one codec without composition time,
// all of them frames or all headers, into one body.
func pack(packets []flv.Packet) []byte {
	const multitrack, manyTracks = 6, 1
	packetType := byte(1)
	if packets[0].Kind == flv.KindConfig {
		packetType = 0
	}
	b := []byte{0x80 | byte(packets[0].Frame)<<4 | multitrack, manyTracks<<4 | packetType}
	b = binary.BigEndian.AppendUint32(b, uint32(packets[0].Codec))
	for _, p := range packets {
		n := len(p.Payload)
		b = append(append(b, p.Track, byte(n>>16), byte(n>>8), byte(n)), p.Payload...)
	}
	return b
}

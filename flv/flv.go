// Package flv reads and writes FLV, and understands the audio and video
// bodies that FLV tags and RTMP messages share.
//
// A [Tag] is the currency of the whole server: the payload of an RTMP audio,
// video or data message and the body of an FLV tag are the same bytes.
// [Reader] and [Writer] are the container; [ParseVideo] and [ParseAudio] say
// what a body is (codec, key frame, codec header, …) in its classic form, in
// the unofficial forms with codec ids 12 to 15, and in the form of Enhanced
// RTMP; [Tag.AppendPackets] says it of each track of a body with several. [Shape] turns
// a body into the form that a viewer understands. [ParseVideoConfig] and
// [ParseAudioConfig] say what a codec header promises (picture size, sample rate, …).
//
// Sources: "Adobe Flash Video File Format Specification" version 10.1, Annex
// E (cited as FLV 10.1), and "Enhanced RTMP" version 2 of the Veovera
// Software Organization (cited as Enhanced RTMP v2).
//
// Nothing here panics on input, keeps state between calls (Reader and Writer apart) or
// copies a body: results point into what was given, except those that are built anew
// (Append…, Apply).
package flv

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Type is the kind of a tag. The values are those of RTMP message types.
type Type uint8

// Tag types (FLV 10.1 E.4.1). TypeScriptAMF3 comes from Enhanced RTMP v2; its
// body is an RTMP type 15 message: a format selector byte, then AMF0 values.
const (
	TypeAudio      Type = 8
	TypeVideo      Type = 9
	TypeScriptAMF3 Type = 15
	TypeScript     Type = 18
)

// String returns the type's name, or its number for one that FLV does not
// know.
func (t Type) String() string {
	switch t {
	case TypeAudio:
		return "audio"
	case TypeVideo:
		return "video"
	case TypeScript:
		return "script"
	case TypeScriptAMF3:
		return "script (AMF3)"
	}
	return fmt.Sprintf("tag type %d", uint8(t))
}

// Sizes of the format, in bytes (FLV 10.1 E.2 to E.4).
const (
	// HeaderSize is the file header with the PreviousTagSize0 that follows it.
	HeaderSize = 13
	// TagOverhead is what a tag adds to its body: the tag header and the
	// PreviousTagSize after it.
	TagOverhead = tagHeaderSize + 4
	// MaxTagSize bounds a tag's body; its length field has 24 bits.
	MaxTagSize = 1<<24 - 1

	tagHeaderSize = 11
)

// Errors of this package; test with [errors.Is].
var (
	// ErrFormat says that bytes are not what they claim to be: no FLV file, or
	// a body or codec header that is cut short or contradicts itself.
	ErrFormat = errors.New("flv: malformed data")
	// ErrTooLarge says that a body does not fit in a tag (MaxTagSize).
	ErrTooLarge = errors.New("flv: body too large for a tag")
	// ErrNoFormat says that a packet is well-formed but tells nothing about
	// its format: it is no codec header, or one of a codec not understood here.
	ErrNoFormat = errors.New("flv: packet does not describe its format")
	// ErrInexpressible says that a packet has something that the asked form of
	// a body has no place for.
	ErrInexpressible = errors.New("flv: packet cannot be expressed in this form")
)

// Tag is one audio, video or script tag.
type Tag struct {
	Type Type
	// Timestamp is the decoding time in ms, all 32 bits of it; arithmetic on
	// it is modulo 2^32.
	Timestamp uint32
	// Data is the body, at most MaxTagSize bytes.
	Data []byte
}

// Size returns the bytes that t takes in a file or stream: tag header, body
// and PreviousTagSize.
func (t Tag) Size() int { return TagOverhead + len(t.Data) }

// Packet parses the body of an audio or video tag as [ParseAudio] and
// [ParseVideo] do. For another type it returns ErrNoFormat.
func (t Tag) Packet() (Packet, error) {
	switch t.Type {
	case TypeAudio:
		return ParseAudio(t.Data)
	case TypeVideo:
		return ParseVideo(t.Data)
	}
	return Packet{}, fmt.Errorf("%w: %v tag", ErrNoFormat, t.Type)
}

// Bits of the file header's flags byte (FLV 10.1 E.2).
const (
	flagVideo = 1 << 0
	flagAudio = 1 << 2
)

// AppendHeader appends the file header and PreviousTagSize0, HeaderSize bytes
// in all (FLV 10.1 E.2, E.3). The flags must tell the truth: browser players
// wait for every track that is announced.
//
//	"FLV"  version 1  flags: 0000 0a0v  header size 9 (u32)  PreviousTagSize0 0 (u32)
func AppendHeader(dst []byte, audio, video bool) []byte {
	var flags byte
	if audio {
		flags |= flagAudio
	}
	if video {
		flags |= flagVideo
	}
	return append(dst, 'F', 'L', 'V', 1, flags, 0, 0, 0, HeaderSize-4, 0, 0, 0, 0)
}

// AppendTag appends t: tag header, body and PreviousTagSize, t.Size() bytes in all (FLV
// 10.1 E.4.1). A body over MaxTagSize cannot be expressed and appends nothing, so that
// what surrounds it stays valid: callers check the size of the tags that they take in.
//
//	type (u8)  body size (u24)  timestamp (u24, then its bits 24-31)  stream id 0 (u24)
//	body
//	PreviousTagSize: 11 + body size (u32)
func AppendTag(dst []byte, t Tag) []byte {
	n := len(t.Data)
	if n > MaxTagSize {
		return dst
	}
	ts := t.Timestamp
	dst = append(dst,
		byte(t.Type),
		byte(n>>16), byte(n>>8), byte(n),
		byte(ts>>16), byte(ts>>8), byte(ts), byte(ts>>24),
		0, 0, 0)
	dst = append(dst, t.Data...)
	return binary.BigEndian.AppendUint32(dst, uint32(tagHeaderSize+n))
}

// StampTag gives the tag at the beginning of b, which AppendTag made, another
// timestamp, and returns what follows the tag.
func StampTag(b []byte, timestamp uint32) (rest []byte) {
	b[4], b[5], b[6], b[7] = byte(timestamp>>16), byte(timestamp>>8), byte(timestamp), byte(timestamp>>24)
	return b[TagOverhead+(int(b[1])<<16|int(b[2])<<8|int(b[3])):]
}

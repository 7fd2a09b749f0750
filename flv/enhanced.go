package flv

import (
	"encoding/binary"
	"fmt"
)

// Packet types that audio and video have in common (Enhanced RTMP v2,
// AudioPacketType and VideoPacketType).
const (
	exConfig = 0
	exFrame  = 1
	exEnd    = 2
	exModEx  = 7
)

// modExNanos is the only ModEx type defined: TimestampOffsetNano, a u24.
const modExNanos = 0

// Bounds of what a body may repeat, so that reading one costs little more than
// receiving it.
const (
	maxModEx  = 16  // ModEx headers in a row: as many as there can be types
	maxTracks = 256 // tracks of a body: as many as there can be track ids
)

// Multitrack types (Enhanced RTMP v2, AvMultitrackType).
const (
	oneTrack             = 0
	manyTracks           = 1
	manyTracksManyCodecs = 2
)

// parseModEx reads the ModEx headers that may come before the rest of an
// enhanced body, and returns the packet type they lead to and what follows.
//
//	size-1 (u8; 255: size-1 as u16 follows)  data  ModEx type (4 bits)  packet type (4 bits)
//
// Types that are not known are passed over; of several offsets the last counts.
func (p *Packet) parseModEx(packetType byte, b []byte) (byte, []byte, error) {
	for n := 0; packetType == exModEx; n++ {
		if n == maxModEx {
			return 0, nil, fmt.Errorf("%w: more than %d ModEx headers", ErrFormat, maxModEx)
		}
		if len(b) < 1 {
			return 0, nil, errShort
		}
		size := int(b[0]) + 1
		b = b[1:]
		if size == 256 {
			if len(b) < 2 {
				return 0, nil, errShort
			}
			size = int(binary.BigEndian.Uint16(b)) + 1
			b = b[2:]
		}
		if len(b) < size+1 {
			return 0, nil, errShort
		}
		data, next := b[:size], b[size]
		b = b[size+1:]
		if next>>4 == modExNanos {
			if size < 3 {
				return 0, nil, errShort
			}
			p.Nanos = uint24(data)
		}
		packetType = next & 0x0f
	}
	return packetType, b, nil
}

// parseTracks reads a multitrack header and calls visit for each track, in their
// order, up to its first error.
//
//	multitrack type (4 bits)  packet type (4 bits)  FourCC unless many codecs
//	for each track: FourCC if many codecs  track id (u8)  size (u24) unless one track  body
func parseTracks(b []byte, visit func(codec Codec, track uint8, body []byte) error) (err error) {
	multitrackType := b[0] >> 4
	b = b[1:]
	var codec Codec
	if multitrackType != manyTracksManyCodecs {
		if codec, b, err = fourCC(b); err != nil {
			return err
		}
	}
	for n := 0; n == 0 || len(b) > 0; n++ {
		if n == maxTracks {
			return fmt.Errorf("%w: more than %d tracks in a body", ErrFormat, maxTracks)
		}
		if multitrackType == manyTracksManyCodecs {
			if codec, b, err = fourCC(b); err != nil {
				return err
			}
		}
		if len(b) < 1 {
			return errShort
		}
		track, rest := b[0], b[1:]
		size := len(rest)
		if multitrackType != oneTrack {
			if len(rest) < 3 {
				return errShort
			}
			size, rest = int(uint24(rest)), rest[3:]
			if size > len(rest) {
				return errShort
			}
		}
		if err := visit(codec, track, rest[:size]); err != nil {
			return err
		}
		b = rest[size:]
	}
	return nil
}

// eachTrack calls visit for each track of a multitrack body whose head is p, or once
// if its layout is not known. complete reads a track's own bytes. After an error, what
// was visited is void: all of a body has to make sense before any of it is used.
func (p *Packet) eachTrack(b []byte, complete func(p Packet, packetType byte, b []byte) (Packet, error), visit func(Packet)) error {
	if len(b) < 1 {
		return errShort
	}
	if b[0]>>4 > manyTracksManyCodecs {
		unknown := *p
		unknown.Payload = b[1:]
		visit(unknown)
		return nil
	}
	packetType := b[0] & 0x0f
	return parseTracks(b, func(codec Codec, id uint8, body []byte) error {
		track := *p
		track.Multitrack, track.Codec, track.Track = true, codec, id
		track, err := complete(track, packetType, body)
		if err == nil {
			visit(track)
		}
		return err
	})
}

// fourCC reads the FourCC at the head of b. Values that a FourCC cannot have
// are refused, since they would be taken for the ids of classic codecs.
func fourCC(b []byte) (Codec, []byte, error) {
	if len(b) < 4 {
		return 0, nil, errShort
	}
	c := Codec(binary.BigEndian.Uint32(b))
	if c < 2*unknownAudio {
		return 0, nil, fmt.Errorf("%w: FourCC %#08x", ErrFormat, uint32(c))
	}
	return c, b[4:], nil
}

// appendEnhanced appends the head of an enhanced body, up to where the track's
// own bytes begin. first holds the upper half of the body's first byte,
// multitrack the packet type that announces tracks.
func (p *Packet) appendEnhanced(dst []byte, first, packetType, multitrack byte) ([]byte, error) {
	if p.Codec < 2*unknownAudio {
		return dst, inexpressible(p)
	}
	outer := packetType
	if p.Multitrack {
		outer = multitrack
	}
	dst, err := p.appendModEx(dst, first, outer)
	if err != nil {
		return dst, err
	}
	if p.Multitrack {
		dst = append(dst, oneTrack<<4|packetType)
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(p.Codec))
	if p.Multitrack {
		dst = append(dst, p.Track)
	}
	return dst, nil
}

// appendModEx appends the first byte of an enhanced body and, if there are
// nanoseconds to tell, the ModEx header for them.
func (p *Packet) appendModEx(dst []byte, first, packetType byte) ([]byte, error) {
	n := p.Nanos
	switch {
	case n == 0:
		return append(dst, first|packetType), nil
	case n >= 1<<24:
		return dst, inexpressible(p)
	}
	return append(dst, first|exModEx, 3-1, byte(n>>16), byte(n>>8), byte(n), modExNanos<<4|packetType), nil
}

// errShort is a body that ends before its header does.
var errShort = fmt.Errorf("%w: body cut short", ErrFormat)

func inexpressible(p *Packet) error {
	return fmt.Errorf("%w: %v %v", ErrInexpressible, p.Codec, p.Kind)
}

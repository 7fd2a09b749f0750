package chunk

import (
	"encoding/binary"
	"slices"
)

// AppendMessage appends m in chunks of at most chunkSize bytes of payload: the
// first with a header of form 0, the rest with form 3. It neither keeps nor needs
// a state, so whole messages may be written in any order, by several writers in
// turn, on any chunk stream.
//
// An extended timestamp is repeated on every chunk of form 3 (RTMP 1.0
// §5.3.1.3); ffmpeg and rtmpdump cannot read the message otherwise.
//
// It writes nothing that a peer could not follow: a chunkSize outside 1 to
// MaxMessageSize and a ChunkStream outside MinChunkStream to MaxChunkStream count
// as the nearest that is inside, and a payload is cut off at MaxMessageSize, which
// callers who take payloads from elsewhere should check before.
func AppendMessage(dst []byte, chunkSize int, m Message) []byte {
	if n, ts := len(m.Payload), m.Timestamp; n <= min(chunkSize, MaxMessageSize) && ts < extendedMark &&
		m.ChunkStream >= MinChunkStream && m.ChunkStream < 64 {
		// Nearly every message: one chunk with the shortest headers, made in one go.
		dst = append(dst, byte(m.ChunkStream),
			byte(ts>>16), byte(ts>>8), byte(ts),
			byte(n>>16), byte(n>>8), byte(n), m.Type,
			byte(m.StreamID), byte(m.StreamID>>8), byte(m.StreamID>>16), byte(m.StreamID>>24))
		return append(dst, m.Payload...)
	}
	chunkSize = min(max(chunkSize, 1), MaxMessageSize)
	id := min(max(m.ChunkStream, MinChunkStream), MaxChunkStream)
	rest := m.Payload[:min(len(m.Payload), MaxMessageSize)]

	field := min(m.Timestamp, extendedMark)
	perChunk := basicHeaderSize(id)
	if field == extendedMark {
		perChunk += 4
	}
	dst = slices.Grow(dst, 11+len(rest)+(len(rest)/chunkSize+1)*perChunk)

	dst = appendBasicHeader(dst, 0, id)
	dst = appendUint24(dst, field)
	dst = appendUint24(dst, uint32(len(rest)))
	dst = append(dst, m.Type)
	dst = binary.LittleEndian.AppendUint32(dst, m.StreamID)
	for {
		if field == extendedMark {
			dst = binary.BigEndian.AppendUint32(dst, m.Timestamp)
		}
		n := min(chunkSize, len(rest))
		dst = append(dst, rest[:n]...)
		rest = rest[n:]
		if len(rest) == 0 {
			return dst
		}
		dst = appendBasicHeader(dst, 3, id)
	}
}

// Stamp gives the message at the beginning of b, which AppendMessage made with the
// same chunkSize, another timestamp, and returns what follows the message. It does
// only what most messages need: ok is false for a chunk stream from 64 on, and where
// either timestamp is an extended one.
func Stamp(b []byte, chunkSize int, timestamp uint32) (rest []byte, ok bool) {
	if timestamp >= extendedMark || b[0] < MinChunkStream || uint24(b[1:]) == extendedMark {
		return nil, false
	}
	b[1], b[2], b[3] = byte(timestamp>>16), byte(timestamp>>8), byte(timestamp)
	n := int(uint24(b[4:]))
	return b[12+n+max(0, n-1)/chunkSize:], true
}

// basicHeaderSize returns what appendBasicHeader appends, in bytes.
func basicHeaderSize(id uint32) int {
	switch {
	case id < 64:
		return 1
	case id < 64+256:
		return 2
	}
	return 3
}

// appendBasicHeader appends a basic header in its shortest form (§5.3.1.1).
func appendBasicHeader(dst []byte, form byte, id uint32) []byte {
	switch {
	case id < 64:
		return append(dst, form<<6|byte(id))
	case id < 64+256:
		return append(dst, form<<6, byte(id-64))
	}
	return append(dst, form<<6|1, byte(id-64), byte((id-64)>>8))
}

func appendUint24(dst []byte, v uint32) []byte {
	return append(dst, byte(v>>16), byte(v>>8), byte(v))
}

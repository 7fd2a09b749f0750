// Package chunk is the chunk stream of RTMP 1.0 §5.3: it takes messages out of a
// stream of interleaved chunks, and cuts messages into chunks.
//
// A chunk is a basic header with the chunk stream id (§5.3.1.1), a message header
// in one of four forms (§5.3.1.2), an extended timestamp if the 24 bits of the
// header are all ones (§5.3.1.3), and payload, at most a chunk size of it:
//
//	+--------------+----------------+--------------------+---------+
//	| basic header | message header | extended timestamp | payload |
//	| 1 to 3 bytes | 11, 7, 3 or 0  | 0 or 4             |         |
//	+--------------+----------------+--------------------+---------+
//
//	basic header     fmt, 2 bits | id, 6 bits                             id 2..63
//	                 fmt, 2 bits | 0, 6 bits | id-64, 8 bits              id 64..319
//	                 fmt, 2 bits | 1, 6 bits | id-64, 16 bits, low first  id 64..65599
//
//	fmt 0   timestamp 24 | length 24 | type 8 | message stream id 32, low byte first
//	fmt 1   delta 24     | length 24 | type 8
//	fmt 2   delta 24
//	fmt 3   nothing
//
// The Reader understands all of it. AppendMessage uses the forms 0 and 3 only, so
// that a message can be written without knowing what was written before it.
package chunk

import "errors"

// Message types that the Reader follows or bounds in a way of its own (RTMP 1.0
// §5.4, §7.1).
const (
	typeSetChunkSize = 1
	typeAbort        = 2
	typeAudio        = 8
	typeVideo        = 9
	typeAggregate    = 22

	// lastControlType ends the types of protocol control and user control messages.
	lastControlType = 6
)

const (
	// DefaultSize is the chunk size of both directions until a Set Chunk Size
	// message says otherwise, in bytes (RTMP 1.0 §5.4.1).
	DefaultSize = 128
	// MaxMessageSize is the longest payload that a header can tell, in bytes. A
	// longer chunk size makes no difference.
	MaxMessageSize = 1<<24 - 1
	// maxChunkSize is the largest chunk size that a peer may set, in bytes: one of 31
	// bits (RTMP 1.0 §5.4.1). Nothing is sized by it.
	maxChunkSize = 1<<31 - 1
	// MinChunkStream and MaxChunkStream are the lowest and the highest chunk
	// stream id (RTMP 1.0 §5.3.1.1).
	MinChunkStream = 2
	MaxChunkStream = 64 + 1<<16 - 1
)

// Message is an RTMP message (RTMP 1.0 §6.1).
type Message struct {
	Type        uint8
	StreamID    uint32 // of the message stream
	Timestamp   uint32 // ms, arithmetic modulo 2^32
	ChunkStream uint32 // the id of the chunk stream that carries it
	Payload     []byte
}

var (
	// ErrProtocol is in every error for which the peer is to blame: what it sends
	// is no chunk stream, or too much. The connection is of no more use.
	ErrProtocol = errors.New("chunk: protocol error")
	// ErrLimit is in those of them that say that the peer went over the Limits.
	ErrLimit = errors.New("over the limit")
	// ErrNothing is for the reader under a Reader to say that nothing has come yet,
	// if it does not wait.
	ErrNothing = errors.New("chunk: nothing to read yet")
)

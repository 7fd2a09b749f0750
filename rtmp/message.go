package rtmp

import (
	"encoding/binary"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/rtmp/internal/chunk"
)

// Message types (RTMP 1.0 §5.4, §7.1).
const (
	typeSetChunkSize  = 1
	typeAbort         = 2
	typeAck           = 3
	typeUserControl   = 4
	typeWindowAckSize = 5
	typeSetPeerBW     = 6
	typeAudio         = 8
	typeVideo         = 9
	typeDataAMF3      = 15
	typeCommandAMF3   = 17
	typeData          = 18
	typeCommand       = 20
	typeAggregate     = 22
)

// User control events (RTMP 1.0 §7.1.7).
const (
	eventStreamBegin      = 0
	eventStreamEOF        = 1
	eventSetBufferLength  = 3
	eventStreamIsRecorded = 4
	eventPingRequest      = 6
	eventPingResponse     = 7
)

// Chunk streams of outgoing messages. Every message begins with a full header
// (fmt 0), so that nothing of a chunk stream's state has to be kept, and batches
// made by different goroutines go out in any order.
const (
	csidControl = 2 // RTMP 1.0 §5.4
	csidCommand = 3
	csidStatus  = 5
	csidData    = 5
	csidAudio   = 6
	csidVideo   = 7
)

// Sizes that both ends announce and keep.
const (
	// protocolChunkSize is in force until a Set Chunk Size message (RTMP 1.0
	// §5.4.1); no message before ours is longer.
	protocolChunkSize = 128
	// defaultChunkSize makes one chunk of nearly every message.
	defaultChunkSize = 60000
	// maxChunkSize is the longest that makes sense: messages have 24-bit lengths.
	maxChunkSize = 0xFFFFFF
	// maxBody is the longest message, RTMP 1.0 §5.3.1.2.1.
	maxBody = 0xFFFFFF
	// announcedWindow is our Window Acknowledgement Size and Set Peer Bandwidth in
	// bytes: what servers have always said and clients expect.
	announcedWindow = 2_500_000
	// limitDynamic is the limit type of Set Peer Bandwidth (§5.4.5).
	limitDynamic = 2
)

// chunkSizeOf returns the chunk size that a configuration's n means.
func chunkSizeOf(n int) int {
	if n <= 0 {
		return defaultChunkSize
	}
	// Control messages are one chunk whatever the size in force.
	return min(max(n, protocolChunkSize), maxChunkSize)
}

// appendControl appends a protocol control message with a 32-bit value, and for
// Set Peer Bandwidth its limit type.
func appendControl(dst []byte, typ uint8, v uint32) []byte {
	var p [5]byte
	binary.BigEndian.PutUint32(p[:], v)
	n := 4
	if typ == typeSetPeerBW {
		p[4], n = limitDynamic, 5
	}
	return chunk.AppendMessage(dst, protocolChunkSize, chunk.Message{
		Type: typ, ChunkStream: csidControl, Payload: p[:n],
	})
}

// appendUserControl appends a user control message whose event data are values of
// 32 bits.
func appendUserControl(dst []byte, event uint16, values ...uint32) []byte {
	p := binary.BigEndian.AppendUint16(make([]byte, 0, 10), event)
	for _, v := range values {
		p = binary.BigEndian.AppendUint32(p, v)
	}
	return chunk.AppendMessage(dst, protocolChunkSize, chunk.Message{
		Type: typeUserControl, ChunkStream: csidControl, Payload: p,
	})
}

// appendCommand appends an AMF0 command message on a message stream.
func appendCommand(dst []byte, chunkSize int, msid uint32, values ...any) []byte {
	csid := uint32(csidCommand)
	if msid != 0 {
		csid = csidStatus
	}
	return chunk.AppendMessage(dst, chunkSize, chunk.Message{
		Type: typeCommand, ChunkStream: csid, StreamID: msid,
		Payload: amf.AppendAMF0(nil, values...),
	})
}

// appendStatus appends an onStatus command (RTMP 1.0 §7.2.2).
func appendStatus(dst []byte, chunkSize int, msid uint32, level, code, description string, more ...amf.Property) []byte {
	return appendCommand(dst, chunkSize, msid, "onStatus", 0.0, nil, append(statusObject(level, code, description), more...))
}

// statusObject returns the information object of onStatus, _result and _error.
func statusObject(level, code, description string) amf.Object {
	return amf.Object{
		{Name: "level", Value: level},
		{Name: "code", Value: code},
		{Name: "description", Value: description},
	}
}

// appendData appends an AMF0 data message.
func appendData(dst []byte, chunkSize int, msid uint32, values ...any) []byte {
	return chunk.AppendMessage(dst, chunkSize, chunk.Message{
		Type: typeData, ChunkStream: csidData, StreamID: msid,
		Payload: amf.AppendAMF0(nil, values...),
	})
}

// appendTag appends a tag as a message.
func appendTag(dst []byte, chunkSize int, msid uint32, t flv.Tag) []byte {
	csid := uint32(csidData)
	switch t.Type {
	case flv.TypeAudio:
		csid = csidAudio
	case flv.TypeVideo:
		csid = csidVideo
	}
	return chunk.AppendMessage(dst, chunkSize, chunk.Message{
		Type: uint8(t.Type), ChunkStream: csid, StreamID: msid, Timestamp: t.Timestamp, Payload: t.Data,
	})
}

package rtmp

import (
	"encoding/binary"
	"fmt"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/rtmp/internal/chunk"
)

// Names that begin data messages.
const (
	setDataFrame     = "@setDataFrame"
	clearDataFrame   = "@clearDataFrame"
	onMetaData       = "onMetaData"
	onPlayStatus     = "onPlayStatus"
	rtmpSampleAccess = "|RtmpSampleAccess"
)

// Bounds on the AMF values of one command or data message; players and
// publishers stay far below.
var (
	commandLimits = amf.Limits{Depth: 16, Elements: 1024, Bytes: 64 << 10}
	dataLimits    = amf.Limits{Depth: 16, Elements: 4096, Bytes: 1 << 20}
)

// setDataFramePrefix is the AMF0 string @setDataFrame.
var setDataFramePrefix = amf.AppendAMF0(nil, setDataFrame)

// amf0Body returns the AMF0 values of a message in AMF3 form (types 15 and 17):
// a format selector, which must be 0, before AMF0 values, of which some may be
// switched to AMF3 (Enhanced RTMP v2). Some writers leave the selector out.
func amf0Body(p []byte) []byte {
	if len(p) > 0 && p[0] == 0 {
		return p[1:]
	}
	return p
}

// amf0String reads the short string that begins a command or data message.
func amf0String(p []byte) (s string, rest []byte, ok bool) {
	const marker, head = 0x02, 3
	if len(p) < head || p[0] != marker {
		return "", p, false
	}
	n := head + int(binary.BigEndian.Uint16(p[1:]))
	if n > len(p) {
		return "", p, false
	}
	return string(p[head:n]), p[n:], true
}

// dataTag makes a script tag of a data message: AMF0, beginning with its name.
func dataTag(m chunk.Message) (flv.Tag, error) {
	body := m.Payload
	if m.Type == typeDataAMF3 {
		values, err := amf.DecodeAll(amf0Body(body), dataLimits)
		if err != nil {
			return flv.Tag{}, fmt.Errorf("rtmp: data message: %w", err)
		}
		body = amf.AppendAMF0(nil, values...)
	}
	name, rest, ok := amf0String(body)
	switch {
	case !ok:
		return flv.Tag{}, fmt.Errorf("rtmp: data message without a name: %w", ErrProtocol)
	case name == setDataFrame:
		if _, _, ok := amf0String(rest); !ok {
			return flv.Tag{}, fmt.Errorf("rtmp: %s without a name: %w", name, ErrProtocol)
		}
		body = rest
	case name == clearDataFrame:
		cleared, _, ok := amf0String(rest)
		if !ok {
			cleared = onMetaData
		}
		body = amf.AppendAMF0(nil, cleared, amf.ECMAArray{})
	}
	return flv.Tag{Type: flv.TypeScript, Timestamp: m.Timestamp, Data: body}, nil
}

// aggregateHead is the length of an aggregate's part before its data, and
// aggregateBack that of the back pointer behind them.
const (
	aggregateHead = 11
	aggregateBack = 4
)

// maxAggregated bounds the parts of an aggregate: what is read in one go, of which
// 16 MiB could hold a million. Clients that send aggregates make them of a second or
// less.
const maxAggregated = 4096

// errAggregate ends a client that sends more.
var errAggregate = fmt.Errorf("rtmp: aggregate message of more than %d parts: %w", maxAggregated, ErrProtocol)

// eachAggregated calls f for the parts of an aggregate message (RTMP 1.0 §7.1.6):
//
//	type 1 | length 3 | timestamp 3, high byte 1 | stream id 3 | data | back pointer 4
//
// The first part has the time of the whole, the others follow it at their
// distance from the first. Parts take the message stream of the whole. A rest
// that is too short for a part ends it; aggregates in aggregates are passed over.
func eachAggregated(m chunk.Message, f func(chunk.Message) error) error {
	var first uint32
	p := m.Payload
	for n := 0; len(p) >= aggregateHead; n++ {
		if n >= maxAggregated {
			return errAggregate
		}
		size := int(p[1])<<16 | int(p[2])<<8 | int(p[3])
		ts := uint32(p[7])<<24 | uint32(p[4])<<16 | uint32(p[5])<<8 | uint32(p[6])
		if n == 0 {
			first = ts
		}
		if size > len(p)-aggregateHead {
			return nil
		}
		part := chunk.Message{
			Type: p[0], StreamID: m.StreamID, ChunkStream: m.ChunkStream,
			Timestamp: m.Timestamp + (ts - first),
			Payload:   p[aggregateHead : aggregateHead+size],
		}
		if part.Type != typeAggregate {
			if err := f(part); err != nil {
				return err
			}
		}
		p = p[min(aggregateHead+size+aggregateBack, len(p)):]
	}
	return nil
}

package rtmp

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/rtmp/internal/chunk"
)

func TestDataMessages(t *testing.T) {
	h := &rig{}
	addr := serve(t, &Server{Handler: h})
	p := connected(t, addr, "live")
	p.publish("a")
	meta := amf.ECMAArray{{Name: "encoder", Value: "obs"}}
	object := amf.Object{{Name: "width", Value: 640.0}}
	send := func(typ uint8, body []byte) {
		p.message(chunk.Message{Type: typ, StreamID: 1, Timestamp: 9, Payload: body})
	}
	send(typeData, script(setDataFrame, onMetaData, meta))
	send(typeData, script(onMetaData, meta))
	send(typeData, script("onTextData", object))
	send(typeData, script(clearDataFrame, onMetaData))
	send(typeData, script(clearDataFrame))
	send(typeDataAMF3, append([]byte{0}, script(setDataFrame, onMetaData, meta)...))
	send(typeDataAMF3, amf.AppendAMF3(append(script(onMetaData), 0x11), object))
	for _, bad := range [][]byte{{}, {2}, {2, 0, 9, 'x'}, script(1.0), script(setDataFrame), script(setDataFrame, 1.0), {0x11}} {
		send(typeData, bad)
		send(typeDataAMF3, bad)
	}
	send(typeAudio, nil) // silence
	want := [][]byte{
		script(onMetaData, meta), script(onMetaData, meta), script("onTextData", object),
		script(onMetaData, amf.ECMAArray{}), script(onMetaData, amf.ECMAArray{}),
		script(onMetaData, meta), script(onMetaData, object), {},
	}
	got := h.publication(t, 0).written(t, len(want))
	require.Len(t, got, len(want))
	for i, tag := range got {
		assert.Equal(t, want[i], append([]byte{}, tag.Data...), i)
		assert.EqualValues(t, 9, tag.Timestamp)
	}
}

// aggregate builds the payload of an aggregate message.
func aggregate(tags ...flv.Tag) []byte {
	var b []byte
	for _, t := range tags {
		b = flv.AppendTag(b, t) // the same layout
	}
	return b
}

func TestAggregatesAreTakenApart(t *testing.T) {
	h := &rig{}
	addr := serve(t, &Server{Handler: h})
	p := connected(t, addr, "live")
	p.publish("a")
	body := aggregate(
		flv.Tag{Type: flv.TypeVideo, Timestamp: 0xFFFFFFF0, Data: []byte{0x17, 1}},
		flv.Tag{Type: flv.TypeAudio, Timestamp: 4, Data: []byte{0xAF, 2}},
		flv.Tag{Type: typeAggregate, Timestamp: 5, Data: aggregate(flv.Tag{Type: flv.TypeAudio, Data: []byte{1}})},
		flv.Tag{Type: typeCommand, Timestamp: 5, Data: script("deleteStream", 0.0, nil, 1.0)},
		flv.Tag{Type: flv.TypeScript, Timestamp: 6, Data: script(setDataFrame, onMetaData, 1.0)},
	)
	p.size = 60
	p.message(chunk.Message{Type: typeSetChunkSize, ChunkStream: 2, Payload: binary.BigEndian.AppendUint32(nil, 60)})
	p.message(chunk.Message{Type: typeAggregate, StreamID: 1, Timestamp: 1000, Payload: body})
	p.message(chunk.Message{Type: typeAggregate, StreamID: 1, Timestamp: 2000, Payload: body[:20]}) // short: a part, and a rest
	p.message(chunk.Message{Type: typeAggregate, StreamID: 1, Timestamp: 3000, Payload: body[:12]})
	p.message(chunk.Message{Type: typeAudio, StreamID: 1, Timestamp: 4000, Payload: []byte{1}})
	equalTags(t, []flv.Tag{
		{Type: flv.TypeVideo, Timestamp: 1000, Data: []byte{0x17, 1}},
		{Type: flv.TypeAudio, Timestamp: 1020, Data: []byte{0xAF, 2}},
		{Type: flv.TypeScript, Timestamp: 1022, Data: script(onMetaData, 1.0)},
		{Type: flv.TypeVideo, Timestamp: 2000, Data: []byte{0x17, 1}},
		{Type: flv.TypeAudio, Timestamp: 4000, Data: []byte{1}},
	}, h.publication(t, 0).written(t, 5))
}

// Every body goes through as it is, alone and in an aggregate: ends of sequences,
// commands, packets of Enhanced RTMP of any type, and unknown ones.
func TestEveryBodyIsUntouched(t *testing.T) {
	h := &rig{}
	addr := serve(t, &Server{Handler: h})
	p := connected(t, addr, "live")
	id := p.publish("a")
	var want []flv.Tag
	var b []byte
	for first := range 256 {
		for _, typ := range []flv.Type{flv.TypeAudio, flv.TypeVideo} {
			for _, rest := range []string{"", "\x02", "\x02\x00\x00\x00", "avc1\x01\x02\x03", "\x01mp4a\x00\x05"} {
				want = append(want, flv.Tag{Type: typ, Timestamp: uint32(len(want)), Data: append([]byte{byte(first)}, rest...)})
			}
		}
	}
	for _, tag := range want {
		b = appendTag(b, protocolChunkSize, id, tag)
	}
	for part := range slices.Chunk(want, 100) {
		b = chunk.AppendMessage(b, protocolChunkSize, chunk.Message{
			Type: typeAggregate, StreamID: id, ChunkStream: 4, Timestamp: part[0].Timestamp, Payload: aggregate(part...)})
	}
	p.write(b)
	equalTags(t, slices.Concat(want, want), h.publication(t, 0).written(t, 2*len(want)))
}

// RTMP 1.0 §5.4.1: the chunk size may be anything from 1 on.
func TestPeerWithChunkSizeOne(t *testing.T) {
	h := &rig{}
	addr := serve(t, &Server{Handler: h})
	p := dialPeer(t, addr)
	p.message(chunk.Message{Type: typeSetChunkSize, ChunkStream: 2, Payload: []byte{0, 0, 0, 1}})
	p.size = 1
	p.connect("live")
	p.publish("a")
	tags := clip()
	for _, tag := range tags {
		p.write(appendTag(nil, 1, 1, tag))
	}
	equalTags(t, tags, h.publication(t, 0).written(t, len(tags)))
}

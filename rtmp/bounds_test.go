package rtmp

import (
	"bytes"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"sluice/flv/amf"
	"sluice/rtmp/internal/chunk"
)

// Declared lengths take no memory: not those of messages, on as many chunk streams as
// there may be, nor those of AMF.
func TestDeclaredLengthsTakeNoMemory(t *testing.T) {
	const connections = 20
	h := &rig{}
	addr := serve(t, &Server{Handler: h})
	var peers []*peer
	for i := range connections {
		p := connected(t, addr, "live")
		p.publish(fmt.Sprint("a", i))
		peers = append(peers, p)
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for _, p := range peers {
		b := appendControl(nil, typeSetChunkSize, 1)
		for id := range byte(60) { // four are in use
			b = append(b, 0, id, 0, 0, 0, 0xFF, 0xFF, 0xFF, typeVideo, 1, 0, 0, 0, 0x17)
		}
		p.write(b)
		p.size = 1
		for _, body := range [][]byte{
			{0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 5},             // a strict array
			{0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0, 1, 'a', 5},  // an ECMA array
			{0x0C, 0xFF, 0xFF, 0xFF, 0xFF, 'a'},           // a long string
			{0x11, 0x09, 0xFF, 0xFF, 0xFF, 0xFF, 1, 4, 1}, // an AMF3 array
		} {
			p.message(chunk.Message{Type: typeCommand, ChunkStream: 3, Payload: body})
			p.message(chunk.Message{Type: typeDataAMF3, StreamID: 1, ChunkStream: 3, Payload: body})
		}
		p.message(chunk.Message{Type: typeAggregate, StreamID: 1, ChunkStream: 3, Payload: []byte{9, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0, 1}})
		p.message(chunk.Message{Type: typeCommand, ChunkStream: 3, Payload: script("sync", 99.0, nil)})
		p.result(99)
	}
	grown := int64(heap()) - int64(before)
	assert.Less(t, grown, int64(connections*128<<10), "%d bytes for %d that were announced", grown, connections*60<<24)
	for _, p := range peers {
		p.nc.Close()
	}
}

// Bytes in flight: before a client publishes, its bound is lower.
func TestBytesInFlight(t *testing.T) {
	half := func(id byte) []byte { // of a message that is as long as a stranger's may be
		return append([]byte{0, id, 0, 0, 0, 1, 0, 0, typeAudio, 1, 0, 0, 0}, make([]byte, 60_000)...)
	}
	for _, publishes := range []bool{false, true} {
		var log logBuffer
		addr := serve(t, &Server{Handler: &rig{}, Logger: slog.New(slog.NewTextHandler(&log, debugLevel))})
		p := connected(t, addr, "live")
		if publishes {
			p.publish("a")
		}
		p.write(appendControl(nil, typeSetChunkSize, 60_000))
		for id := range byte(5) {
			p.nc.Write(half(id))
		}
		if publishes {
			p.size = 60_000
			p.sync()
			continue
		}
		reason, _ := log.endLine(t)
		assert.Contains(t, reason, "over the limit: 300000 bytes in 5 unfinished messages")
	}
}

// What a client says of itself is kept up to a length, and a URL taken up to one.
func TestTextIsBounded(t *testing.T) {
	h := &rig{}
	addr := serve(t, &Server{Handler: h})
	long := strings.Repeat("x", 20_000)
	p := dialPeer(t, addr)
	p.command(0, "connect", 1.0, amf.Object{
		{Name: "app", Value: "live"}, {Name: "flashVer", Value: long},
		{Name: "fourCcList", Value: amf.StrictArray{long, "hvc1"}}, {Name: "videoFourCcInfoMap", Value: amf.Object{{Name: long, Value: 1.0}}},
	})
	p.result(1)
	p.publish("a")
	r := h.publication(t, 0).req
	assert.Len(t, r.FlashVer, maxShown)
	assert.Equal(t, Capabilities{FourCCs: []string{"hvc1"}}, r.Capabilities)

	p = dialPeer(t, addr)
	p.command(0, "connect", 1.0, amf.Object{{Name: "app", Value: "live"}, {Name: "tcUrl", Value: long}})
	p.wantStatus(0, LevelError, CodeConnectRejected)
	p.wantEOF()
	for _, command := range []string{"publish", "play"} {
		p = connected(t, addr, "live")
		p.command(1, command, 0.0, nil, "x?"+long)
		_, level, _ := p.status()
		assert.Equal(t, LevelError, level)
		p.wantEOF()
	}
}

// Data messages in the AMF3 form, which have to be decoded, have bounds too.
func TestDataIsBounded(t *testing.T) {
	var log logBuffer
	h := &rig{}
	addr := serve(t, &Server{Handler: h, Logger: slog.New(slog.NewTextHandler(&log, debugLevel))})
	p := connected(t, addr, "live")
	id := p.publish("a")
	for _, body := range [][]byte{
		append(script("deep"), nested(dataLimits.Depth+1)...),
		append(script("many"), bytes.Repeat([]byte{5}, dataLimits.Elements)...),
		script("long", strings.Repeat("x", dataLimits.Bytes/2), strings.Repeat("x", dataLimits.Bytes/2)),
	} {
		p.message(chunk.Message{Type: typeDataAMF3, StreamID: id, Payload: body[:min(len(body), 1<<20)]})
	}
	p.sync()
	p.nc.Close()
	_, skipped := log.endLine(t)
	assert.Equal(t, "3", skipped)
	assert.Empty(t, h.publication(t, 0).tags)
}

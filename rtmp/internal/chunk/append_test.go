package chunk

import (
	"bytes"
	"encoding/hex"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// unhex returns the bytes of hex digits, with spaces where it pleases.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	require.NoError(t, err)
	return b
}

// readAll returns all messages of data, and the error that came after them.
func readAll(r *Reader) ([]Message, error) {
	var all []Message
	for {
		m, err := r.Read()
		if err != nil {
			return all, err
		}
		m.Payload = bytes.Clone(m.Payload)
		all = append(all, m)
	}
}

// golden is messages as AppendMessage writes them, worked out by hand from RTMP
// 1.0 §5.3.1.
var golden = []struct {
	name string
	size int
	m    Message
	wire string
}{
	{
		"one chunk", 128,
		Message{Type: 20, StreamID: 0, Timestamp: 1000, ChunkStream: 3, Payload: []byte("hello")},
		"03 0003E8 000005 14 00000000 68656C6C6F",
	}, {
		"no payload", 128,
		Message{Type: 8, StreamID: 1, Timestamp: 0, ChunkStream: 4, Payload: []byte{}},
		"04 000000 000000 08 01000000",
	}, {
		"message stream id is little endian", 128,
		Message{Type: 9, StreamID: 0x01020304, Timestamp: 0, ChunkStream: 5, Payload: []byte{0xAA}},
		"05 000000 000001 09 04030201 AA",
	}, {
		"payload of just a chunk", 4,
		Message{Type: 9, StreamID: 1, Timestamp: 1, ChunkStream: 6, Payload: []byte{1, 2, 3, 4}},
		"06 000001 000004 09 01000000 01020304",
	}, {
		"three chunks", 2,
		Message{Type: 9, StreamID: 1, Timestamp: 1, ChunkStream: 6, Payload: []byte{1, 2, 3, 4, 5}},
		"06 000001 000005 09 01000000 0102 C6 0304 C6 05",
	}, {
		"lowest id", 128,
		Message{Type: 1, ChunkStream: 2, Payload: []byte{0, 0, 0x10, 0}},
		"02 000000 000004 01 00000000 00001000",
	}, {
		"highest id of one byte", 1,
		Message{Type: 9, ChunkStream: 63, Payload: []byte{1, 2}},
		"3F 000000 000002 09 00000000 01 FF 02",
	}, {
		"lowest id of two bytes", 1,
		Message{Type: 9, ChunkStream: 64, Payload: []byte{1, 2}},
		"0000 000000 000002 09 00000000 01 C000 02",
	}, {
		"highest id of two bytes", 1,
		Message{Type: 9, ChunkStream: 319, Payload: []byte{1, 2}},
		"00FF 000000 000002 09 00000000 01 C0FF 02",
	}, {
		"lowest id of three bytes", 1,
		Message{Type: 9, ChunkStream: 320, Payload: []byte{1, 2}},
		"010001 000000 000002 09 00000000 01 C10001 02",
	}, {
		"three bytes, low byte first", 1,
		Message{Type: 9, ChunkStream: 64 + 0x12 + 0x34*256, Payload: []byte{1, 2}},
		"011234 000000 000002 09 00000000 01 C11234 02",
	}, {
		"highest id", 1,
		Message{Type: 9, ChunkStream: 65599, Payload: []byte{1, 2}},
		"01FFFF 000000 000002 09 00000000 01 C1FFFF 02",
	}, {
		"last timestamp of 24 bits", 1,
		Message{Type: 9, Timestamp: 0xFFFFFE, ChunkStream: 6, Payload: []byte{1, 2}},
		"06 FFFFFE 000002 09 00000000 01 C6 02",
	}, {
		"first extended timestamp, on every chunk", 1,
		Message{Type: 9, Timestamp: 0xFFFFFF, ChunkStream: 6, Payload: []byte{1, 2, 3}},
		"06 FFFFFF 000003 09 00000000 00FFFFFF 01 C6 00FFFFFF 02 C6 00FFFFFF 03",
	}, {
		"last timestamp", 2,
		Message{Type: 9, Timestamp: 0xFFFFFFFF, ChunkStream: 65599, Payload: []byte{1, 2, 3}},
		"01FFFF FFFFFF 000003 09 00000000 FFFFFFFF 0102 C1FFFF FFFFFFFF 03",
	}, {
		"extended timestamp without payload", 128,
		Message{Type: 8, Timestamp: 0x01000000, ChunkStream: 6, Payload: []byte{}},
		"06 FFFFFF 000000 08 00000000 01000000",
	},
}

func TestGoldenMessages(t *testing.T) {
	for _, g := range golden {
		t.Run(g.name, func(t *testing.T) {
			wire := unhex(t, g.wire)
			require.Equal(t, wire, AppendMessage(nil, g.size, g.m))
			require.Equal(t, append([]byte("before"), wire...), AppendMessage([]byte("before"), g.size, g.m))

			r := NewReader(bytes.NewReader(wire), Limits{})
			r.chunkSize = g.size
			got, err := readAll(r)
			require.Equal(t, io.EOF, err)
			require.Len(t, got, 1)
			if g.m.Type == typeSetChunkSize {
				require.Equal(t, 0x1000, r.chunkSize)
			}
			require.True(t, equal(g.m, got[0]), "%+v", got[0])
		})
	}
}

// AppendMessage allocates what it needs at once (the race detector makes two of
// it), and nothing if there is room.
func TestAppendMessageAllocates(t *testing.T) {
	for _, ts := range []uint32{0, 1 << 24} {
		for _, size := range []int{1, 128, 60000} {
			m := Message{Type: 9, Timestamp: ts, ChunkStream: 7, Payload: make([]byte, 5000)}
			require.LessOrEqual(t, testing.AllocsPerRun(10, func() { AppendMessage(nil, size, m) }), 2.0)
			dst := AppendMessage(nil, size, m)
			require.Zero(t, testing.AllocsPerRun(10, func() { AppendMessage(dst[:0], size, m) }))
		}
	}
}

// What no header can tell is brought into bounds, so that the peer can follow.
func TestAppendMessageOutOfBounds(t *testing.T) {
	payload := []byte{1, 2}
	at := func(size int, id uint32) []byte {
		return AppendMessage(nil, size, Message{Type: 9, ChunkStream: id, Payload: payload})
	}
	require.Equal(t, at(1, 6), at(0, 6))
	require.Equal(t, at(1, 6), at(-1, 6))
	require.Equal(t, at(MaxMessageSize, 6), at(MaxMessageSize+1, 6))
	require.Equal(t, at(1, 2), at(1, 0))
	require.Equal(t, at(1, 65599), at(1, 65600))

	long := AppendMessage(nil, MaxMessageSize, Message{Type: 9, ChunkStream: 6, Payload: make([]byte, MaxMessageSize+1)})
	require.Len(t, long, 12+MaxMessageSize)
	require.Equal(t, unhex(t, "06 000000 FFFFFF 09"), long[:8])
}

// A message that was given another timestamp is what it would have been with that
// from the start, and nothing behind it has changed.
func TestStamp(t *testing.T) {
	for _, size := range []int{0, 1, 128, 129, 1000} {
		for _, stamp := range []uint32{0, 1, 0xABCDEF, extendedMark - 1} {
			m := Message{Type: 9, StreamID: 1, ChunkStream: 6, Timestamp: 77, Payload: make([]byte, size)}
			b := append(AppendMessage(nil, 128, m), "rest"...)
			rest, ok := Stamp(b, 128, stamp)
			require.True(t, ok)
			assert.Equal(t, "rest", string(rest))
			m.Timestamp = stamp
			assert.Equal(t, append(AppendMessage(nil, 128, m), "rest"...), b)
		}
	}
	for _, m := range []Message{{ChunkStream: 64}, {ChunkStream: 6, Timestamp: extendedMark}} {
		_, ok := Stamp(AppendMessage(nil, 128, m), 128, 5)
		assert.False(t, ok, "%+v", m)
	}
	_, ok := Stamp(AppendMessage(nil, 128, Message{ChunkStream: 6}), 128, extendedMark)
	assert.False(t, ok)
}

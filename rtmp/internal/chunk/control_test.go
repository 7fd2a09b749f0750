package chunk

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

func setChunkSize(v ...byte) Message { return Message{Type: 1, ChunkStream: 2, Payload: v} }

// §5.4.1: "The chunk size is maintained independently for each direction"; it is
// 128 until it is set.
func TestChunkSizeIs128AtFirst(t *testing.T) {
	m := media(9, 6, 0, bytes.Repeat([]byte{0xA0}, 300)...)
	wire := AppendMessage(nil, 128, m)
	require.Len(t, wire, 12+300+2)
	got, err := readAll(NewReader(bytes.NewReader(wire), Limits{}))
	require.Equal(t, io.EOF, err)
	require.True(t, equal(m, got[0]))
}

// §5.4.1: the new size holds from the next chunk on, also inside a message of
// another chunk stream.
func TestChunkSizeChangesInsideAMessage(t *testing.T) {
	check(t, `
		02 000000 000004 01 00000000 00000002
		06 000000 000009 09 01000000 A0A1
		C2 0000 C2 0001
		C6 A2
		C6 A3
		C2 00 C2 00 C2 00 C6 A4 C2 04
		C6 A5A6A7A8`,
		setChunkSize(0, 0, 0, 2), setChunkSize(0, 0, 0, 1), setChunkSize(0, 0, 0, 4),
		media(9, 6, 0, 0xA0, 0xA1, 0xA2, 0xA3, 0xA4, 0xA5, 0xA6, 0xA7, 0xA8))
}

// §5.4.1: 1 to 0x7FFFFFFF; from 0xFFFFFF on all are the same.
func TestChunkSizeBounds(t *testing.T) {
	for wire, want := range map[string]int{
		"00000001": 1, "00FFFFFF": MaxMessageSize, "01000000": MaxMessageSize, "7FFFFFFF": MaxMessageSize,
	} {
		r := NewReader(bytes.NewReader(unhex(t, "02 000000 000004 01 00000000"+wire)), Limits{})
		_, err := r.Read()
		require.NoError(t, err)
		require.Equal(t, want, r.chunkSize)
	}
	checkFails(t, "02 000000 000004 01 00000000 00000000", 0, Limits{})
	checkFails(t, "02 000000 000004 01 00000000 80000001", 0, Limits{})
	checkFails(t, "02 000000 000003 01 00000000 000001", 0, Limits{})
	checkFails(t, "02 000000 000000 01 00000000", 0, Limits{})
}

// The message that sets the chunk size is cut by the size that holds before it.
func TestSetChunkSizeInSeveralChunks(t *testing.T) {
	check(t, `
		02 000000 000004 01 00000000 00000002
		C2 0000 C2 0003
		06 000000 000004 09 01000000 A0A1A2 C6 A3`,
		setChunkSize(0, 0, 0, 2), setChunkSize(0, 0, 0, 3), media(9, 6, 0, 0xA0, 0xA1, 0xA2, 0xA3))
}

// §5.4.2: an Abort Message drops what has arrived of a message. The header stays
// what the next chunk refers to.
func TestAbortDropsAMessageHalfReceived(t *testing.T) {
	check(t, `
		02 000000 000004 01 00000000 00000002
		06 000064 000003 09 01000000 A0A1
		04 000000 000003 08 01000000 B0B1
		02 000000 000004 02 00000000 0000 C2 0006
		C4 B2
		86 00000A C0C1
		C6 C2`,
		setChunkSize(0, 0, 0, 2), Message{Type: 2, ChunkStream: 2, Payload: []byte{0, 0, 0, 6}},
		media(8, 4, 0, 0xB0, 0xB1, 0xB2), media(9, 6, 110, 0xC0, 0xC1, 0xC2))
}

func TestAbortThenTheEnd(t *testing.T) {
	got, err := readAll(NewReader(bytes.NewReader(unhex(t, `
		02 000000 000004 01 00000000 00000004
		06 000064 000005 09 01000000 A0A1A2A3
		02 000000 000004 02 00000000 00000006`)), Limits{}))
	require.Len(t, got, 2)
	require.Equal(t, io.EOF, err, "nothing is half received")
}

// Streams that are unknown, or between messages, have nothing to abort.
func TestAbortOfNothing(t *testing.T) {
	abort := func(id byte) Message {
		return Message{Type: 2, ChunkStream: 2, Payload: []byte{0, 0, 0, id}}
	}
	check(t, `
		02 000000 000004 02 00000000 00000009
		06 000000 000001 09 01000000 A0
		C2 00000006
		C2 00000002
		C6 A1`,
		abort(9), media(9, 6, 0, 0xA0), abort(6), abort(2), media(9, 6, 0, 0xA1))
	checkFails(t, "02 000000 000002 02 00000000 0006", 0, Limits{})
}

// §5.4.3: sequence numbers count the bytes received so far.
func TestBytesRead(t *testing.T) {
	wire := unhex(t, "06 000000 000002 09 01000000 A0A1 C6 B0B1")
	r := NewReader(bytes.NewReader(wire), Limits{})
	require.Zero(t, r.BytesRead())
	_, err := readAll(r)
	require.Equal(t, io.EOF, err)
	require.EqualValues(t, len(wire), r.BytesRead())
}

package chunk

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

// The tests below are named after the statements of RTMP 1.0 that they hold the
// Reader to. Wire bytes are worked out by hand.

// check reads wire, whole and byte by byte, and compares type, stream, timestamp
// and payload of all messages.
func check(t *testing.T, wire string, want ...Message) {
	t.Helper()
	for _, r := range []io.Reader{
		bytes.NewReader(unhex(t, wire)),
		iotest.OneByteReader(bytes.NewReader(unhex(t, wire))),
	} {
		got, err := readAll(NewReader(r, Limits{}))
		require.Equal(t, io.EOF, err)
		require.Len(t, got, len(want))
		for i := range want {
			require.True(t, equal(want[i], got[i]), "message %d: %+v", i, got[i])
		}
	}
}

// checkFails reads wire, which has n messages before an error of the protocol.
func checkFails(t *testing.T, wire string, n int, limits Limits, is ...error) {
	t.Helper()
	for _, in := range []io.Reader{
		bytes.NewReader(unhex(t, wire)),
		iotest.OneByteReader(bytes.NewReader(unhex(t, wire))),
	} {
		r := NewReader(in, limits)
		got, err := readAll(r)
		require.Len(t, got, n)
		require.ErrorIs(t, err, ErrProtocol)
		for _, is := range is {
			require.ErrorIs(t, err, is)
		}
		_, again := r.Read()
		require.Equal(t, err, again, "the error stays")
	}
}

func media(typ uint8, id, ts uint32, payload ...byte) Message {
	return Message{Type: typ, StreamID: 1, Timestamp: ts, ChunkStream: id, Payload: payload}
}

// §5.3.1.1: ids 2 to 63 in one byte, 64 to 319 in two, 64 to 65599 in three.
func TestBasicHeaderLengths(t *testing.T) {
	check(t, `
		02     000000 000001 08 01000000 A0
		3F     000000 000001 08 01000000 A1
		0000   000000 000001 08 01000000 A2
		00FF   000000 000001 08 01000000 A3
		010001 000000 000001 08 01000000 A4
		01FFFF 000000 000001 08 01000000 A5`,
		media(8, 2, 0, 0xA0), media(8, 63, 0, 0xA1), media(8, 64, 0, 0xA2),
		media(8, 319, 0, 0xA3), media(8, 320, 0, 0xA4), media(8, 65599, 0, 0xA5))
}

// §5.3.1.1: ids 64 to 319 may come in either of two forms, and are the same.
func TestIDsThatHaveTwoForms(t *testing.T) {
	check(t, `
		0010   000005 000001 08 01000000 A0
		811000 000002 A1
		C010   A2`,
		media(8, 80, 5, 0xA0), media(8, 80, 7, 0xA1), media(8, 80, 9, 0xA2))
}

// §5.3.1.2.1 to §5.3.1.2.3: what each form tells and what it takes over.
func TestForms0To2(t *testing.T) {
	check(t, `
		06 0003E8 000002 09 01000000 A0A1
		46 000010 000001 08 B0
		86 000020 C0
		06 000001 000001 09 02000000 D0
		86 000002 D1`,
		media(9, 6, 1000, 0xA0, 0xA1), media(8, 6, 1016, 0xB0), media(8, 6, 1048, 0xC0),
		Message{Type: 9, StreamID: 2, Timestamp: 1, ChunkStream: 6, Payload: []byte{0xD0}},
		Message{Type: 9, StreamID: 2, Timestamp: 3, ChunkStream: 6, Payload: []byte{0xD1}})
}

// §5.3.1.2.4: form 3 repeats length, type, stream and delta of the message before.
func TestForm3BeginsAMessageWithTheSameDelta(t *testing.T) {
	check(t, `
		06 0003E8 000001 09 01000000 A0
		86 000014 A1
		C6 A2
		C6 A3`,
		media(9, 6, 1000, 0xA0), media(9, 6, 1020, 0xA1), media(9, 6, 1040, 0xA2), media(9, 6, 1060, 0xA3))
}

// §5.3.1.2.4: "If a Type 3 chunk follows a Type 0 chunk, then the timestamp delta
// for this Type 3 chunk is the same as the timestamp of the Type 0 chunk."
func TestForm3AfterForm0TakesTheTimestampAsDelta(t *testing.T) {
	check(t, `
		06 0003E8 000001 09 01000000 A0
		C6 A1
		C6 A2`,
		media(9, 6, 1000, 0xA0), media(9, 6, 2000, 0xA1), media(9, 6, 3000, 0xA2))
}

// §5.3.1.2.4: form 3 continues a message that is split; that is no new delta.
func TestForm3ContinuesAMessage(t *testing.T) {
	first := bytes.Repeat([]byte{0xA0}, 128)
	wire := unhex(t, "06 0003E8 000101 09 01000000")
	wire = append(wire, first...)
	wire = append(append(wire, 0xC6), first...)
	wire = append(wire, 0xC6, 0xFF)
	wire = append(wire, unhex(t, "46 000001 000001 09 EE")...)
	got, err := readAll(NewReader(bytes.NewReader(wire), Limits{}))
	require.Equal(t, io.EOF, err)
	require.Len(t, got, 2)
	require.Len(t, got[0].Payload, 257)
	require.EqualValues(t, 0xFF, got[0].Payload[256])
	require.EqualValues(t, 1000, got[0].Timestamp)
	require.EqualValues(t, 1001, got[1].Timestamp)
}

// §5.3.1: chunks of different chunk streams may be interleaved.
func TestChunksOfDifferentStreamsInterleave(t *testing.T) {
	check(t, `
		02 000000 000004 01 00000000 00000002
		06 000001 000003 09 01000000 A0A1
		04 000002 000005 08 01000000 B0B1
		C4 B2B3
		C6 A2
		C4 B4`,
		Message{Type: 1, ChunkStream: 2, Payload: []byte{0, 0, 0, 2}},
		media(9, 6, 1, 0xA0, 0xA1, 0xA2), media(8, 4, 2, 0xB0, 0xB1, 0xB2, 0xB3, 0xB4))
}

// §5.3.1.2: the largest chunk header a message can have; and messages without a
// payload are messages.
func TestMessagesWithoutPayload(t *testing.T) {
	check(t, `
		04 000005 000000 08 01000000
		84 000001
		C4
		01FFFF FFFFFF 000000 08 01000000 01000000
		C4`,
		media(8, 4, 5), media(8, 4, 6), media(8, 4, 7), media(8, 65599, 1<<24), media(8, 4, 8))
}

// §5.3.1.3: the extended timestamp is there if and only if the field is 0xFFFFFF,
// absolute after form 0 and a delta after forms 1 and 2.
func TestExtendedTimestamp(t *testing.T) {
	check(t, `
		06 FFFFFE 000001 09 01000000 A0
		06 FFFFFF 000001 09 01000000 00FFFFFF A1
		46 FFFFFF 000001 09 01000000 A2
		86 FFFFFF 00FFFFFF A3
		86 000001 A4
		C6 A5`,
		media(9, 6, 0xFFFFFE, 0xA0), media(9, 6, 0xFFFFFF, 0xA1), media(9, 6, 0x1FFFFFF, 0xA2),
		media(9, 6, 0x2FFFFFE, 0xA3), media(9, 6, 0x2FFFFFF, 0xA4), media(9, 6, 0x3000000, 0xA5))
}

// §5.3.1.3: "This field is present in Type 3 chunks when the most recent Type 0,
// 1, or 2 chunk for the same chunk stream ID indicated the presence of an extended
// timestamp field."
func TestExtendedTimestampOnForm3(t *testing.T) {
	check(t, `
		02 000000 000004 01 00000000 00000001
		06 FFFFFF 000003 09 01000000 01020304 A0
		C6 01020304 A1
		C6 01020304 A2
		46 FFFFFF 000002 09 01000000 B0
		C6 01000000 B1
		C6 01000000 B2
		C6 01000000 B3
		46 000001 000002 09 C0
		C6 C1`,
		Message{Type: 1, ChunkStream: 2, Payload: []byte{0, 0, 0, 1}},
		media(9, 6, 0x01020304, 0xA0, 0xA1, 0xA2),
		media(9, 6, 0x02020304, 0xB0, 0xB1), media(9, 6, 0x03020304, 0xB2, 0xB3),
		media(9, 6, 0x03020305, 0xC0, 0xC1))
}

// librtmp, and OBS before 2024, do not repeat it, against §5.3.1.3.
func TestExtendedTimestampMissingOnForm3(t *testing.T) {
	check(t, `
		02 000000 000004 01 00000000 00000002
		06 FFFFFF 000005 09 01000000 01020304 A0A1
		C6 A2A3
		C6 A4
		46 FFFFFF 000003 09 FFFFFFF0 B0B1
		C6 FF
		06 FFFFFF 000000 09 01000000 01020304
		C6
		C6`,
		Message{Type: 1, ChunkStream: 2, Payload: []byte{0, 0, 0, 2}},
		media(9, 6, 0x01020304, 0xA0, 0xA1, 0xA2, 0xA3, 0xA4),
		media(9, 6, 0x010202F4, 0xB0, 0xB1, 0xFF),
		media(9, 6, 0x01020304), media(9, 6, 0x02040608), media(9, 6, 0x0306090C))
}

// A message that ends before four bytes is not held back until more comes.
func TestMissingExtendedTimestampIsNotWaitedFor(t *testing.T) {
	wire := unhex(t, `
		02 000000 000004 01 00000000 00000002
		06 FFFFFF 000003 09 01000000 01020304 A0A1
		C6 A2`)
	waits := errors.New("waited for more")
	r := NewReader(io.MultiReader(bytes.NewReader(wire), iotest.ErrReader(waits)), Limits{})
	got, err := readAll(r)
	require.ErrorIs(t, err, waits)
	require.Len(t, got, 2)
}

// §4: timestamps are modulo 2^32 ms; OBS steps back with a delta just below 2^32.
func TestTimestampsWrap(t *testing.T) {
	check(t, `
		06 FFFFFF 000001 09 01000000 FFFFFFFF A0
		86 000002 A1
		86 FFFFFF FFFFFFFB A2
		86 000005 A3
		06 FFFFFF 000001 09 01000000 80000000 A4
		C6 80000000 A5`,
		media(9, 6, 0xFFFFFFFF, 0xA0), media(9, 6, 1, 0xA1), media(9, 6, 0xFFFFFFFC, 0xA2),
		media(9, 6, 1, 0xA3), media(9, 6, 0x80000000, 0xA4), media(9, 6, 0, 0xA5))
}

// librtmp opens chunk stream 2 with form 1: message stream 0, time since 0.
func TestForm1BeginsAChunkStream(t *testing.T) {
	check(t, "42 000005 000001 08 A0 82 000001 A1",
		Message{Type: 8, Timestamp: 5, ChunkStream: 2, Payload: []byte{0xA0}},
		Message{Type: 8, Timestamp: 6, ChunkStream: 2, Payload: []byte{0xA1}})
}

// §5.3.1.2.3, §5.3.1.2.4: forms 2 and 3 need a chunk before them.
func TestForms2And3CannotBeginAChunkStream(t *testing.T) {
	checkFails(t, "86 000005 A0", 0, Limits{})
	checkFails(t, "C6 A0", 0, Limits{})
	checkFails(t, "04 000000 000001 08 01000000 A0 C6", 1, Limits{})
}

// A message is to be complete before the next begins on its chunk stream.
func TestNewHeaderInsideAMessage(t *testing.T) {
	begin := "02 000000 000004 01 00000000 00000001 06 000000 000002 09 01000000 A0"
	checkFails(t, begin+"06 000000 000002 09 01000000 A1", 1, Limits{})
	checkFails(t, begin+"46 000000 000002 09 A1", 1, Limits{})
	checkFails(t, begin+"86 000000 A1", 1, Limits{})
}

func TestEndOfInput(t *testing.T) {
	wire := unhex(t, "01FFFF FFFFFF 000003 09 01000000 01000000 A0A1A2")
	for n := range len(wire) {
		_, err := NewReader(bytes.NewReader(wire[:n]), Limits{}).Read()
		if n == 0 {
			require.Equal(t, io.EOF, err)
		} else {
			require.Equal(t, io.ErrUnexpectedEOF, err, "%d", n)
		}
	}
	// Between chunks, but inside another stream's message.
	wire = unhex(t, "02 000000 000004 01 00000000 00000001 06 000000 000002 09 01000000 A0 04 000000 000001 08 01000000 A0")
	got, err := readAll(NewReader(bytes.NewReader(wire), Limits{}))
	require.Len(t, got, 2)
	require.Equal(t, io.ErrUnexpectedEOF, err)
}

func TestErrorsOfTheConnectionAreWrapped(t *testing.T) {
	broken := errors.New("broken")
	wire := unhex(t, "06 FFFFFF 000003 09 01000000 01000000 A0A1A2")
	for n := range len(wire) + 1 {
		r := NewReader(io.MultiReader(bytes.NewReader(wire[:n]), iotest.ErrReader(broken)), Limits{})
		_, err := readAll(r)
		require.ErrorIs(t, err, broken)
		require.NotErrorIs(t, err, ErrProtocol)
	}
	_, err := NewReader(iotest.ErrReader(nil), Limits{}).Read()
	require.ErrorIs(t, err, io.ErrNoProgress)
}

// A payload stays as it is until the next call, also while another message of the
// same chunk stream waits in the read buffer.
func TestPayloadIsValidUntilTheNextRead(t *testing.T) {
	wire := unhex(t, "06 000000 000002 09 01000000 A0A1 C6 B0B1")
	r := NewReader(bytes.NewReader(wire), Limits{})
	m, err := r.Read()
	require.NoError(t, err)
	require.Equal(t, []byte{0xA0, 0xA1}, m.Payload)
	m, err = r.Read()
	require.NoError(t, err)
	require.Equal(t, []byte{0xB0, 0xB1}, m.Payload)
}

// Buffered counts what has been read and is not yet a message, of a message in parts too.
func TestBuffered(t *testing.T) {
	whole := AppendMessage(nil, DefaultSize, Message{Type: typeAudio, ChunkStream: 5, Payload: make([]byte, 300)})
	near, far := net.Pipe()
	defer near.Close()
	go func() {
		far.Write(append(whole, whole[:200]...))
		far.Write(whole[200:])
		far.Close()
	}()
	r := NewReader(near, Limits{})
	require.Zero(t, r.Buffered())
	for _, left := range []int{200, 0} {
		_, err := r.Read()
		require.NoError(t, err)
		require.Equal(t, left, r.Buffered())
		require.False(t, r.Filled())
	}
	_, err := r.Read()
	require.Equal(t, io.EOF, err)
}

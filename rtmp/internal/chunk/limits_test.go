package chunk

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDefaultLimits(t *testing.T) {
	require.Equal(t, Limits{
		ChunkStreams: 64, Media: 1<<24 - 1, Command: 1 << 20, Control: 1 << 10, InFlight: 32 << 20,
	}, *Limits{}.withDefaults())
	l := Limits{ChunkStreams: 1, Media: 2, Command: 3, Control: 4, InFlight: 5}
	require.Equal(t, l, *l.withDefaults())
}

func TestMessageSizeLimits(t *testing.T) {
	l := Limits{Media: 3, Command: 2, Control: 4}
	for typ, limit := range map[byte]int{1: 4, 2: 4, 3: 4, 4: 4, 5: 4, 6: 4, 8: 3, 9: 3, 22: 3, 15: 2, 18: 2, 20: 2, 99: 2} {
		m := Message{Type: typ, ChunkStream: 3, Payload: []byte{0, 0, 0, 1, 0}[:limit]}
		got, err := readAll(NewReader(bytes.NewReader(AppendMessage(nil, 128, m)), l))
		require.Equal(t, io.EOF, err)
		require.Len(t, got, 1)

		// One byte more is refused by the header, before any payload.
		m.Payload = make([]byte, limit+1)
		wire := AppendMessage(nil, 128, m)[:12]
		r := NewReader(bytes.NewReader(wire), l)
		_, err = r.Read()
		require.ErrorIs(t, err, ErrLimit)
		require.ErrorIs(t, err, ErrProtocol)
	}
}

func TestChunkStreamLimit(t *testing.T) {
	checkFails(t, `
		04 000000 000001 08 01000000 A0
		06 000000 000001 09 01000000 B0
		C4 A1
		05 000000 000001 09 01000000 C0`, 3, Limits{ChunkStreams: 2}, ErrLimit)

	var wire []byte
	for id := range uint32(64) {
		wire = AppendMessage(wire, 128, media(8, 1000+id, 0, 1))
	}
	got, err := readAll(NewReader(bytes.NewReader(wire), Limits{}))
	require.Equal(t, io.EOF, err)
	require.Len(t, got, 64)
	wire = AppendMessage(wire, 128, media(8, 7, 0, 1))
	_, err = readAll(NewReader(bytes.NewReader(wire), Limits{}))
	require.ErrorIs(t, err, ErrLimit)
}

func TestInFlightLimit(t *testing.T) {
	begin := `
		02 000000 000004 01 00000000 00000002
		04 000000 000004 08 01000000 A0A1
		06 000000 000004 09 01000000 B0B1`
	check := func(limit int) error {
		_, err := readAll(NewReader(bytes.NewReader(unhex(t, begin+"C4 A2A3 C6 B2B3 C4 A4A5 C4 A6A7")), Limits{InFlight: limit}))
		return err
	}
	require.Equal(t, io.EOF, check(6), "what is complete no longer counts")
	require.ErrorIs(t, check(5), ErrLimit)

	// Neither does what is aborted.
	abort := "02 000000 000004 02 00000000 0000 C2 0004"
	six := "05 000000 000006 08 01000000 C0C1 C5 C2C3 C5 C4C5"
	_, err := readAll(NewReader(bytes.NewReader(unhex(t, begin+abort+six+"C6 B2B3")), Limits{InFlight: 8}))
	require.Equal(t, io.EOF, err)
}

// held returns how many bytes of memory r holds in buffers, and checks its count.
func held(t testing.TB, r *Reader) int {
	t.Helper()
	n := 0
	for _, s := range r.streams {
		n += cap(s.payload)
	}
	require.Equal(t, n, r.kept)
	return n + len(r.in.buf)
}

// A header that promises 16 MiB takes no memory. What arrives takes at most twice
// its size.
func TestMemoryIsTakenAsBytesArrive(t *testing.T) {
	var wire []byte
	for id := range uint32(60) {
		wire = append(wire, byte(3+id))
		wire = append(wire, unhex(t, "000000 FFFFFF 09 01000000")...)
		wire = append(wire, make([]byte, 128)...)
	}
	r := NewReader(bytes.NewReader(wire), Limits{})
	_, err := r.Read()
	require.Equal(t, io.ErrUnexpectedEOF, err)
	require.LessOrEqual(t, held(t, r), 60*minBuffer+maxReadBuffer)

	size := MaxMessageSize
	wire = append(appendSetChunkSize(nil, 128, size), AppendMessage(nil, size, media(9, 6, 0, make([]byte, size)...))...)
	for _, n := range []int{1000, 100_000, 1 << 20, 10_000_000, size} {
		r = NewReader(bytes.NewReader(wire[:n]), Limits{})
		_, err = readAll(r)
		require.Equal(t, io.ErrUnexpectedEOF, err)
		require.LessOrEqual(t, held(t, r), 2*n+maxReadBuffer)
	}
}

// After a giant message its buffer goes at once; one that is only larger than what
// comes after it goes after a while; one in use stays.
func TestBuffersShrinkBack(t *testing.T) {
	const size = 60000
	wire := appendSetChunkSize(nil, 128, size)
	wire = AppendMessage(wire, size, media(9, 6, 0, make([]byte, 3<<20)...))
	wire = AppendMessage(wire, size, media(9, 6, 0, make([]byte, 200_000)...))
	for range 3 * spareMessages {
		wire = AppendMessage(wire, size, media(9, 6, 0, 1, 2, 3))
	}
	r := NewReader(bytes.NewReader(wire), Limits{})
	read := func() {
		_, err := r.Read()
		require.NoError(t, err)
	}
	read()
	read()
	require.GreaterOrEqual(t, held(t, r), 3<<20)
	read()
	require.LessOrEqual(t, held(t, r), 400_000+maxReadBuffer)
	require.GreaterOrEqual(t, held(t, r), 200_000)
	for range spareMessages - 1 {
		read()
	}
	require.GreaterOrEqual(t, held(t, r), 200_000, "the buffer is kept for the next key frame")
	read()
	read()
	require.LessOrEqual(t, held(t, r), minBuffer+maxReadBuffer)
}

// Idle chunk streams together keep no more than a fixed amount.
func TestIdleBuffersAreBounded(t *testing.T) {
	const size = 60000
	wire := appendSetChunkSize(nil, 128, size)
	for id := range uint32(60) {
		wire = AppendMessage(wire, size, media(9, 3+id, 0, make([]byte, 500_000)...))
	}
	wire = AppendMessage(wire, size, media(9, 2, 0))
	r := NewReader(bytes.NewReader(wire), Limits{})
	for range 62 {
		_, err := r.Read()
		require.NoError(t, err)
		require.LessOrEqual(t, held(t, r), keptMemory+2*500_000+maxReadBuffer)
	}
	require.LessOrEqual(t, held(t, r), keptMemory+maxReadBuffer)
}

// loop is a stream without an end, of one piece over and over.
type loop struct {
	piece []byte
	pos   int
}

func (l *loop) Read(b []byte) (int, error) {
	n := copy(b, l.piece[l.pos:])
	l.pos = (l.pos + n) % len(l.piece)
	return n, nil
}

// gop is two seconds of a stream: key frame, frames, and audio between them.
func gop(chunkSize int) (wire []byte, messages int) {
	wire = appendSetChunkSize(nil, chunkSize, chunkSize)
	messages = 1
	for i := range 60 {
		size := 4000
		if i == 0 {
			size = 60000
		}
		wire = AppendMessage(wire, chunkSize, media(9, 6, uint32(33*i), make([]byte, size)...))
		wire = AppendMessage(wire, chunkSize, media(8, 4, uint32(33*i), make([]byte, 300)...))
		messages += 2
	}
	return wire, messages
}

func TestReadDoesNotAllocate(t *testing.T) {
	for _, size := range []int{128, 4096, 60000} {
		wire, n := gop(size)
		r := NewReader(&loop{piece: wire}, Limits{})
		r.chunkSize = size
		read := func() {
			for range n {
				if _, err := r.Read(); err != nil {
					t.Fatal(err)
				}
			}
		}
		for range 20 {
			read()
		}
		require.Zero(t, testing.AllocsPerRun(20, read), "chunk size %d", size)
	}
}

func BenchmarkRead(b *testing.B) {
	for name, size := range map[string]int{"chunk128": 128, "chunk4096": 4096, "chunk60000": 60000} {
		b.Run(name, func(b *testing.B) {
			wire, n := gop(size)
			r := NewReader(&loop{piece: wire}, Limits{})
			r.chunkSize = size
			b.SetBytes(int64(len(wire)))
			b.ReportAllocs()
			for b.Loop() {
				for range n {
					if _, err := r.Read(); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

func BenchmarkAppendMessage(b *testing.B) {
	m := media(9, 6, 40, make([]byte, 4000)...)
	dst := AppendMessage(nil, 60000, m)
	b.SetBytes(int64(len(dst)))
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendMessage(dst[:0], 60000, m)
	}
}

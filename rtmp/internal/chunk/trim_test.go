package chunk

import (
	"bytes"
	"io"
	"testing"
	"testing/iotest"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// pausing is a reader that has nothing at every other call.
type pausing struct {
	r     io.Reader
	ready bool
}

func (p *pausing) Read(b []byte) (int, error) {
	if p.ready = !p.ready; !p.ready {
		return p.r.Read(b)
	}
	return 0, ErrNothing
}

// readThroughPauses is readAll that goes on after ErrNothing, when the Reader holds
// only what has arrived of unfinished messages.
func readThroughPauses(t testing.TB, r *Reader) ([]Message, error) {
	var all []Message
	for {
		got, err := readAll(r)
		all = append(all, got...)
		if err != ErrNothing {
			return all, err
		}
		if most := 2*r.inFlight + r.unfinished*minBuffer + maxHeader; held(t, r) > most {
			t.Fatalf("%d bytes held while %d are in flight", held(t, r), r.inFlight)
		}
	}
}

// A Reader may be left at any byte: it goes on where it stopped, and keeps next to
// nothing meanwhile.
func TestPauses(t *testing.T) {
	for _, size := range []int{1, 128, 60000} {
		wire := appendSetChunkSize(nil, 128, size)
		for i := range 5 {
			wire = AppendMessage(wire, size, media(9, 6, 0xFFFFFF+uint32(i), bytes.Repeat([]byte{byte(i)}, 700*i)...))
			wire = AppendMessage(wire, size, media(8, 70000, uint32(i), 1, 2, 3))
		}
		want, err := readAll(NewReader(bytes.NewReader(wire), Limits{}))
		require.Equal(t, io.EOF, err)
		for _, in := range []io.Reader{bytes.NewReader(wire), iotest.OneByteReader(bytes.NewReader(wire))} {
			got, err := readThroughPauses(t, NewReader(&pausing{r: in}, Limits{}))
			require.Equal(t, io.EOF, err)
			same(t, "with pauses", want, got)
		}
	}
}

// within tells whether a lies in b.
func within(a, b []byte) bool {
	p, start := uintptr(unsafe.Pointer(unsafe.SliceData(a))), uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	return start <= p && p+uintptr(len(a)) <= start+uintptr(len(b))
}

// What has come as a whole is not copied; what has not is put together once.
func TestWholeMessagesAreNotCopied(t *testing.T) {
	const size = 60000
	wire := appendSetChunkSize(nil, 128, size)
	for i := range 4 {
		wire = AppendMessage(wire, size, media(9, 6, 0, bytes.Repeat([]byte{byte(i)}, 100)...))
	}
	wire = append(wire, appendSetChunkSize(nil, size, 50)...)
	wire = AppendMessage(wire, 50, media(9, 6, 0, make([]byte, 100)...))
	r := NewReader(bytes.NewReader(wire), Limits{})
	for i := range 7 {
		m, err := r.Read()
		require.NoError(t, err)
		require.Equal(t, i < 6, within(m.Payload, r.in.buf), "message %d", i)
		require.Equal(t, i == 6, r.kept > 0, "message %d", i)
	}
}

func TestPausesDoNotAllocate(t *testing.T) {
	wire, n := gop(60000)
	r := NewReader(&pausing{r: &loop{piece: wire}}, Limits{})
	r.chunkSize = 60000
	read := func() {
		for range n {
			for {
				if _, err := r.Read(); err == nil {
					break
				} else if err != ErrNothing {
					t.Fatal(err)
				}
			}
		}
	}
	for range 20 {
		read()
	}
	// A collection may empty the pools, and the race detector makes them forget.
	require.Less(t, testing.AllocsPerRun(20, read), float64(n))
}

package chunk

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

const (
	captureDir    = "../../../testdata/captures"
	handshakeSize = 1 + 2*1536
)

// capture is what testdata/reference.py found in a captured file.
type capture struct {
	Messages int
	SHA256   string
}

// captures returns, by file name, what is in the captured sessions.
func captures(t testing.TB) map[string]capture {
	t.Helper()
	text, err := os.ReadFile("testdata/captures.json")
	require.NoError(t, err)
	var all map[string]capture
	require.NoError(t, json.Unmarshal(text, &all))
	files, err := filepath.Glob(captureDir + "/*.[cs]2[cs]")
	require.NoError(t, err)
	require.Len(t, all, len(files))
	return all
}

// captured returns what a captured file has after the handshake.
func captured(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(captureDir, name))
	require.NoError(t, err)
	return b[handshakeSize:]
}

// consumed returns how many bytes r has taken for chunks.
func (r *Reader) consumed() int { return int(r.in.received) - len(r.in.buffered()) }

// addMessage adds m, complete at end, to the hash that reference.py computes.
func addMessage(h hash.Hash, m Message, end int) {
	b := []byte{m.Type}
	for _, v := range []uint32{m.StreamID, m.Timestamp, m.ChunkStream, uint32(len(m.Payload)), uint32(end)} {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	h.Write(b)
	h.Write(m.Payload)
}

func TestCapturedSessions(t *testing.T) {
	for name, want := range captures(t) {
		data := captured(t, name)
		for how, slice := range map[string]func(io.Reader) io.Reader{
			"whole":         func(r io.Reader) io.Reader { return r },
			"byte by byte":  iotest.OneByteReader,
			"halves":        iotest.HalfReader,
			"error at once": iotest.DataErrReader,
		} {
			t.Run(name+"/"+how, func(t *testing.T) {
				r := NewReader(slice(bytes.NewReader(data)), Limits{})
				sum, n := sha256.New(), 0
				for {
					m, err := r.Read()
					if err != nil {
						require.Equal(t, io.EOF, err)
						break
					}
					addMessage(sum, m, r.consumed())
					n++
				}
				require.Equal(t, want.Messages, n)
				require.Equal(t, want.SHA256, hex.EncodeToString(sum.Sum(nil)))
				require.EqualValues(t, len(data), r.BytesRead())
			})
		}
	}
}

// endless says at every byte that the connection ends there, and goes on.
type endless struct {
	data  []byte
	pos   int
	ended bool
}

func (e *endless) Read(b []byte) (int, error) {
	if !e.ended || e.pos == len(e.data) {
		e.ended = true
		return 0, io.EOF
	}
	e.ended = false
	b[0] = e.data[e.pos]
	e.pos++
	return 1, nil
}

// Cut at every offset: the messages before the cut are there, and the end is
// io.EOF exactly where no message is half received. A Reader keeps nothing of an
// end that it has told, so one pass over a file can try all of its offsets.
func TestCapturedSessionsCutAtEveryOffset(t *testing.T) {
	for name, want := range captures(t) {
		t.Run(name, func(t *testing.T) {
			data := captured(t, name)
			src := &endless{data: data}
			r := NewReader(src, Limits{})
			sum, n, borders := sha256.New(), 0, 0
			for cuts := 0; cuts <= len(data); {
				m, err := r.Read()
				if err == nil {
					addMessage(sum, m, r.consumed())
					n++
					continue
				}
				if src.pos != cuts {
					t.Fatalf("cut %d was told at %d", cuts, src.pos)
				}
				cuts++
				clean := r.unfinished == 0 && r.consumed() == src.pos
				if clean {
					borders++
				}
				if clean && err != io.EOF || !clean && err != io.ErrUnexpectedEOF {
					t.Fatalf("cut at %d: %v", src.pos, err)
				}
			}
			require.Equal(t, want.Messages, n)
			require.Equal(t, want.SHA256, hex.EncodeToString(sum.Sum(nil)))
			require.Positive(t, borders)
			require.LessOrEqual(t, borders, n+1)
		})
	}
}

// The same with a new Reader for each cut, where that is quick: the first part,
// and around each border between messages up to there.
func TestCapturedSessionsCutAnew(t *testing.T) {
	const every, around = 3000, 40000
	for name := range captures(t) {
		t.Run(name, func(t *testing.T) {
			data := captured(t, name)
			var ends []int
			cuts := map[int]bool{}
			r := NewReader(bytes.NewReader(data[:min(around, len(data))]), Limits{})
			for {
				if _, err := r.Read(); err != nil {
					break
				}
				end := r.consumed()
				ends = append(ends, end)
				for _, n := range []int{end - 1, end, end + 1} {
					cuts[n] = true
				}
			}
			for n := range every {
				cuts[n] = true
			}
			for cut := range cuts {
				if cut > len(data) {
					continue
				}
				want := 0
				for want < len(ends) && ends[want] <= cut {
					want++
				}
				r, n := NewReader(bytes.NewReader(data[:cut]), Limits{}), 0
				_, err := r.Read()
				for ; err == nil; _, err = r.Read() {
					n++
				}
				if n != want {
					t.Fatalf("cut at %d: %d messages, want %d", cut, n, want)
				}
				clean := r.unfinished == 0 && r.consumed() == cut
				if clean && err != io.EOF || !clean && err != io.ErrUnexpectedEOF {
					t.Fatalf("cut at %d: %v", cut, err)
				}
			}
		})
	}
}

// What was read from real clients comes out again as it was, whatever the chunk
// size that it is written with.
func TestCapturedSessionsWrittenAndReadAgain(t *testing.T) {
	for name := range captures(t) {
		data := captured(t, name)
		for _, size := range []int{1, 128, 4096, 60000, MaxMessageSize} {
			if size == 1 && len(data) > 200_000 {
				continue // a byte a chunk tells nothing new here
			}
			var messages []Message
			r := NewReader(bytes.NewReader(data), Limits{})
			out := appendSetChunkSize(nil, DefaultSize, size)
			for {
				m, err := r.Read()
				if err != nil {
					require.Equal(t, io.EOF, err)
					break
				}
				if m.Type == typeSetChunkSize {
					continue // it would change how we read, not how we write
				}
				m.Payload = bytes.Clone(m.Payload)
				messages = append(messages, m)
				out = AppendMessage(out, size, m)
			}
			require.NotEmpty(t, messages)

			r = NewReader(bytes.NewReader(out), Limits{})
			m, err := r.Read()
			require.NoError(t, err)
			require.EqualValues(t, typeSetChunkSize, m.Type)
			for i, want := range messages {
				m, err := r.Read()
				require.NoError(t, err)
				if !equal(want, m) {
					t.Fatalf("%s, chunk size %d: message %d is another", name, size, i)
				}
			}
			_, err = r.Read()
			require.Equal(t, io.EOF, err)
		}
	}
}

// A deadline that passes in the middle of whatever loses nothing.
func TestReadGoesOnAfterATimeout(t *testing.T) {
	for name, want := range captures(t) {
		data := captured(t, name)
		if len(data) > 120_000 {
			continue // the errors take their time
		}
		r := NewReader(&stutter{r: iotest.OneByteReader(bytes.NewReader(data))}, Limits{})
		sum, n := sha256.New(), 0
		for {
			m, err := r.Read()
			if errors.Is(err, os.ErrDeadlineExceeded) {
				continue
			}
			if err != nil {
				require.Equal(t, io.EOF, err)
				break
			}
			addMessage(sum, m, r.consumed())
			n++
		}
		require.Equal(t, want.Messages, n, name)
		require.Equal(t, want.SHA256, hex.EncodeToString(sum.Sum(nil)), name)
	}
}

// stutter fails every other read with a timeout.
type stutter struct {
	r      io.Reader
	failed bool
}

func (s *stutter) Read(b []byte) (int, error) {
	if s.failed = !s.failed; s.failed {
		return 0, os.ErrDeadlineExceeded
	}
	return s.r.Read(b)
}

func equal(a, b Message) bool {
	return a.Type == b.Type && a.StreamID == b.StreamID && a.Timestamp == b.Timestamp &&
		a.ChunkStream == b.ChunkStream && bytes.Equal(a.Payload, b.Payload)
}

// appendSetChunkSize appends the message that changes the chunk size from one to
// another.
func appendSetChunkSize(dst []byte, from, to int) []byte {
	return AppendMessage(dst, from, Message{
		Type: typeSetChunkSize, ChunkStream: 2, Payload: binary.BigEndian.AppendUint32(nil, uint32(to)),
	})
}

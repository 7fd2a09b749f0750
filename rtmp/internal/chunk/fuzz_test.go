package chunk

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

// FuzzReader holds for any input: no panic; the same messages and the same end,
// however it is sliced and however often a deadline passes; memory within bounds
// of what came in; and what was read can be written and read again.
func FuzzReader(f *testing.F) {
	for name := range captures(f) {
		data := captured(f, name)
		f.Add(data[:min(len(data), 1500)])
	}
	for _, g := range golden {
		f.Add(unhex(f, g.wire))
	}
	for _, wire := range []string{
		"02 000000 000004 01 00000000 00000002 06 000000 000003 09 01000000 A0A1 04 000000 000002 08 01000000 B0B1 C6 A2",
		"02 000000 000004 01 00000000 00000002 06 000064 000003 09 01000000 A0A1 02 000000 000004 02 00000000 0000 C2 0006 86 00000A C0C1 C6 C2",
		"02 000000 000004 01 00000000 00000001 06 FFFFFF 000003 09 01000000 01020304 A0 C6 01020304 A1 C6 A2 C6 01020304 A3",
		"42 000005 000001 08 A0 82 000001 A1 C2 A2",
		"06 000000 FFFFFF 09 01000000 A0",
	} {
		f.Add(unhex(f, wire))
	}
	limits := Limits{ChunkStreams: 8, Media: 1 << 16, Command: 1 << 12, InFlight: 1 << 17}
	f.Fuzz(func(t *testing.T, in []byte) {
		r := NewReader(bytes.NewReader(in), limits)
		want, wantErr := readAll(r)
		if most := 2*len(in) + len(r.streams)*minBuffer + maxReadBuffer; held(t, r) > most {
			t.Fatalf("%d bytes held for an input of %d", held(t, r), len(in))
		}

		for how, in := range map[string]io.Reader{
			"byte by byte": iotest.OneByteReader(bytes.NewReader(in)),
			"halves":       iotest.HalfReader(bytes.NewReader(in)),
			"error early":  iotest.DataErrReader(bytes.NewReader(in)),
			"stuttering":   &stutter{r: iotest.OneByteReader(bytes.NewReader(in))},
		} {
			got, err := readAllPatiently(NewReader(in, limits))
			if err.Error() != wantErr.Error() {
				t.Fatalf("%s: %v, whole: %v", how, err, wantErr)
			}
			same(t, how, want, got)
		}
		got, err := readThroughPauses(t, NewReader(&pausing{r: iotest.HalfReader(bytes.NewReader(in))}, limits))
		if err.Error() != wantErr.Error() {
			t.Fatalf("with pauses: %v, whole: %v", err, wantErr)
		}
		same(t, "with pauses", want, got)

		out := appendSetChunkSize(nil, DefaultSize, 77)
		var kept []Message
		for _, m := range want {
			if m.Type != typeSetChunkSize && m.Type != typeAbort {
				kept = append(kept, m)
				out = AppendMessage(out, 77, m)
			}
		}
		again, err := readAll(NewReader(bytes.NewReader(out), Limits{}))
		if err != io.EOF {
			t.Fatal(err)
		}
		same(t, "written again", kept, again[1:])
	})
}

// FuzzAppendMessage holds for any message and any chunk size, with chunks of
// another message in between.
func FuzzAppendMessage(f *testing.F) {
	for _, g := range golden {
		f.Add(g.size, g.m.Type, g.m.StreamID, g.m.Timestamp, g.m.ChunkStream, g.m.Payload)
	}
	f.Fuzz(func(t *testing.T, size int, typ uint8, stream, timestamp, id uint32, payload []byte) {
		if typ == typeSetChunkSize || typ == typeAbort || len(payload) > 1000 {
			return
		}
		size = min(max(size, 1), MaxMessageSize)
		m := Message{typ, stream, timestamp, min(max(id, MinChunkStream), MaxChunkStream), payload}
		wire := AppendMessage(appendSetChunkSize(nil, DefaultSize, size), size, m)
		wire = AppendMessage(wire, size, m)
		got, err := readAll(NewReader(bytes.NewReader(wire), Limits{}))
		if err != io.EOF {
			t.Fatal(err)
		}
		same(t, "read", []Message{m, m}, got[1:])
	})
}

// readAllPatiently is readAll that goes on after timeouts.
func readAllPatiently(r *Reader) ([]Message, error) {
	var all []Message
	for {
		got, err := readAll(r)
		all = append(all, got...)
		var timeout interface{ Timeout() bool }
		if !errors.As(err, &timeout) || !timeout.Timeout() {
			return all, err
		}
	}
}

func same(t *testing.T, how string, want, got []Message) {
	t.Helper()
	if len(want) != len(got) {
		t.Fatalf("%s: %d messages, want %d", how, len(got), len(want))
	}
	for i := range want {
		if !equal(want[i], got[i]) {
			t.Fatalf("%s: message %d: %+v, want %+v", how, i, got[i], want[i])
		}
	}
}

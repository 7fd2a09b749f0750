package rtmp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/rtmp/internal/chunk"
)

// hello is a handshake as a client sends it, with nothing in it.
var hello = append([]byte{3}, make([]byte, 2*1536)...)

// captured calls f with what each real client sent after its handshake, cut off after
// some bytes.
func captured(tb testing.TB, most int, f func(sent []byte)) {
	files, err := filepath.Glob(filepath.Join(captures, "*.c2s"))
	if err != nil || len(files) == 0 {
		tb.Fatal("no captures", err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		f(b[len(hello):min(len(b), most)])
	}
}

// capturedMessages calls f with the messages of real clients.
func capturedMessages(tb testing.TB, f func(m chunk.Message)) {
	captured(tb, 12_000, func(sent []byte) {
		r := chunk.NewReader(bytes.NewReader(sent), chunk.Limits{})
		for m, err := r.Read(); err == nil; m, err = r.Read() {
			m.Payload = bytes.Clone(m.Payload)
			f(m)
		}
	})
}

// witness is a Handler that notes what happens.
type witness struct{ seen []string }

func (w *witness) note(format string, args ...any) {
	w.seen = append(w.seen, fmt.Sprintf(format, args...))
}

func (w *witness) Publish(s *ServerStream, r *Request) (Publication, error) {
	w.note("publish %d %q %s %v %+v", s.ID(), r.Key(), r.Type, len(r.Query), r.Capabilities)
	return &witnessed{w, s}, nil
}

func (w *witness) Play(s *ServerStream, r *Request) (Playback, error) {
	w.note("play %d %q %v %v %v", s.ID(), r.Key(), r.Start, r.Duration, len(r.Query))
	p := &witnessedPlay{w, s}
	if r.App == "rec" {
		w.note("file %v %v %v %v", r.NoReset, r.Position, r.Buffer, r.Value)
		return &witnessedFile{p}, s.Send(s.AppendFileStart(nil, !r.NoReset))
	}
	return p, s.Send(s.AppendPlayStart(nil))
}

func (w *witness) StreamLength(_ context.Context, _ *ServerStream, r *Request, answer func(time.Duration)) {
	w.note("length %q", r.Key())
	r.Value = r.Key()
	answer(time.Second)
}

func (w *witness) Forget(r *Request, _ error) { w.note("forget %v", r.Value) }

type witnessed struct {
	w *witness
	s *ServerStream
}

func (p *witnessed) WriteTag(t flv.Tag) error {
	p.w.note("tag %d %v %d %x", p.s.ID(), t.Type, t.Timestamp, crc32.ChecksumIEEE(t.Data))
	return nil
}

func (p *witnessed) Close(err error) { p.w.note("unpublished %d %v", p.s.ID(), err) }

type witnessedPlay struct {
	w *witness
	s *ServerStream
}

func (p *witnessedPlay) Pause(on bool, _ time.Duration) { p.w.note("pause %d %v", p.s.ID(), on) }
func (p *witnessedPlay) ReceiveAudio(on bool)           { p.w.note("audio %d %v", p.s.ID(), on) }
func (p *witnessedPlay) ReceiveVideo(on bool)           { p.w.note("video %d %v", p.s.ID(), on) }
func (p *witnessedPlay) Close(error)                    { p.w.note("left %d", p.s.ID()) }

// witnessedFile is a FilePlayback.
type witnessedFile struct{ *witnessedPlay }

func (p *witnessedFile) Pause(on bool, at time.Duration) {
	p.w.note("pause %d %v %v", p.s.ID(), on, at)
	p.s.Send(p.s.AppendPause(nil))
}

func (p *witnessedFile) Seek(to time.Duration) {
	p.w.note("seek %d %v", p.s.ID(), to)
	p.s.Send(p.s.AppendSeek(nil))
}

func (p *witnessedFile) SetBuffer(d time.Duration) { p.w.note("buffer %d %v", p.s.ID(), d) }
func (p *witnessedFile) Follow()                   { p.w.note("follow %d", p.s.ID()) }
func (p *witnessedFile) Position() time.Duration   { return time.Minute }

// answered returns the messages that a server sent, except acknowledgements, whose
// moments depend on how much is read at once.
func answered(t *testing.T, output []byte) []string {
	if len(output) < len(hello) {
		t.Fatal("no handshake")
	}
	var got []string
	r := chunk.NewReader(bytes.NewReader(output[len(hello):]), chunk.Limits{})
	for {
		m, err := r.Read()
		if errors.Is(err, io.EOF) {
			return got
		}
		if err != nil {
			t.Fatal("what the server sent is no chunk stream: ", err)
		}
		if m.Type != typeAck {
			got = append(got, fmt.Sprintf("%d %d %x", m.Type, m.StreamID, m.Payload))
		}
	}
}

// FuzzSession holds for whatever follows a handshake: no panic, an end, memory within
// bounds of what came in, everything closed that was opened, and the same for the
// Handler and the client however the bytes are sliced.
func FuzzSession(f *testing.F) {
	captured(f, 12_000, func(sent []byte) { f.Add(sent, uint16(100)) })
	hi := commands(0, []any{"connect", 1.0, amf.Object{{Name: "app", Value: "live"}}})
	f.Add(hi, uint16(1))
	rec := commands(0, []any{"connect", 1.0, amf.Object{{Name: "app", Value: "rec"}}},
		[]any{"createStream", 2.0, nil}, []any{"getStreamLength", 3.0, nil, "a"})
	rec = append(rec, commands(1, []any{"play", 4.0, nil, "a", 30.0})...)
	rec = append(rec, "\x02\x00\x00\x00\x00\x00\x0a\x04\x00\x00\x00\x00\x00\x03\x00\x00\x00\x01\x00\x00\x0b\xb8"...)
	f.Add(append(rec, commands(1, []any{"seek", 5.0, nil, 1500.0}, []any{"pause", 6.0, nil, true, 1500.0},
		[]any{"play", 7.0, nil, "b", 0.0, -1.0, false},
		[]any{"play2", 8.0, nil, amf.Object{{Name: "streamName", Value: "c"}, {Name: "transition", Value: "switch"}}})...), uint16(5))
	f.Add(binary.BigEndian.AppendUint32(bytes.Clone(hi), 0xC3FFFFFF), uint16(7))
	publish := append(bytes.Clone(hi), commands(1, []any{"publish", 2.0, nil, "a"})...)
	f.Add(append(bytes.Clone(publish), appendTag(nil, protocolChunkSize, 1, clip()[0])...), uint16(3))
	f.Add(append(publish, chunk.AppendMessage(nil, protocolChunkSize, chunk.Message{
		Type: typeAggregate, StreamID: 1, ChunkStream: 4, Payload: aggregate(clip()[1:3]...)})...), uint16(9))
	f.Fuzz(func(t *testing.T, b []byte, piece uint16) {
		if len(b) > 64<<10 {
			return
		}
		run := func(piece int) (*witness, []string) {
			w, nc := &witness{}, &tape{input: append(bytes.Clone(hello), b...), piece: piece}
			newSession(&Server{Handler: w, MaxCommands: 1 << 30}, nc, 1).run()
			if !nc.closed {
				t.Fatal("not closed")
			}
			return w, answered(t, nc.output.Bytes())
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		whole, said := run(1 << 20)
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > uint64(4<<20+1000*len(b)) {
			t.Fatalf("%d bytes were allocated for an input of %d", took, len(b))
		}
		for _, piece := range []int{1, 1 + int(piece)} {
			w, answers := run(piece)
			if !slices.Equal(whole.seen, w.seen) {
				t.Fatalf("in pieces of %d the handler saw\n%q\ninstead of\n%q", piece, w.seen, whole.seen)
			}
			// Who breaks the protocol may not get the last answers.
			if n := len(said); n > len(answers) || !slices.Equal(said, answers[:n]) {
				t.Fatalf("in pieces of %d the client got\n%q\ninstead of\n%q", piece, answers, said)
			}
		}
	})
}

// FuzzCommand holds for any command message: no panic, bounds, and what was read can
// be written and read again.
func FuzzCommand(f *testing.F) {
	f.Add(false, script("_error", 1.0, nil, amf.Object{
		{Name: "code", Value: CodeConnectRejected}, {Name: "description", Value: "no s3cret: authmod=adobe ?reason=needauth&salt=1&challenge=2"},
		{Name: "ex", Value: amf.Object{{Name: "code", Value: 302.0}, {Name: "redirect", Value: "rtmp://u@other/live?x=1"}}},
	}))
	capturedMessages(f, func(m chunk.Message) {
		if m.Type == typeCommand {
			f.Add(false, m.Payload)
			f.Add(true, append([]byte{0}, m.Payload...))
		}
	})
	f.Add(true, amf.AppendAMF3(append(script("play", 0.0, nil), 0x11), "three"))
	f.Add(false, append(script("tail", 6.0, nil), 0x02, 0xFF))
	f.Add(false, nested(20))
	f.Fuzz(func(t *testing.T, amf3 bool, body []byte) {
		m := chunk.Message{Type: typeCommand, Payload: body}
		if amf3 {
			m.Type = typeCommandAMF3
		}
		c, err := parseCommand(m)
		if err != nil {
			return
		}
		if n := len(c.args); n > max(maxValues, commandLimits.Elements) {
			t.Fatalf("%d arguments", n)
		}
		for i := range 4 {
			c.str(i)
			c.num(i)
			c.flag(i, true)
			c.streamID(i)
			o := c.objectArg(i)
			o.str("app")
			if d := playDuration(c.arg(i)); d != 0 && d < time.Millisecond || d > maxPlayDuration {
				t.Fatal(d)
			}
			caps := o.capabilities()
			if len(caps.FourCCs) > maxCodecs || len(caps.Video) > maxCodecs || len(caps.Audio) > maxCodecs {
				t.Fatalf("%+v", caps)
			}
		}
		to, _ := parseURL("rtmp://joe:p4ssword@h/live/s3cret?token=t0ken")
		said := (&clientConn{target: to}).refusal(c.status())
		for _, secret := range []string{"p4ssword", "s3cret", "token=t0ken"} {
			if strings.Contains(said.Error(), secret) {
				t.Fatalf("%q", said)
			}
		}
		if len(said.Code) > maxShown || len(said.Description) > maxShown || len(said.Properties) > maxValues {
			t.Fatalf("%+v", said)
		}
		if said.Redirect != "" {
			if u, err := parseURL(said.Redirect); err != nil || u.user != "" {
				t.Fatalf("%q", said.Redirect)
			}
		}
		to.answer(said, to.app)
		(&clientConn{server: c.serverInfo()}).info()
		wire := func(c *command) []byte { return script(append([]any{c.name, c.txn}, c.args...)...) }
		if len(c.name) > 60_000 {
			return // a long string, which is no name when it comes back
		}
		again, err := parseCommand(chunk.Message{Type: typeCommand, Payload: wire(&c)})
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(wire(&c), wire(&again)) {
			t.Fatalf("%v, read again %v", c, again)
		}
	})
}

// FuzzData holds for any data message: no panic, bounds, and a tag that begins with a
// name.
func FuzzData(f *testing.F) {
	capturedMessages(f, func(m chunk.Message) {
		if m.Type == typeData {
			f.Add(false, m.Payload)
			f.Add(true, append([]byte{0}, m.Payload...))
		}
	})
	f.Add(false, script(clearDataFrame))
	f.Add(false, script(setDataFrame, setDataFrame))
	f.Add(true, amf.AppendAMF3(append(script(onMetaData), 0x11), amf.Object{{Name: "width", Value: 640.0}}))
	f.Fuzz(func(t *testing.T, amf3 bool, body []byte) {
		m := chunk.Message{Type: typeData, Payload: body, Timestamp: 7}
		if amf3 {
			m.Type = typeDataAMF3
		}
		tag, err := dataTag(m)
		if err != nil {
			return
		}
		if _, _, ok := amf0String(tag.Data); !ok || tag.Type != flv.TypeScript || tag.Timestamp != 7 {
			t.Fatalf("%+v", tag)
		}
		if most := len(body) + 64 + 2*dataLimits.Bytes + 16*dataLimits.Elements; len(tag.Data) > most {
			t.Fatalf("%d bytes of %d", len(tag.Data), len(body))
		}
		if !amf3 && !bytes.HasSuffix(body, tag.Data) && !bytes.HasPrefix(body, script(clearDataFrame)) {
			t.Fatal("bytes that were not sent")
		}
		dataStatus(tag.Data)
	})
}

// FuzzAggregate holds for any aggregate message: no panic, parts that are parts of it,
// and the same parts if it is made of them again.
func FuzzAggregate(f *testing.F) {
	var tags []flv.Tag
	capturedMessages(f, func(m chunk.Message) {
		if m.Type == typeAudio || m.Type == typeVideo {
			tags = append(tags, flv.Tag{Type: flv.Type(m.Type), Timestamp: m.Timestamp, Data: m.Payload})
		}
		if len(tags) == 5 {
			f.Add(aggregate(tags...))
			tags = nil
		}
	})
	f.Add(aggregate(make([]flv.Tag, 10)...))
	f.Add(aggregate(flv.Tag{Type: flv.TypeVideo, Timestamp: 1<<32 - 1}, flv.Tag{Type: flv.TypeAudio}))
	f.Fuzz(func(t *testing.T, body []byte) {
		parts := func(body []byte) (parts []flv.Tag, err error) {
			err = eachAggregated(chunk.Message{Type: typeAggregate, StreamID: 3, Payload: body}, func(m chunk.Message) error {
				if m.StreamID != 3 || m.Type == typeAggregate {
					t.Fatalf("%+v", m)
				}
				parts = append(parts, flv.Tag{Type: flv.Type(m.Type), Timestamp: m.Timestamp, Data: m.Payload})
				return nil
			})
			return parts, err
		}
		got, err := parts(body)
		if err != nil && !errors.Is(err, ErrProtocol) || len(got) > maxAggregated {
			t.Fatal(len(got), err)
		}
		if len(got) == 0 {
			return
		}
		again, err := parts(aggregate(got...))
		if err != nil || len(got) != len(again) {
			t.Fatal(len(got), len(again), err)
		}
		for i := range got {
			if again[i].Type != got[i].Type || !bytes.Equal(again[i].Data, got[i].Data) {
				t.Fatalf("part %d: %+v, again %+v", i, got[i], again[i])
			}
		}
	})
}

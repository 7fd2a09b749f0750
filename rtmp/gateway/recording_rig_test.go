package gateway

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/hub"
	"sluice/hub/archive"
	"sluice/hub/archive/flvfile"
	"sluice/rtmp/internal/chunk"
	"sluice/rtmp/internal/handshake"
)

// camera is the stream whose recordings tests play, and recorded when they begin.
var (
	camera   = hub.Key{App: "live", Name: "camera"}
	recorded = time.Date(2026, 11, 28, 17, 5, 0, 0, time.UTC)
)

// newArchive opens an empty folder of recordings.
func newArchive(t testing.TB) *archive.Archive {
	t.Helper()
	a, err := archive.Open(archive.Config{Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, a.Close()) })
	return a
}

// Times of a film in ms: a key frame every gop, a frame every frameTime, sound in between.
const (
	gop       = 2000
	frameTime = 200
)

// packets makes the packets of some words.
func packets(words string) []flvfile.Packet {
	var list []flvfile.Packet
	for _, w := range strings.Fields(words) {
		t := tag(w)
		kind, _, _ := strings.Cut(w, ":")
		list = append(list, flvfile.Packet{
			Tag: t, Time: int64(t.Timestamp), Key: kind == "K",
			Header: kind == "vc" || kind == "ac" || kind == "meta",
		})
	}
	return list
}

// film returns the words of a film from one time to another. The text of each frame is its
// time, whatever its timestamp becomes.
func film(from, to int) string { return filmAt(from, to, 0) }

// filmAt is film with timestamps that begin at base.
func filmAt(from, to, base int) string {
	var words []string
	for at := from; at < to; at += frameTime {
		kind := "P"
		if at%gop == 0 {
			kind = "K"
		}
		words = append(words, fmt.Sprintf("%s:%d@%d", kind, at, at-base))
		if at += frameTime / 2; at < to {
			words = append(words, fmt.Sprintf("A:%d@%d", at, at-base))
		}
		at -= frameTime / 2
	}
	return strings.Join(words, " ")
}

// headers are the codec headers of a film.
const headers = "vc:h264@%[1]d ac:aac@%[1]d"

func headersAt(at int) string { return fmt.Sprintf(headers, at) }

// write writes packets into a recording.
func write(t testing.TB, w *archive.Writer, packets []flvfile.Packet) {
	t.Helper()
	_, n, err := w.Write(nil, packets)
	require.NoError(t, err)
	require.Equal(t, len(packets), n)
}

// begin begins a recording of the camera.
func begin(t testing.TB, a *archive.Archive, at time.Time, words ...string) *archive.Writer {
	t.Helper()
	w, err := a.Create(camera, at, amf.ECMAArray{{Name: "encoder", Value: "test"}})
	require.NoError(t, err)
	write(t, w, packets(strings.Join(words, " ")))
	return w
}

// record makes a recording of the camera, and returns its id.
func record(t testing.TB, a *archive.Archive, at time.Time, words ...string) string {
	t.Helper()
	r, err := begin(t, a, at, words...).Finish(archive.StateFinished)
	require.NoError(t, err)
	return r.ID
}

// newRecordings is a rig that has a film so long, in ms.
func newRecordings(t testing.TB, length int, change ...func(*configs)) (h *rig, id string) {
	t.Helper()
	a := newArchive(t)
	id = record(t, a, recorded, headersAt(0), film(0, length))
	h = newRig(t, append([]func(*configs){func(c *configs) { c.archive = a }}, change...)...)
	return h, id
}

// downloads is a buffer length with which everything comes at once.
const downloads = 36_000_000

// setBuffer sends SetBufferLength.
func (p *peer) setBuffer(stream uint32, ms uint32) {
	p.t.Helper()
	body := binary.BigEndian.AppendUint32([]byte{0, 3}, stream)
	p.write(chunk.AppendMessage(nil, 128, chunk.Message{
		Type: typeUserControl, ChunkStream: 2, Payload: binary.BigEndian.AppendUint32(body, ms),
	}))
}

// dialPipe is dial on a rig over pipes.
func (h *rig) dialPipe(app string) *peer {
	h.t.Helper()
	nc, err := h.client.Dial(h.t.Context(), "", "")
	require.NoError(h.t, err)
	h.t.Cleanup(func() { nc.Close() })
	return greet(h.t, nc, app)
}

// greet shakes hands and connects.
func greet(t testing.TB, nc net.Conn, app string) *peer {
	t.Helper()
	require.NoError(t, handshake.Client(nc))
	p := &peer{Conn: nc, t: t, rd: chunk.NewReader(nc, chunk.Limits{})}
	p.command(0, "connect", 1.0, amf.Object{{Name: "app", Value: app}})
	p.result(1)
	return p
}

// wordOfAny returns a word for a message: its event and stream for user control, its code
// for onStatus and onPlayStatus, the name for other commands and data; "" for what is of no
// interest.
func (p *peer) wordOfAny(m chunk.Message) string {
	p.t.Helper()
	const typeData = 18
	switch m.Type {
	case typeUserControl:
		if m.Payload[1] == 6 { // ping
			return ""
		}
		return fmt.Sprintf("%d:%d", m.Payload[1], m.Payload[5])
	case uint8(flv.TypeAudio), uint8(flv.TypeVideo):
		return wordOf(m)
	case typeCommand, typeData:
		values, err := amf.DecodeAll(m.Payload, amf.Limits{})
		require.NoError(p.t, err)
		info, _ := amf.Properties(values[len(values)-1])
		for _, property := range info {
			if code, ok := property.Value.(string); ok && property.Name == "code" {
				return strings.TrimPrefix(code, "NetStream.")
			}
		}
		if values[0] == "onMetaData" {
			return fmt.Sprintf("meta@%d", m.Timestamp)
		}
		return fmt.Sprint(values[0])
	}
	return ""
}

// word reads the next word.
func (p *peer) word() string {
	p.t.Helper()
	for {
		m, err := p.read()
		require.NoError(p.t, err)
		if word := p.wordOfAny(m); word != "" {
			return word
		}
	}
}

// expect reads these words.
func (p *peer) expect(words ...string) {
	p.t.Helper()
	want := strings.Fields(strings.Join(words, " "))
	var got []string
	for range want {
		got = append(got, p.word())
	}
	require.Equal(p.t, strings.Join(want, "\n"), strings.Join(got, "\n"))
}

// What is said around the media of message stream 1.
const (
	saidBegin  = "4:1 0:1 Play.Reset Play.Start |RtmpSampleAccess "
	saidSeek   = "1:1 Seek.Notify 0:1 "
	saidWhole  = "1:1 Play.Complete Play.Stop "
	saidStop   = "1:1 Play.Stop "
	saidSwitch = "1:1 Play.Switch "
)

// playRecording begins to play a recording, all at once, and returns the message stream.
func (p *peer) playRecording(id string, args ...any) uint32 {
	p.t.Helper()
	stream := p.stream()
	p.setBuffer(stream, downloads)
	p.command(stream, append([]any{"play", 0.0, nil, id}, args...)...)
	return stream
}

// randomly makes a source of chance whose seed a failure shows.
func randomly(t testing.TB) *rand.Rand {
	seed := rand.Uint64()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 0))
}

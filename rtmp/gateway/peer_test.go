package gateway

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/rtmp/internal/chunk"
	"sluice/rtmp/internal/handshake"
)

// Types of messages (RTMP 1.0 §5.4, §7.1).
const (
	typeUserControl = 4
	typeCommand     = 20
)

// peer is a client that says exactly what a test wants.
type peer struct {
	net.Conn
	t    testing.TB
	rd   *chunk.Reader
	eofs []byte // message streams of which StreamEOF has come
}

// dial connects to an app.
func (h *rig) dial(app string) *peer {
	h.t.Helper()
	address := strings.TrimSuffix(strings.TrimPrefix(h.url, "rtmp://"), "/live/")
	nc, err := net.Dial("tcp", address)
	require.NoError(h.t, err)
	h.t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	nc = h.wrap(nc)
	require.NoError(h.t, handshake.Client(nc))
	p := &peer{Conn: nc, t: h.t, rd: chunk.NewReader(nc, chunk.Limits{})}
	p.command(0, "connect", 1.0, amf.Object{{Name: "app", Value: app}})
	p.result(1)
	return p
}

func (p *peer) write(b []byte) {
	p.t.Helper()
	_, err := p.Write(b)
	require.NoError(p.t, err)
}

func (p *peer) command(stream uint32, values ...any) {
	p.t.Helper()
	p.write(chunk.AppendMessage(nil, 128, chunk.Message{
		Type: typeCommand, StreamID: stream, ChunkStream: 3, Payload: amf.AppendAMF0(nil, values...),
	}))
}

// read returns the next message, taking note of StreamEOF.
func (p *peer) read() (chunk.Message, error) {
	m, err := p.rd.Read()
	m.Payload = bytes.Clone(m.Payload)
	if err == nil && m.Type == typeUserControl && bytes.HasPrefix(m.Payload, []byte{0, 1}) {
		p.eofs = append(p.eofs, m.Payload[5])
	}
	return m, err
}

// next returns the next command, or the word of the next tag, with its stream.
func (p *peer) next() (stream uint32, values []any, word string) {
	p.t.Helper()
	for {
		m, err := p.read()
		require.NoError(p.t, err)
		switch flv.Type(m.Type) {
		case typeCommand:
			values, err := amf.DecodeAll(m.Payload, amf.Limits{})
			require.NoError(p.t, err)
			return m.StreamID, values, ""
		case flv.TypeAudio, flv.TypeVideo:
			return m.StreamID, nil, wordOf(m)
		}
	}
}

func wordOf(m chunk.Message) string {
	return word(flv.Tag{Type: flv.Type(m.Type), Timestamp: m.Timestamp, Data: m.Payload})
}

// result reads up to a _result.
func (p *peer) result(txn float64) []any {
	p.t.Helper()
	for {
		if _, values, _ := p.next(); values != nil && values[0] == "_result" && values[1] == txn {
			return values
		}
	}
}

// stream makes a message stream.
func (p *peer) stream() uint32 {
	p.t.Helper()
	p.command(0, "createStream", 4.0, nil)
	return uint32(p.result(4)[3].(float64))
}

// expectStatus reads up to the next onStatus, which must have this code, and
// returns its stream.
func (p *peer) expectStatus(code string) uint32 {
	p.t.Helper()
	for {
		stream, values, _ := p.next()
		if values == nil || values[0] != "onStatus" {
			continue
		}
		info, _ := amf.Properties(values[3])
		for _, property := range info {
			if property.Name == "code" {
				require.Equal(p.t, code, property.Value)
			}
		}
		return stream
	}
}

// expectEOF reads up to the end of the connection.
func (p *peer) expectEOF() {
	p.t.Helper()
	for {
		if _, err := p.read(); err != nil {
			assert.ErrorIs(p.t, err, io.EOF)
			return
		}
	}
}

// tags reads n tags of one message stream.
func (p *peer) tags(stream uint32, n int) string {
	p.t.Helper()
	var words []string
	for len(words) < n {
		if id, _, word := p.next(); word != "" && id == stream {
			words = append(words, word)
		}
	}
	return strings.Join(words, " ")
}
